// The map's part of the page: colours, legend, the chosen sample and its neighbours; pointer and keys.

import { Named, sayAgain } from "./acts.js";
import { readAddress, writeAddress } from "./address.js";
import { Linked } from "./linked.js";
import { PointMap } from "./map.js";
import { ClusterNames } from "./names.js";
import { mountPictureSearch } from "./search.js";
import { Selection } from "./select.js";
import { NONE, OTHER, ask, count, darkness, enlarge, guarded, inksOf, json, kind, kindColour, make, openTab, own, packed, parts, portrait, query, answered, readColour, say, scaleColour, shown, tile, title, variable } from "./shared.js";

const KEYS = "Arrows move, + and − zoom, 0 shows all. N and P go to the next and previous nearest point, Shift and an arrow to the nearest in that direction; Enter opens it, Escape closes. A double click on a name changes it. S starts a frame: arrows move it, Shift and an arrow size it, Enter selects, A adds, X takes out; Ctrl+Z undoes.";

export function mountMap(root) {
  const canvas = make("canvas", { class: "studio-canvas", tabindex: 0, role: "application", "aria-label": `Map of all samples. ${KEYS}` });
  const overlay = make("canvas", { class: "studio-over", "aria-hidden": "true" });
  const tip = make("div", { class: "studio-tip", hidden: true }), live = make("p", { class: "studio-live", "aria-live": "polite" });
  const by = make("select", { "aria-label": "Colour by" }), how = make("p", { class: "studio-how" });
  const legend = make("div", { class: "studio-legend" }), side = make("div", { "aria-label": "Chosen sample" });
  const chosen = make("section", { class: "studio-selected", "aria-label": "Selection", hidden: true });
  const kept = make("section", { class: "studio-selected", "aria-label": "Named selections", hidden: true });
  const pictures = make("section", { class: "studio-search", "aria-label": "Search by a picture" });
  const aside = make("aside", { class: "studio-side", "data-own": true }, side, chosen, kept, pictures);
  mountPictureSearch(pictures);
  const button = (text, label, act) => make("button", { type: "button", class: "studio-small", "aria-label": label, title: label, onclick: act }, text);
  const box = make("div", { class: "studio-box" }, canvas, overlay, tip);
  const modes = ["Move", "Rectangle", "Lasso"].map((name, i) => make("button", { type: "button", class: "studio-small", "aria-pressed": String(!i), title: i ? `Drag to select by a ${name.toLowerCase()}; Shift adds, Alt takes out` : "Drag to move the map; Shift and drag selects a rectangle", onclick: () => choose(i) }, name));
  const map = new PointMap(canvas, overlay), names = new ClusterNames(map, box);
  const bar = make("div", { class: "studio-bar" }, make("label", {}, "Colour by ", by), names.button,
    make("span", { class: "studio-zoom", role: "group", "aria-label": "What dragging does" }, ...modes),
    make("span", { class: "studio-zoom" }, button("−", "Zoom out", () => map.zoomBy(1 / 1.6)), button("+", "Zoom in", () => map.zoomBy(1.6)), button("Show all", "Show the whole map", () => map.whole())));
  const field = make("input", { type: "search", maxlength: 1000, placeholder: "Find an id, a text, or year > 2015 AND class = 'cat'", "aria-label": "Find samples by id, text, or an SQL condition", autocomplete: "off", spellcheck: "false" });
  const finding = make("form", { class: "studio-bar studio-find", role: "search" }, field, make("button", { type: "submit", class: "studio-main" }, "Find"));
  finding.addEventListener("submit", event => { event.preventDefault(); guarded(() => find(field.value.trim()))(); });
  const plane = make("div", { class: "studio-plane" }, finding, bar, box, legend, how, make("p", { class: "studio-keys" }, KEYS), live);
  root.replaceChildren(plane, aside);
  root.removeAttribute("aria-busy");
  const address = readAddress();
  const selection = new Selection(map, chosen, () => { if (map.chosen < 0) empty(); named.show(); linked.changed(); note(); }, () => found);
  const named = new Named(kept, selection), linked = new Linked(plane, selection);
  const part = parts.map = { map, open, told, changed, selection, linked, names };
  names.changed = () => parts.head.again();
  let found = null, current = "", origin = [], step = -1, asked = 0, hovered = -1, mode = 0, layout = "", frame = null, deleted = 0, waits = address.sel ?? "";
  const trail = [];

  function dress() {
    map.paper = readColour(variable("--studio-card"));
    map.halo = variable("--studio-card");
    map.ink = variable("--studio-ink");
    map.grey = readColour(variable("--studio-none"));
    map.accent = variable("--studio-accent");
  }

  function choose(i) {
    mode = i;
    modes.forEach((button, j) => button.setAttribute("aria-pressed", String(i === j)));
    canvas.classList.toggle("select", i > 0);
  }

  async function find(query) {
    if (!query) { selection.clear(); return; }
    const { about, values } = await packed(await ask("studio/find", { query }), Uint8Array);
    if (about.kind === "id") { await open(about.row); say("Found by its id."); return; }
    const mask = new Uint8Array(map.rows);
    for (let i = 0; i < mask.length; i++) mask[i] = values[i >> 3] >> (i & 7) & 1;
    selection.take(mask, query);
    say(`${count(about.count)} samples ${about.kind === "text" ? "contain this text" : "fulfil this condition"}.`);
  }

  // Writes the view into the address, so that it can be shared.
  let later_note;
  function note() {
    clearTimeout(later_note);
    if (part.stage === undefined) return;
    later_note = setTimeout(() => {
      const moved = map.zoom > 1 || map.left !== 0 || map.low !== 0;
      writeAddress({ by: current, only: map.only, zoom: moved ? [map.zoom.toFixed(3), Math.round(map.left), Math.round(map.low)].join("_") : null,
        row: map.chosen >= 0 ? map.chosen : null, on: selection.written() ? layout : waits ? address.on : null, sel: selection.written() || waits || null, q: selection.query || null });
    }, 250);
  }

  // A column has been changed: the map shows it where it is new, or is what the map is coloured by.
  async function changed(column) {
    if (column) current = column;
    else if (!parts.state.columns.includes(current)) current = "";
    await recolour();
  }

  function empty() {
    if (map.mask) side.replaceChildren();
    else side.replaceChildren(make("p", { class: "studio-hint" }, "Choose a point of the map to see the sample and what is most like it."));
  }

  function told(state) {
    if (part.stage !== undefined && part.stage < state.stage) guarded(reload)();
    if (part.clusters !== undefined && part.clusters !== state.clusters) { guarded(recolour)(); part.names.load(); }
    part.clusters = state.clusters;
    const names = state.columns;
    if (deleted !== state.deleted) { deleted = state.deleted; selection.show(); }
    by.replaceChildren(...names.map(name => make("option", { value: name, selected: name === current }, shown(name))));
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
      note();
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
    note();
    showLegend();
    map.setColours(values, inksOf(found));
  }

  async function recolour() {
    const began = performance.now();
    colour(await packed(await ask(query("colour", { by: current })), Uint8Array));
    requestAnimationFrame(() => { part.coloured = performance.now() - began; });
  }

  function lay({ about, values }) {
    const better = part.stage !== undefined;
    part.stage = about.stage;
    how.textContent = about.how ? `${about.how}. Distances far across mean little.` : "";
    map.focused = step = -1;
    map.setPoints(values);
    root.dataset.stage = about.stage;
    if (better) selection.moved();
    layout = about.how.split(" ")[0];
    if (waits && address.on === layout) { selection.read(waits); waits = ""; }
    if (better) { say(`The map is now by ${about.how}.`); names.load(); }
  }

  async function reload() {
    lay(await packed(await ask("studio/map"), Uint16Array));
  }

  by.addEventListener("change", guarded(async () => { current = by.value; await recolour(); }));

  async function open(row, back = false) {
    const mine = ++asked, began = performance.now();
    map.chosen = row;
    map.near = [];
    map.reveal(row);
    map.drawOver();
    note();
    side.setAttribute("aria-busy", "true");
    try {
      const seen = await json(`studio/point/${row}`);
      if (mine !== asked) return;
      if (!back) trail.push(row);
      showPoint(seen);
      map.near = seen.near.map(card => card.row);
      linked.opened();
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
    const rows = [["id", point.id], [shown("class"), point.class], ["cluster", point.cluster], ...point.facts].filter(([, value]) => value !== null);
    const head = make("div", { class: "studio-chosen" }, portrait(point, true),
      make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", { title: value }, value)])));
    const acts = make("div", { class: "studio-acts" },
      point.picture ? make("button", { type: "button", class: "studio-small", onclick: () => enlarge(point.row) }, "Full size") : null,
      trail.length > 1 ? make("button", { type: "button", class: "studio-small", onclick: () => { trail.pop(); open(trail.at(-1), true); } }, "Back") : null,
      make("button", { type: "button", class: "studio-small", onclick: close }, "Close"));
    const list = make("div", { class: "studio-near" }, ...near.map(card => {
      const word = kind(card);
      const one = tile(card, card.score.toFixed(2) + (word ? ` · ${word}` : ""), { onclick: () => open(card.row) });
      if (point.class !== null && card.class !== null) one.classList.add(point.class === card.class ? "same" : "other");
      const why = make("button", { type: "button", class: "studio-why-link", title: `Why is ${card.id} alike?`, "aria-label": `Why is ${card.id} alike?`, onclick: () => { openTab("Why alike"); parts.why.compare(point.id, card.id); } }, "why?");
      return make("div", {}, one, card.picture && point.picture && !parts.state?.blind ? why : null);
    }));
    aside.scrollTop = 0;
    side.replaceChildren(acts, head, make("h2", {}, "Nearest neighbours"), note ? make("p", { class: "studio-hint" }, note) : "", list);
  }

  function close() {
    map.chosen = map.focused = step = -1;
    map.near = [];
    trail.length = 0;
    map.drawOver();
    note();
    empty();
    canvas.focus();
  }

  // -- pointer
  const place = event => { const b = canvas.getBoundingClientRect(); return [event.clientX - b.left, event.clientY - b.top]; };
  const box4 = (a, b) => [[a[0], a[1]], [b[0], a[1]], [b[0], b[1]], [a[0], b[1]]].map(p => map.steps(...p));
  const fingers = new Map();
  let moved = 0, later;
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 1) {
      moved = 0;
      const drawn = mode || (event.shiftKey && event.pointerType !== "touch" ? 1 : 0);
      frame = drawn ? { lasso: drawn === 2, from: place(event), how: event.altKey ? "-" : event.shiftKey && mode ? "+" : "=" } : null;
      map.drawing = frame ? [map.steps(...frame.from)] : null;
    } else map.drawing = frame = null;
    tip.hidden = true;
    clearTimeout(later);
  });
  canvas.addEventListener("pointermove", event => {
    const now = place(event), before = fingers.get(event.pointerId);
    if (!before) { hover(now); return; }
    const ratio = map.ratio;
    if (fingers.size === 1 && frame) {
      if (frame.lasso) map.drawing.push(map.steps(...now));
      else map.drawing = box4(frame.from, now);
      map.drawOver();
    } else if (fingers.size === 1) map.panBy((now[0] - before[0]) * ratio, (now[1] - before[1]) * ratio);
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
    const drawn = map.drawing;
    if (last && frame) {
      map.drawing = null;
      map.drawOver();
      if (moved > 5 && event.type === "pointerup" && drawn.length > 2) selection.shape(frame.how, drawn);
      frame = null;
    }
    note();
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
    note();
  }, { passive: false });

  function hover([x, y]) {
    const row = map.at(x, y, 8);
    canvas.style.cursor = mode ? "crosshair" : row >= 0 ? "pointer" : "grab";
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

  // A frame that keys move, size and use.
  let keyed = null;
  function showFrame() {
    const { x, y, w, h } = keyed;
    map.drawing = box4([x - w / 2, y - h / 2], [x + w / 2, y + h / 2]);
    map.drawOver();
  }

  function frameKey(event, way) {
    const wide = box.clientWidth, tall = box.clientHeight, how = { Enter: "=", a: "+", A: "+", x: "-", X: "-" }[event.key];
    if (way && event.shiftKey) { keyed.w = Math.max(10, keyed.w + way[0] * wide / 20); keyed.h = Math.max(10, keyed.h + way[1] * tall / 20); }
    else if (way) { keyed.x = Math.max(0, Math.min(wide, keyed.x + way[0] * wide / 40)); keyed.y = Math.max(0, Math.min(tall, keyed.y - way[1] * tall / 40)); }
    else if (how || event.key === "Escape") {
      const drawn = map.drawing;
      keyed = map.drawing = null;
      map.drawOver();
      if (how) { selection.shape(how, drawn); live.textContent = `${count(selection.size)} selected.`; }
      return true;
    } else return false;
    showFrame();
    return true;
  }

  canvas.addEventListener("keydown", event => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey) { event.preventDefault(); selection.undo(); live.textContent = `${count(selection.size)} selected.`; return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }, way = arrows[event.key];
    if (keyed && frameKey(event, way)) { event.preventDefault(); return; }
    if (event.key === "s" || event.key === "S") {
      const [x, y] = map.focused >= 0 ? map.place(map.focused).map(v => v / map.ratio) : [box.clientWidth / 2, box.clientHeight / 2];
      keyed = { x, y, w: box.clientWidth / 4, h: box.clientHeight / 4 };
      live.textContent = "A frame to select with: arrows move it, Shift and an arrow size it, Enter selects, A adds, X takes out, Escape leaves.";
      showFrame();
    } else if (way && event.shiftKey) {
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
    note();
    event.preventDefault();
  });

  // -- start
  empty();
  dress();
  new ResizeObserver(() => map.resize()).observe(box);
  darkness.addEventListener("change", () => { dress(); showLegend(); map.setColours(map.codes, inksOf(found)); });
  const first = guarded(async () => {
    const early = own.early;
    const [points, colours] = await Promise.all([early.map.then(answered), early.colour.then(answered)]);
    const [seen, shades] = await Promise.all([packed(points.clone(), Uint16Array), packed(colours.clone(), Uint8Array)]);
    map.resize();
    colour(shades);
    if (Number.isInteger(address.only) && found && !found.scale) legend.querySelectorAll("button")[address.only]?.click();
    if (address.zoom) [map.zoom, map.left, map.low] = address.zoom;
    lay(seen);
    map.hold();
    if (address.q) {
      field.value = address.q;
      if (/\w\s*\(/.test(address.q)) say("Press Find to ask what the address asks.");  // a link from elsewhere calls no function
      else guarded(() => find(address.q))();
    }
    if (Number.isInteger(address.row) && address.row < map.rows) open(address.row);
    requestAnimationFrame(() => requestAnimationFrame(() => { part.painted ??= performance.now(); root.dataset.ready = "true"; own.drawn = true; sayAgain(); parts.head.again(); names.load(); }));
    if (parts.state) told(parts.state);
  });
  first();
}
