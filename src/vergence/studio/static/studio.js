// The parts of the page that gradio does not draw: map, search, near-duplicates, clusters, why alike.
// What comes from the store reaches the page as text, never as HTML.

import { PointMap } from "./map.js";

const own = window.studio, parts = {}, NONE = 255, OTHER = 254, STEPS = 254;
const KEYS = "Arrows move, + and − zoom, 0 shows all. N and P go to the next and previous nearest point, Shift and an arrow to the nearest in that direction; Enter opens it, Escape closes.";

const make = (tag, about = {}, ...inside) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...inside.filter(part => part !== null && part !== undefined));
  return element;
};

const count = n => n.toLocaleString("en-US");
const query = (path, about) => `studio/${path}?${new URLSearchParams(about)}`;

async function answered(response) {
  if (response.ok) return response;
  let line = `The studio answered ${response.status}.`;
  try {
    const said = await response.json();
    if (typeof said.error === "string") line = said.error;
  } catch { /* no words came with it */ }
  throw new Error(line);
}

async function ask(path, body) {
  try {
    const about = body === undefined ? {} : { method: "POST", body: body instanceof Blob ? body : JSON.stringify(body), headers: { "content-type": body instanceof Blob ? "application/octet-stream" : "application/json" } };
    return await answered(await fetch(path, about));
  } catch (error) {
    throw error instanceof TypeError ? new Error("The studio does not answer: is the program still running?") : error;
  }
}

const json = async (path, body) => (await ask(path, body)).json();

async function packed(response, Kind) {
  const raw = await response.arrayBuffer(), words = new DataView(raw).getUint32(0, true);
  return { about: JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, words))), values: new Kind(raw, 4 + words) };
}

let quiet;
function say(line, wrong = false) {
  const told = parts.head?.told;
  if (!told) return;
  told.textContent = line;
  told.classList.toggle("wrong", wrong);
  clearTimeout(quiet);
  quiet = setTimeout(() => { told.textContent = ""; }, wrong ? 12000 : 6000);
}

const guarded = work => async (...given) => {
  try { return await work(...given); } catch (error) { say(error.message, true); }
};

function portrait(card, large = false) {
  if (!card.picture) return make("span", { class: "studio-text" }, card.id);
  const image = make("img", { class: "studio-pic", src: card.picture, alt: card.id, decoding: "async" });
  image.addEventListener("load", () => image.classList.toggle("sharp", Math.max(image.naturalWidth, image.naturalHeight) <= 64));
  if (large) image.classList.add("large");
  return image;
}

const kind = card => card.class ?? card.cluster;
const title = card => [card.id, card.class, card.cluster].filter(Boolean).join(", ");

function tile(card, caption, more = {}) {
  return make("button", { type: "button", class: "studio-tile", "data-row": card.row, title: title(card), ...more }, portrait(card), make("span", {}, caption));
}

// ---- tabs ----

function openTab(name) {
  [...document.querySelectorAll("#studio-tabs [role=tab]")].find(tab => tab.textContent.trim() === name)?.click();
}

document.addEventListener("click", event => {
  const chosen = event.target.closest("[data-row]");
  if (!chosen || chosen.closest("[data-own]")) return;
  openTab("Map");
  parts.map?.open(Number(chosen.dataset.row));
});

// ---- colours ----

