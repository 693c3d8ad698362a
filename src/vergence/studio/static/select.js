// A selection on the map: rectangles and lassos one after the other, its panel, tags, exports, and undo.

import { compareRest, review, undelete } from "./acts.js";
import { NONE, OTHER, ask, count, guarded, json, make, parts, say, shown, tile } from "./shared.js";

const CORNERS = 64, STEPS = 20, SHEET = 24;  // corners of a lasso, shapes that are kept, samples on a sheet

export class Selection {
  // changed: is called after every change. legend: gives how the map is coloured now.
  constructor(map, panel, changed, legend) {
    Object.assign(this, { map, panel, changed, legend });
    this.base = null;  // what was selected before the shapes, as a mask
    this.query = "";  // what found the base
    this.shapes = [];  // [how, polygon] of what followed: "=" only this, "+" this too, "-" not this
    this.steps = [];  // what was there before, to go back to
    this.rows = [];
    this.first = 0;
    this.column = "tag";
    this.undoable = 0;
  }

  get size() { return this.rows.length; }

  // A polygon of the map, in steps. Where one group is seen alone, only that is selected from.
  shape(how, polygon) {
    this.remember();
    this.query = "";
    const corners = thinned(polygon);
    if (how === "=") { this.base = null; this.shapes = []; }
    if (this.map.only !== null || this.shapes.length >= STEPS) {
      const mask = this.computed();
      this.map.inside(corners, row => { mask[row] = how === "-" ? 0 : 1; }, this.map.only);
      this.base = mask;
      this.shapes = [];
    } else this.shapes = [...this.shapes, [how, corners]];
    this.apply();
  }

  // Rows from elsewhere, as a mask of bytes.
  take(mask, query = "") {
    this.remember();
    this.query = query;
    this.base = mask;
    this.shapes = [];
    this.apply();
  }

  remember() { this.steps = [...this.steps, [this.base, this.shapes, this.query]].slice(-STEPS); }

  undo() {
    if (!this.steps.length) return;
    [this.base, this.shapes, this.query] = this.steps.pop();
    this.apply();
  }

  clear() { this.take(null); }

  // The points lie elsewhere now: what is selected stays, its shapes mean nothing any more.
  moved() {
    this.steps = [];
    if (!this.shapes.length) return;
    this.base = this.map.mask;
    this.shapes = [];
    this.changed();
  }

  computed() {
    const mask = this.base ? this.base.slice() : new Uint8Array(this.map.rows);
    for (const [how, polygon] of this.shapes) this.map.inside(polygon, row => { mask[row] = how === "-" ? 0 : 1; });
    return mask;
  }

  apply() {
    const began = performance.now(), { map } = this, mask = this.computed(), rows = [];
    for (let i = 0; i < mask.length; i++) if (mask[i]) rows.push(i);
    this.rows = rows;
    this.first = 0;
    map.mask = rows.length || this.shapes.length ? mask : null;
    map.draw();
    this.took = performance.now() - began;
    this.show();
    this.changed();
  }

  // Everything but what is selected.
  invert() {
    const mask = this.map.mask ? this.map.mask.map(one => 1 - one) : new Uint8Array(this.map.rows).fill(1);
    this.take(mask);
  }

  packed() {
    const { mask } = this.map, bits = new Uint8Array(Math.ceil(mask.length / 8));
    for (let i = 0; i < mask.length; i++) if (mask[i]) bits[i >> 3] |= 1 << (i & 7);
    let text = "";
    for (let s = 0; s < bits.length; s += 8192) text += String.fromCharCode(...bits.subarray(s, s + 8192));
    return `${mask.length}:${btoa(text)}`;
  }

  show() {
    const { panel, map } = this;
    const deleted = parts.state?.deleted ?? 0;
    panel.hidden = !map.mask && !this.undoable && !deleted;
    if (panel.hidden) { panel.replaceChildren(); return; }
    const small = (text, act, more = {}) => make("button", { type: "button", class: "studio-small", onclick: guarded(act), ...more }, text);
    const share = map.rows ? 100 * this.size / map.rows : 0;
    const untag = this.undoable ? small("Take the last tag back", () => this.untag()) : null;
    const back = deleted ? small(`Bring ${count(deleted)} deleted samples back`, undelete) : null;
    if (!map.mask) { panel.replaceChildren(make("div", { class: "studio-acts left" }, untag, back)); return; }
    const column = make("input", { type: "text", value: this.column, maxlength: 100, required: true, pattern: "[A-Za-z_][A-Za-z0-9_]*", title: "letters, digits and _", "aria-label": "Column of the tag" });
    const tag = make("input", { type: "text", placeholder: "tag", maxlength: 60, "aria-label": "Tag; empty takes the tags away" });
    const form = make("form", { class: "studio-bar studio-tag" }, tag, make("span", {}, "in"), column, make("button", { type: "submit", class: "studio-main", disabled: !this.size }, "Tag"));
    column.addEventListener("input", () => { this.column = column.value; });
    form.addEventListener("submit", event => { event.preventDefault(); guarded(() => this.tag(column.value, tag.value))(); });
    const kinds = ["csv", "json", "parquet", "txt"].map(kind => small(kind, () => this.save(kind), { disabled: !this.size, "aria-label": `Export the ids as ${kind}` }));
    kinds.push(small("coco", () => this.save("coco.json", "coco", { column: this.column }), { disabled: !this.size, title: "Pictures with sizes; the tags of the column above are their categories", "aria-label": "Export the pictures as coco" }));
    const beside = make("div", { class: "studio-beside", "aria-live": "polite" });
    const acts = [small("Compare with the rest", () => compareRest(this, beside), { disabled: !this.size }), small("Delete …", () => review(this), { disabled: !this.size })];
    this.sheet = make("div", { class: "studio-near", "aria-live": "polite" });
    panel.replaceChildren(
      make("div", { class: "studio-acts" }, small("Undo", () => this.undo(), { title: "Ctrl+Z" }), small("Invert", () => this.invert()), small("Clear", () => this.clear())),
      make("h2", { role: "status" }, `${count(this.size)} selected`, make("small", {}, ` of ${count(map.rows)}, ${share.toFixed(share < 10 ? 1 : 0)} %`)),
      this.divided(), form, ...(untag ? [make("div", { class: "studio-acts left" }, untag)] : []),
      make("div", { class: "studio-acts left" }, make("span", {}, "Export:"), ...kinds),
      make("div", { class: "studio-acts left" }, ...acts, back), beside,
      this.sheet);
    this.fill();
  }

