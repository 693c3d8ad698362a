// The map in a cell of a notebook. shared.js and map.js come before it, as one file; Python reads what is selected.

const KEYS_HERE = "Arrows move, + and − zoom, 0 shows all, Escape selects nothing.", SHEET = 12;  // samples of a selection that are shown

const bytesOf = view => new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

function readBits(text, n) {
  if (!text) return null;
  const raw = atob(text.split(":")[1]), mask = new Uint8Array(n);
  for (let i = 0; i < n; i++) mask[i] = raw.charCodeAt(i >> 3) >> (i & 7) & 1;
  return mask;
}

function writeBits(mask) {
  if (!mask?.includes(1)) return "";
  const bits = new Uint8Array(Math.ceil(mask.length / 8));
  for (let i = 0; i < mask.length; i++) if (mask[i]) bits[i >> 3] |= 1 << (i & 7);
  let text = "";
  for (let s = 0; s < bits.length; s += 8192) text += String.fromCharCode(...bits.subarray(s, s + 8192));
  return `${mask.length}:${btoa(text)}`;
}

function render({ model, el }) {
  const canvas = make("canvas", { class: "map", tabindex: 0, role: "application", "aria-label": `Map of all samples. ${KEYS_HERE}` });
  const over = make("canvas", { class: "over", "aria-hidden": "true" }), box = make("div", { class: "box" }, canvas, over);
  const by = make("select", { "aria-label": "Colour by" }), how = make("span"), legend = make("div", { class: "legend" });
  const status = make("h4", { role: "status" }), sheet = make("div", { class: "studio-near" }), sample = make("div", { "aria-live": "polite" });
  const button = (text, act, more = {}) => make("button", { type: "button", onclick: act, ...more }, ...[text].flat());
  let mode = 1, frame = null, moved = 0;
  const modes = ["Move", "Rectangle", "Lasso"].map((name, i) => button(name, () => choose(i), { title: i ? "Shift adds, Alt takes out" : "Drag to move the map" }));
  const clear = button("Clear", () => select(null));
  const root = make("div", { class: "studio-notebook" },
    make("div", {}, make("div", { class: "bar" }, make("label", {}, "Colour by ", by), ...modes,
      button("−", () => map.zoomBy(1 / 1.6), { "aria-label": "Zoom out" }), button("+", () => map.zoomBy(1.6), { "aria-label": "Zoom in" }), button("Show all", () => map.whole()), how), box, legend),
    make("aside", {}, status, clear, sample, sheet));
  el.replaceChildren(root);
  const map = new PointMap(canvas, over);
  root.map = map;

  function choose(i) {
    mode = i;
    modes.forEach((one, j) => one.setAttribute("aria-pressed", String(i === j)));
    canvas.classList.toggle("move", !i);
  }

  function dress() {
    map.paper = readColour(variable("--studio-card"));
    map.grey = readColour(variable("--studio-none"));
    [map.halo, map.ink, map.accent] = ["card", "ink", "accent"].map(name => variable(`--studio-${name}`));
  }

  function colour() {
    const about = model.get("legend");
    dress();
    map.only = null;
    map.setColours(bytesOf(model.get("codes")), inksOf(about));
    by.replaceChildren(...model.get("columns").map(([name, label]) => make("option", { value: name, selected: name === model.get("by") }, label)));
    by.disabled = !model.get("columns").length;
    if (!about) { legend.replaceChildren(); return; }
    if (about.scale) {
      const stops = [0, 0.25, 0.5, 0.75, 1].map(scaleColour).join(", ");
      legend.replaceChildren(about.low, make("i", { class: "ramp", style: `background: linear-gradient(to right, ${stops})` }), about.high);
      return;
    }
    const chip = (code, name, n, shade) => button([make("i", { style: `background: ${shade}` }), `${name} `, make("small", {}, count(n))], event => {
      map.only = map.only === code ? null : code;
      for (const one of legend.children) one.setAttribute("aria-pressed", String(map.only !== null && one === event.currentTarget));
      map.draw();
    });
    legend.replaceChildren(...about.names.map((name, i) => chip(i, name, about.counts[i], kindColour(i, about.names.length))),
      ...(about.other ? [chip(OTHER, "others", about.other, variable("--studio-other"))] : []),
      ...(about.none ? [chip(NONE, "none", about.none, variable("--studio-none"))] : []));
  }

  function lay() {
    how.textContent = model.get("how") ? `${model.get("how")}.` : "";
    map.setPoints(new Uint16Array(bytesOf(model.get("points")).buffer));
  }

  function show() {
    map.mask = readBits(model.get("selection"), map.rows);
    map.draw();
    const n = map.mask ? map.mask.reduce((sum, one) => sum + one, 0) : 0, first = [];
    for (let i = 0; n && i < map.rows && first.length < SHEET; i++) if (map.mask[i]) first.push(i);
    status.textContent = n ? `${count(n)} of ${count(map.rows)} selected` : "Drag over the map to select.";
    clear.hidden = !n;
    sheet.replaceChildren();
    if (n) model.send({ sheet: first });
  }

  function select(mask) {
    model.set("selection", writeBits(mask));
    model.save_changes();
  }

  function shape(how, polygon) {
    sample.replaceChildren();
    map.chosen = -1;
    const mask = how !== "=" && map.mask ? map.mask.slice() : new Uint8Array(map.rows);
    map.inside(polygon, row => { mask[row] = how === "-" ? 0 : 1; }, map.only);
    select(mask);
  }

  const open = row => { map.chosen = row; map.near = []; map.drawOver(); model.send({ open: row }); };
  const tiles = cards => cards.map(card => tile(card, card.score === undefined ? card.class ?? card.id : card.score.toFixed(2), { onclick: () => open(card.row) }));

  function told(about) {
    if (about.sheet) sheet.replaceChildren(...tiles(about.sheet));
    if (about.wrong) sample.replaceChildren(make("p", {}, about.wrong));
    if (!about.point) return;
    const { point, near } = about.point, facts = [point.class, ...point.facts.map(([name, value]) => `${name}: ${value}`)];
    map.near = near.map(card => card.row);
    map.drawOver();
    sample.replaceChildren(portrait(point, true), make("h4", {}, point.id), make("p", {}, facts.filter(Boolean).join(", ")), make("div", { class: "studio-near" }, ...tiles(near)));
  }

  // -- pointer and keys
  const place = event => { const b = canvas.getBoundingClientRect(); return [event.clientX - b.left, event.clientY - b.top]; };
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    const from = place(event), how = event.altKey ? "-" : event.shiftKey ? "+" : "=";
    moved = 0;
    frame = { from, last: from, how };
    map.drawing = mode ? [map.steps(...from)] : null;
  });
  canvas.addEventListener("pointermove", event => {
    if (!frame) return;
    const now = place(event), { from, last } = frame;
    moved += Math.hypot(now[0] - last[0], now[1] - last[1]);
    frame.last = now;
    if (!mode) { map.panBy((now[0] - last[0]) * map.ratio, (now[1] - last[1]) * map.ratio); return; }
    if (mode === 2) map.drawing.push(map.steps(...now));
    else map.drawing = [from, [now[0], from[1]], now, [from[0], now[1]]].map(p => map.steps(...p));
    map.drawOver();
  });
  const lift = event => {
    if (!frame) return;
    const { how } = frame, drawn = map.drawing;
    frame = map.drawing = null;
    map.drawOver();
    if (event.type !== "pointerup") return;
    if (moved > 5) { if (drawn?.length > 2) shape(how, drawn); return; }
    const row = map.at(...place(event));
    if (row >= 0) open(row);
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const [x, y] = place(event);
    map.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), x * map.ratio, y * map.ratio);
  }, { passive: false });
  canvas.addEventListener("keydown", event => {
    const ways = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }, way = ways[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (way) map.panBy(way[0] * canvas.width / 8, way[1] * canvas.height / 8);
    else if (event.key === "+" || event.key === "=") map.zoomBy(1.6);
    else if (event.key === "-") map.zoomBy(1 / 1.6);
    else if (event.key === "0") map.whole();
    else if (event.key === "Escape") select(null);
    else return;
    event.preventDefault();
    event.stopPropagation();  // the notebook has keys of its own
  });

  by.addEventListener("change", () => { model.set("by", by.value); model.save_changes(); });
  const heard = [["change:points", lay], ["change:codes", colour], ["change:legend", colour], ["change:selection", show], ["msg:custom", told]];
  for (const [name, act] of heard) model.on(name, act);
  const size = new ResizeObserver(() => map.resize());
  choose(1);
  lay();
  colour();
  size.observe(box);
  darkness.addEventListener("change", colour);
  show();
  return () => {
    size.disconnect();
    darkness.removeEventListener("change", colour);
    for (const [name, act] of heard) model.off(name, act);
  };
}

export default { render };