function readColour(text) {
  const probe = readColour.context ??= make("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  probe.clearRect(0, 0, 1, 1);
  probe.fillStyle = text;
  probe.fillRect(0, 0, 1, 1);
  const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
  return (0xff000000 | b << 16 | g << 8 | r) >>> 0;
}

const variable = name => getComputedStyle(document.body).getPropertyValue(name).trim();
const dark = () => document.body.classList.contains("dark");

function kindColour(i, n) {
  const hue = Math.round(250 + 360 * i / Math.max(n, 1)) % 360, light = (dark() ? 0.72 : 0.6) + 0.1 * (i % 2);
  return `oklch(${light} ${dark() ? 0.14 : 0.16} ${hue})`;
}

function scaleColour(share) {
  const low = dark() ? 0.48 : 0.38, high = dark() ? 0.92 : 0.84;
  return `oklch(${low + (high - low) * share} ${0.11 + 0.06 * share} ${300 - 200 * share})`;
}

function inksOf(legend) {
  const inks = new Uint32Array(256).fill(readColour(variable("--studio-line")));
  if (!legend) return inks.fill(readColour(variable("--studio-accent")));
  if (legend.scale) for (let s = 0; s < STEPS; s++) inks[s] = readColour(scaleColour(s / (STEPS - 1)));
  else legend.names.forEach((_, i) => { inks[i] = readColour(kindColour(i, legend.names.length)); });
  inks[OTHER] = readColour(variable("--studio-other"));
  inks[NONE] = readColour(variable("--studio-none"));
  if (legend.scale) inks[OTHER] = inks[STEPS - 1];
  return inks;
}

// ---- head ----

function mountHead(root) {
  const told = make("p", { class: "studio-told", role: "status", "aria-live": "polite" });
  const doing = make("p", { class: "studio-doing", role: "status", "aria-live": "polite", hidden: true });
  const name = make("h1", {}, "…"), facts = make("p", { class: "studio-facts" });
  root.replaceChildren(make("div", {}, make("div", { class: "studio-brow" }, "vergence studio"), name), facts, doing, told);
  root.removeAttribute("aria-busy");
  parts.head = { told };
  own.early.state.then(r => r.clone().json()).then(state => {
    name.textContent = state.name;
    facts.textContent = `${count(state.rows)} samples, ${state.width} values each`;
    show(state);
  }).catch(error => say(error.message, true));
  let stage = null, clusters = null;

  function show(state) {
    parts.state = state;
    doing.hidden = !state.doing;
    doing.textContent = state.doing ? `${state.doing} …` : "";
    if (state.trouble) say(state.trouble, true);
    if (stage !== null && stage !== state.stage) { parts.map?.reload(); say(`The map is now by ${state.how}.`); }
    if (clusters !== null && clusters !== state.clusters) { parts.clusters?.reload(); parts.map?.recolour(); }
    stage = state.stage;
    clusters = state.clusters;
    parts.map?.told(state);
    parts.search?.told(state);
    parts.why?.told(state);
    if (state.doing) setTimeout(again, 1000);
  }
  const again = guarded(async () => show(await json("studio/state")));
  parts.head.again = again;
}

// ---- map ----

function mountMap(root) {
  const canvas = make("canvas", { class: "studio-canvas", tabindex: 0, role: "application", "aria-label": `Map of all samples. ${KEYS}` });
  const overlay = make("canvas", { class: "studio-over", "aria-hidden": "true" });
  const tip = make("div", { class: "studio-tip", hidden: true }), live = make("p", { class: "studio-live", "aria-live": "polite" });
  const by = make("select", { "aria-label": "Colour by" }), how = make("span", { class: "studio-how" });
  const legend = make("div", { class: "studio-legend" }), side = make("aside", { class: "studio-side", "aria-label": "Chosen sample", "data-own": true });
  const button = (text, label, act) => make("button", { type: "button", class: "studio-small", "aria-label": label, title: label, onclick: act }, text);
  const box = make("div", { class: "studio-box" }, canvas, overlay, tip);
  const bar = make("div", { class: "studio-bar" }, make("label", {}, "Colour by ", by), how,
    make("span", { class: "studio-zoom" }, button("−", "Zoom out", () => map.zoomBy(1 / 1.6)), button("+", "Zoom in", () => map.zoomBy(1.6)), button("Show all", "Show the whole map", () => map.whole())));
  root.replaceChildren(make("div", { class: "studio-plane" }, bar, box, legend, make("p", { class: "studio-keys" }, KEYS), live), side);
  root.removeAttribute("aria-busy");
  const map = new PointMap(canvas, overlay);
  const part = parts.map = { map, open, reload, recolour, told };
  let found = null, current = "", origin = [], step = -1, asked = 0, hovered = -1;
  const trail = [];

  function dress() {
    map.paper = readColour(variable("--studio-card"));
    map.halo = variable("--studio-card");
    map.ink = variable("--studio-ink");
    map.accent = variable("--studio-accent");
  }

  function empty() {
    side.replaceChildren(make("p", { class: "studio-hint" }, "Choose a point of the map to see the sample and what is most like it."));
  }

  function told(state) {
    how.textContent = `${state.how}. Distances far across mean little.`;
    const names = state.columns;
    by.replaceChildren(...names.map(name => make("option", { value: name, selected: name === current }, name)));
    by.disabled = !names.length;
  }

  function showLegend() {
    map.only = null;
    if (!found) { legend.replaceChildren(); return; }
    if (found.scale) {
      const stops = [0, 0.25, 0.5, 0.75, 1].map(scaleColour).join(", ");
      legend.replaceChildren(make("span", {}, found.low), make("i", { class: "studio-ramp", style: `background: linear-gradient(to right, ${stops})` }), make("span", {}, found.high),
        found.none ? make("span", {}, `${count(found.none)} without a value`) : "");
      return;
    }
    const chip = (code, name, n, colour) => make("button", { type: "button", "aria-pressed": "false", onclick: event => {
      const off = map.only === code;
      map.only = off ? null : code;
      legend.querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", String(!off && b === event.currentTarget)));
      map.draw();
    } }, make("i", { style: `background: ${colour}` }), `${name} `, make("small", {}, count(n)));
    legend.replaceChildren(...found.names.map((name, i) => chip(i, name, found.counts[i], kindColour(i, found.names.length))),
      ...(found.other ? [chip(OTHER, "others", found.other, variable("--studio-other"))] : []),
      ...(found.none ? [chip(NONE, "none", found.none, variable("--studio-none"))] : []));
  }

  function colour({ about, values }) {
    found = about.legend;
    current = found ? found.column : "";
    by.value = current;
    dress();
    showLegend();
    map.setColours(values, inksOf(found));
  }

  async function recolour() {
    const began = performance.now();
    colour(await packed(await ask(query("colour", { by: current })), Uint8Array));
    requestAnimationFrame(() => { part.coloured = performance.now() - began; });
  }

  async function reload() {
    map.setPoints((await packed(await ask("studio/map"), Uint16Array)).values);
    map.focused = step = -1;
  }

  by.addEventListener("change", guarded(async () => { current = by.value; await recolour(); }));

  async function open(row, back = false) {
    const mine = ++asked, began = performance.now();
    map.chosen = row;
    map.near = [];
    map.reveal(row);
    map.drawOver();
    side.setAttribute("aria-busy", "true");
    try {
      const seen = await json(`studio/point/${row}`);
      if (mine !== asked) return;
      if (!back) trail.push(row);
      showPoint(seen);
      map.near = seen.near.map(card => card.row);
      map.drawOver();
      part.opened = performance.now() - began;
      live.textContent = `${title(seen.point)}; ${seen.near.length} neighbours.`;
    } catch (error) {
      say(error.message, true);
    } finally {
      if (mine === asked) side.removeAttribute("aria-busy");
    }
  }

  function showPoint({ point, near, note }) {
    const rows = [["id", point.id], ["class", point.class], ["cluster", point.cluster], ...point.facts].filter(([, value]) => value !== null);
    const head = make("div", { class: "studio-chosen" }, portrait(point, true),
      make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", { title: value }, value)])));
    const acts = make("div", { class: "studio-acts" },
      trail.length > 1 ? make("button", { type: "button", class: "studio-small", onclick: () => { trail.pop(); open(trail.at(-1), true); } }, "Back") : null,
      make("button", { type: "button", class: "studio-small", onclick: close }, "Close"));
    const list = make("div", { class: "studio-near" }, ...near.map(card => {
      const word = kind(card);
      const one = tile(card, card.score.toFixed(2) + (word ? ` · ${word}` : ""), { onclick: () => open(card.row) });
      if (point.class !== null && card.class !== null) one.classList.add(point.class === card.class ? "same" : "other");
      const why = make("button", { type: "button", class: "studio-why-link", title: `Why is ${card.id} alike?`, "aria-label": `Why is ${card.id} alike?`, onclick: () => { openTab("Why alike"); compareWhy(point.id, card.id); } }, "why?");
      return make("div", {}, one, card.picture && point.picture && !parts.state?.blind ? why : null);
    }));
    side.replaceChildren(acts, head, make("h2", {}, "Nearest neighbours"), note ? make("p", { class: "studio-hint" }, note) : "", list);
  }

  function close() {
    map.chosen = map.focused = step = -1;
    map.near = [];
    trail.length = 0;
    map.drawOver();
    empty();
    canvas.focus();
  }

  // -- pointer
  const place = event => { const b = canvas.getBoundingClientRect(); return [event.clientX - b.left, event.clientY - b.top]; };
  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 1) moved = 0;
    tip.hidden = true;
  });
  canvas.addEventListener("pointermove", event => {
    const now = place(event), before = fingers.get(event.pointerId);
    if (!before) { hover(now); return; }
    const ratio = map.ratio;
    if (fingers.size === 1) map.panBy((now[0] - before[0]) * ratio, (now[1] - before[1]) * ratio);
    else {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const gap = p => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
      map.zoomBy(gap(now) / gap(before), (now[0] + other[0]) / 2 * ratio, (now[1] + other[1]) / 2 * ratio);
    }
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    fingers.set(event.pointerId, now);
  });
  const lift = event => {
    const last = fingers.size === 1 && fingers.has(event.pointerId);
    fingers.delete(event.pointerId);
    if (!last || moved > 5 || event.type !== "pointerup") return;
    const row = map.at(...place(event), event.pointerType === "touch" ? 24 : 12);
    if (row >= 0) open(row);
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; hovered = -1; });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const [x, y] = place(event);
    map.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015) * (event.ctrlKey ? 4 : 1)), x * map.ratio, y * map.ratio);
  }, { passive: false });

  let later;
  function hover([x, y]) {
    const row = map.at(x, y, 8);
    canvas.style.cursor = row >= 0 ? "pointer" : "grab";
    if (row === hovered) return;
    hovered = row;
    tip.hidden = true;
    clearTimeout(later);
    if (row < 0) return;
    later = setTimeout(async () => {
      try {
        const card = await json(`studio/card/${row}`);
        if (hovered === row) showTip(card, x, y);
      } catch { /* pointing is no question */ }
    }, 60);
  }

  function showTip(card, x, y) {
    tip.replaceChildren(portrait(card), make("b", {}, card.id), make("span", {}, [card.class, card.cluster].filter(Boolean).join(" · ")));
    tip.hidden = false;
    const wide = box.clientWidth, tall = box.clientHeight;
    tip.style.left = `${Math.max(4, Math.min(x + 16, wide - tip.offsetWidth - 6))}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 16, tall - tip.offsetHeight - 6))}px`;
  }

  // -- keys
  async function focusOn(row) {
    if (row < 0) { live.textContent = "No point there."; return; }
    map.focused = row;
    map.reveal(row);
    map.drawOver();
    try {
      const card = await json(`studio/card/${row}`);
      if (map.focused !== row) return;
      live.textContent = title(card);
      const [x, y] = map.place(row);
      showTip(card, x / map.ratio, y / map.ratio);
    } catch (error) { say(error.message, true); }
  }

  function next(by) {
    if (step < 0) {
      const row = map.chosen;
      origin = row >= 0 ? map.around(map.xy[2 * row], map.xy[2 * row + 1]).filter(r => r !== row) : map.around(...map.centre());
      step = by > 0 ? 0 : origin.length - 1;
    } else step = (step + by + origin.length) % Math.max(1, origin.length);
    focusOn(origin.length ? origin[step] : -1);
  }

  canvas.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }, way = arrows[event.key];
    if (way && event.shiftKey) {
      const from = map.focused >= 0 ? map.focused : map.chosen;
      if (from < 0) next(1); else focusOn(map.towards(from, ...way));
      if (from >= 0) step = -1;
    } else if (way) map.panBy(-way[0] * map.canvas.width / 8, way[1] * map.canvas.height / 8);
    else if (event.key === "+" || event.key === "=") map.zoomBy(1.6);
    else if (event.key === "-" || event.key === "_") map.zoomBy(1 / 1.6);
    else if (event.key === "0") map.whole();
    else if (event.key === "n" || event.key === "N") next(1);
    else if (event.key === "p" || event.key === "P") next(-1);
    else if ((event.key === "Enter" || event.key === " ") && map.focused >= 0) { step = -1; tip.hidden = true; open(map.focused); }
    else if (event.key === "Escape") { tip.hidden = true; close(); }
    else return;
    event.preventDefault();
  });

  // -- start
  empty();
  dress();
  new ResizeObserver(() => map.resize()).observe(box);
  new MutationObserver(() => { dress(); if (found !== undefined) { showLegend(); map.setColours(map.codes, inksOf(found)); } }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  const first = guarded(async () => {
    const early = own.early;
    const [points, colours] = await Promise.all([early.map.then(answered), early.colour.then(answered)]);
    const [seen, shades] = await Promise.all([packed(points.clone(), Uint16Array), packed(colours.clone(), Uint8Array)]);
    map.resize();
    colour(shades);
    map.setPoints(seen.values);
    requestAnimationFrame(() => requestAnimationFrame(() => { part.painted ??= performance.now(); root.dataset.ready = "true"; }));
    if (parts.state) told(parts.state);
  });
  first();
}