  // How the selection divides among what the map is coloured by.
  divided() {
    const legend = this.legend(), { codes } = this.map;
    if (!legend || legend.scale || !this.size) return null;
    const counts = new Map();
    for (const row of this.rows) counts.set(codes[row], (counts.get(codes[row]) ?? 0) + 1);
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 4);
    const name = code => code === OTHER ? "others" : code === NONE ? "none" : legend.names[code];
    return make("p", { class: "studio-hint" }, `By ${shown(legend.column)}: `, most.map(([code, n]) => `${name(code)} (${count(n)})`).join(", ") + (counts.size > 4 ? ", …" : ""));
  }

  fill = guarded(async () => {
    const { sheet, rows, first } = this;
    if (!this.size) return;
    const { cards } = await json("studio/cards", { rows: rows.slice(first, first + SHEET) });
    if (sheet !== this.sheet || rows !== this.rows) return;
    const turn = (text, to) => make("button", { type: "button", class: "studio-small", disabled: to < 0 || to >= this.size, onclick: guarded(async () => { this.first = to; await this.fill(); }) }, text);
    sheet.replaceChildren(...cards.map(card => tile(card, card.class ?? card.id, { onclick: () => parts.map.open(card.row) })),
      ...(this.size > SHEET ? [make("div", { class: "studio-acts wide" }, turn("Earlier", first - SHEET), make("span", {}, `${count(first + 1)} to ${count(Math.min(first + SHEET, this.size))}`), turn("Later", first + SHEET))] : []));
  });

  async tag(column, tag) {
    const { line, undoable } = await json("studio/tag", { mask: this.packed(), column, tag });
    this.undoable = undoable;
    say(line);
    await parts.head.again();
    await parts.map.changed(column);
    this.show();
  }

  async untag() {
    const { line, undoable } = await json("studio/untag", {});
    this.undoable = undoable;
    say(line);
    await parts.head.again();
    await parts.map.changed(null);
    this.show();
  }

  async save(kind, path = "export", more = { kind }) {
    const file = await (await ask(`studio/${path}`, { mask: this.packed(), ...more })).blob();
    const link = make("a", { href: URL.createObjectURL(file), download: `selection.${kind}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`${count(this.size)} samples saved as selection.${kind}.`);
  }

  // The shapes as an address holds them; nothing where they are not all there is.
  written() {
    if (this.base || !this.shapes.length) return "";
    return this.shapes.map(([how, polygon]) => `${how === "=" ? "o" : how === "+" ? "a" : "n"}${polygon.map(p => p.join("_")).join(".")}`).join("!");
  }

  read(text) {
    if (typeof text !== "string" || text.length > 20000) return;
    const shapes = [];
    for (const part of text.split("!").slice(0, STEPS)) {
      const how = { o: "=", a: "+", n: "-" }[part[0]], polygon = part.slice(1).split(".").slice(0, CORNERS).map(p => p.split("_").map(Number));
      if (!how || polygon.length < 3 || !polygon.every(p => p.length === 2 && p.every(v => Number.isInteger(v) && Math.abs(v) < 2e5))) return;
      shapes.push([how, polygon]);
    }
    this.base = null;
    this.shapes = shapes;
    this.apply();
  }
}

// A polygon of at most CORNERS corners: those that matter most stay (Visvalingam's areas).
function thinned(polygon) {
  const kept = polygon.filter((p, i) => !i || p[0] !== polygon[i - 1][0] || p[1] !== polygon[i - 1][1]);
  const area = i => { const [a, b, c] = [kept.at(i - 1), kept[i], kept[(i + 1) % kept.length]]; return Math.abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])); };
  while (kept.length > CORNERS) {
    let least = Infinity, at = 0;
    for (let i = 0; i < kept.length; i++) { const one = area(i); if (one < least) { least = one; at = i; } }
    kept.splice(at, 1);
  }
  return kept;
}