// ---- search by a picture ----

function mountSearch(root) {
  const hits = make("div", { class: "studio-near wide", "aria-live": "polite" }), blind = make("p", { class: "studio-hint" });
  const choose = make("input", { type: "file", accept: "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff", id: "studio-file" });
  const asked = make("div", { class: "studio-asked" });
  const zone = make("label", { class: "studio-zone", for: "studio-file" }, make("b", {}, "Choose a picture"), make("span", {}, "or drop or paste it here: JPEG, PNG, WebP, GIF, BMP or TIFF, up to 20 MB. It is looked at and not kept."), choose);
  root.replaceChildren(blind, zone, asked, hits);
  root.removeAttribute("aria-busy");
  parts.search = { told(state) { blind.textContent = state.blind ?? ""; blind.hidden = !state.blind; zone.hidden = Boolean(state.blind); } };
  if (parts.state) parts.search.told(parts.state);

  const look = guarded(async file => {
    if (file.size > 20 * 2 ** 20) throw new Error("The picture has more than 20 MB: choose a smaller one.");
    hits.replaceChildren(make("p", { class: "studio-hint" }, "Looking at the picture and for what is like it; the first time the encoder is loaded, which takes some seconds …"));
    try {
      const { near } = await json("studio/search", new Blob([file]));
      const own = make("img", { class: "studio-pic", alt: "the picture that was asked for", src: URL.createObjectURL(file) });
      own.addEventListener("load", () => URL.revokeObjectURL(own.src));
      asked.replaceChildren(own, make("span", {}, `Most like ${file.name || "the picture"}:`));
      hits.replaceChildren(...near.map(card => tile(card, card.score.toFixed(2) + (kind(card) ? ` · ${kind(card)}` : ""))));
    } catch (error) {
      hits.replaceChildren();
      throw error;
    }
  });
  choose.addEventListener("change", () => { if (choose.files[0]) look(choose.files[0]); choose.value = ""; });
  for (const name of ["dragover", "dragleave", "drop"]) zone.addEventListener(name, event => { event.preventDefault(); zone.classList.toggle("over", name === "dragover"); });
  zone.addEventListener("drop", event => { if (event.dataTransfer.files[0]) look(event.dataTransfer.files[0]); });
  document.addEventListener("paste", event => { if (root.offsetParent && !zone.hidden && event.clipboardData.files[0]) look(event.clipboardData.files[0]); });
}

// ---- near-duplicates ----

function mountReview(root) {
  let number = 0, member = 0, group = null, state = null;
  const told = make("p", { class: "studio-lead", "aria-live": "polite" }), cards = make("div", { class: "studio-group", role: "group" });
  const act = (text, key, work) => make("button", { type: "button", class: "studio-small", onclick: guarded(work) }, text, make("kbd", {}, key));
  const bar = make("div", { class: "studio-bar" },
    act("Previous group", "↑", () => go(number - 1)), act("Next group", "↓", () => go(number + 1)),
    act("Keep", "K", () => decide("keep")), act("Drop", "D", () => decide("drop")), act("Undo", "U", () => decide("")),
    act("Keep first, drop the rest", "F", keepFirst), act("The same in all groups not looked at", "", keepAll));
  const list = make("p", { class: "studio-lead" }, "The list: ", make("a", { href: "studio/drop.txt", download: "drop.txt" }, "ids to drop"), ", ", make("a", { href: "studio/decisions.csv", download: "decisions.csv" }, "all decisions as CSV"), ". Decisions are kept; no sample is deleted.");
  const work = make("div", { class: "studio-review", tabindex: 0, "aria-label": "Near-duplicates. Arrows choose a sample or group, K keeps, D drops, U takes back, F keeps the first and drops the rest." }, bar, cards);
  root.replaceChildren(told, work, list);
  root.removeAttribute("aria-busy");
  work.hidden = true;
  parts.review = { reload: () => go(0) };

  const go = guarded(async to => {
    if (state?.groups && (to < 0 || to >= state.groups)) return;
    state = await json(query("groups", { number: Math.max(0, to) }));
    number = Math.max(0, to);
    group = state.group ?? null;
    member = group ? Math.max(0, group.verdicts.indexOf("")) : 0;
    show();
  });

  function show() {
    work.hidden = !group;
    if (!group) {
      told.textContent = state.threshold === null ? "Press “Find near-duplicates” to begin." : `No two samples have a cosine of at least ${state.threshold}.`;
      if (state.dropped) told.textContent += ` ${count(state.dropped)} samples are marked to drop from before.`;
      return;
    }
    told.textContent = `Group ${count(number + 1)} of ${count(state.groups)}: ${count(group.size)} samples${group.size > group.rows.length ? `, the first ${group.rows.length} shown` : ""}. ${count(state.decided)} groups decided, ${count(state.dropped)} samples to drop.`;
    cards.replaceChildren(...group.cards.map((card, i) => {
      const verdict = group.verdicts[i], at = guarded(async (event, word) => { event.stopPropagation(); member = i; await decide(word, false); });
      return make("div", { class: `studio-twin ${verdict}${i === member ? " at" : ""}`, "data-own": true, "data-id": card.id, "aria-current": i === member ? "true" : false, onclick: () => { member = i; mark(); } },
        portrait(card), make("b", { title: card.id }, card.id),
        make("span", {}, [i ? `cosine ${group.cosines[i].toFixed(3)}` : "the first", kind(card)].filter(Boolean).join(" · ")),
        make("div", {}, ...["keep", "drop"].map(word => make("button", { type: "button", class: `studio-small ${word}`, "aria-pressed": String(verdict === word), onclick: event => at(event, verdict === word ? "" : word) }, word))));
    }));
    mark();
  }

  function mark() {
    [...cards.children].forEach((card, i) => { card.classList.toggle("at", i === member); if (i === member) card.setAttribute("aria-current", "true"); else card.removeAttribute("aria-current"); });
    cards.children[member]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  async function send(rows, verdict) {
    const { decided, dropped } = await json("studio/decide", { rows, verdict });
    rows.forEach(row => { group.verdicts[group.rows.indexOf(row)] = verdict; });
    Object.assign(state, { decided, dropped });
  }

  async function decide(verdict, on = true) {
    if (!group) return;
    await send([group.rows[member]], verdict);
    if (verdict && on) {
      const open = group.verdicts.indexOf("");
      if (open >= 0) member = open;
      else if (number + 1 < state.groups) { await go(number + 1); return; }
    }
    show();
  }

  async function keepFirst() {
    if (!group) return;
    await send([group.rows[0]], "keep");
    if (group.rows.length > 1) await send(group.rows.slice(1), "drop");
    if (number + 1 < state.groups) await go(number + 1); else show();
  }

  async function keepAll() {
    const { groups } = await json("studio/keep-first", {});
    say(`${count(groups)} groups decided.`);
    await go(number);
  }

  const keys = { k: () => decide("keep"), d: () => decide("drop"), u: () => decide(""), f: keepFirst,
    ArrowUp: () => go(number - 1), ArrowDown: () => go(number + 1) };
  work.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || !group) return;
    const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key], key = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (side) { member = Math.max(0, Math.min(group.rows.length - 1, member + side)); mark(); }
    else if (key) guarded(key)();
    else return;
    event.preventDefault();
  });
  go(0).then(() => { if (group) work.focus(); });
}

// ---- clusters ----

function mountClusters(root) {
  const lead = make("p", { class: "studio-lead" }), grid = make("div", { class: "studio-cards" });
  root.replaceChildren(lead, grid);
  root.removeAttribute("aria-busy");
  const reload = guarded(async () => {
    const { clusters } = await json("studio/clusters");
    lead.textContent = clusters.length ? "The largest first, each with its most typical samples. Names are kept in the store; Enter keeps one." : "The clusters are still being found; they appear here.";
    grid.replaceChildren(...clusters.map(card => {
      const name = make("input", { type: "text", value: card.name, placeholder: card.usual, maxlength: 60, "aria-label": `Name of ${card.usual}` });
      const keep = guarded(async () => {
        if (name.value === card.name) return;
        try {
          await json("studio/name", { cluster: card.cluster, name: name.value });
        } catch (error) { name.value = card.name; throw error; }
        card.name = name.value;
        say(name.value ? `${card.usual} is now called ${name.value}.` : `${card.usual} has no name now.`);
        await parts.head.again();
      });
      name.addEventListener("change", keep);
      name.addEventListener("keydown", event => {
        if (event.key === "Enter") { const all = [...grid.querySelectorAll("input")]; (all[all.indexOf(name) + 1] ?? name).focus(); if (all.at(-1) === name) name.blur(); }
        if (event.key === "Escape") { name.value = card.name; }
      });
      return make("article", { class: "studio-card" }, make("div", { class: "studio-card-head" }, name, make("small", {}, `${count(card.size)} samples`)),
        make("div", { class: "studio-near four" }, ...card.cards.map(one => tile(one, one.class ?? one.id))));
    }));
  });
  parts.clusters = { reload };
  reload();
}

// ---- why alike ----

let compareWhy = () => {};

function mountWhy(root) {
  const blind = make("p", { class: "studio-hint" }), shown = make("div", { class: "studio-pairs", "aria-live": "polite" });
  const fields = ["First", "Second"].map(word => make("input", { type: "text", "aria-label": `${word} id`, placeholder: `${word} id`, required: true, autocomplete: "off" }));
  const form = make("form", { class: "studio-bar" }, ...fields, make("button", { class: "studio-small", type: "submit" }, "Show why"));
  root.replaceChildren(blind, make("p", { class: "studio-lead" }, "Which places of two pictures make the encoder find them alike? Give two ids, or press “why?” under a neighbour on the map."), form, shown);
  root.removeAttribute("aria-busy");
  const part = parts.why = { told(state) { blind.textContent = state.blind ?? ""; blind.hidden = !state.blind; form.hidden = Boolean(state.blind); } };
  if (parts.state) part.told(parts.state);
  compareWhy = guarded(async (first, second) => {
    [fields[0].value, fields[1].value] = [first, second];
    shown.replaceChildren(make("p", { class: "studio-hint" }, "Looking at both pictures; the first time the encoder is loaded, which takes some seconds …"));
    try {
      const why = await json(query("why", { first, second }));
      const figure = (source, text) => make("figure", {}, make("img", { src: source, alt: text, class: "studio-pic sharp" }), make("figcaption", {}, text));
      shown.replaceChildren(make("p", { class: "studio-lead" }, `The encoder gives these pictures a cosine of ${why.score.toFixed(3)}; the vectors of the store have ${why.stored.toFixed(3)}. Red places speak for their likeness, blue ones against it, both in one scale. The small pictures of the store are looked at, so the numbers may differ.`),
        make("div", { class: "studio-four" }, ...why.cards.flatMap((card, i) => [figure(card.picture, title(card)), figure(why.lit[i], "what speaks for it, and against")])));
    } catch (error) {
      shown.replaceChildren();
      throw error;
    }
  });
  form.addEventListener("submit", event => { event.preventDefault(); compareWhy(fields[0].value.trim(), fields[1].value.trim()); });
  if (own.pair) { compareWhy(...own.pair); own.pair = null; }
}

compareWhy = (first, second) => { own.pair = [first, second]; };

// ---- start ----

const mounts = { head: mountHead, map: mountMap, search: mountSearch, review: mountReview, clusters: mountClusters, why: mountWhy };
own.parts = parts;
own.mount = (name, element) => { if (element) mounts[name](element); };
own.refresh = name => parts[name]?.reload();
own.waiting.splice(0).forEach(([name, element]) => own.mount(name, element));
