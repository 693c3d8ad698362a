// The columns and the table beside the map: bars that filter, counts of what is selected, lines in any order.

import { ask, count, guarded, json, make, packed, parts, say, shown } from "./shared.js";

const OTHER = 254, PAGE = 50;
const small = (text, act, more = {}) => make("button", { type: "button", class: "studio-small", onclick: guarded(act), ...more }, text);

export class Linked {
  constructor(root, selection) {
    this.selection = selection;
    this.chosen = new Map();  // bins by column
    this.under = null;  // what was selected before the bins, as a mask
    this.charts = make("div", { class: "studio-charts" });
    this.order = make("select", { "aria-label": "Order of the table" });
    this.lines = make("div", { class: "studio-lines", "aria-live": "polite" });
    Object.assign(this, { by: "", back: false, first: 0, open: new Set() });
    this.order.addEventListener("change", () => { this.by = this.order.value; this.back = false; this.first = 0; this.table(); });
    const part = (name, draw, ...inside) => {
      const box = make("details", { class: "studio-linked" }, make("summary", {}, name), ...inside);
      box.addEventListener("toggle", () => { this.open[box.open ? "add" : "delete"](draw); if (box.open) draw.call(this); });
      return box;
    };
    root.append(part("Columns", this.count, make("p", { class: "studio-hint" }, "A press on a bar selects what it counts, a drag or Shift with an arrow several; bars of other columns narrow it further."), this.charts),
      part("Table", this.table, make("div", { class: "studio-bar" }, make("label", {}, "Order by ", this.order)), this.lines));
  }

  // The selection has changed, by bars or by something else, which takes them back.
  changed(own = this.filtering) {
    if (!own) { this.chosen.clear(); this.under = null; }
    this.first = 0;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.open.forEach(draw => draw.call(this)), 100);
  }

  // Another sample is open: lines that are ordered by it are others.
  opened() { if (this.open.has(this.table) && this.by === "likeness to the sample") this.table(); }

  mask() { return this.selection.map.mask && this.selection.size ? this.selection.packed() : null; }

  count = guarded(async () => {
    const began = performance.now(), mine = this.counting = {}, { columns, left } = await json("studio/bins", { mask: this.mask() });
    if (mine !== this.counting) return;
    const focused = document.activeElement?.dataset?.place;
    this.charts.replaceChildren(...columns.map(one => this.chart(one)), left.length ? make("p", { class: "studio-hint" }, `Not counted: ${left.map(shown).join(", ")}.`) : "");
    if (focused) this.charts.querySelector(`[data-place="${CSS.escape(focused)}"]`)?.focus();
    this.took = performance.now() - began;
  });

  chart({ column, ranges, bins }) {
    const most = Math.max(1, ...bins.map(bin => bin.counts[0])), chosen = this.chosen.get(column) ?? new Set();
    const bars = bins.map(({ bin, name, counts: [all, some] }, i) => {
      const length = n => `${n ? Math.max(2, 100 * n / most) : 0}%`, way = ranges && bin < OTHER ? "height" : "width";
      const words = `${shown(column)} ${name}: ${count(some)} of ${count(all)}`;
      return make("button", { type: "button", class: "studio-bin", title: words, "aria-label": words, "aria-pressed": String(chosen.has(bin)), tabindex: i ? -1 : 0, "data-bin": bin, "data-place": `${column}/${bin}` },
        make("span", { class: "studio-bin-name" }, name), make("span", { class: "studio-bin-room" }, make("i", { style: `${way}:${length(all)}` }), make("b", { style: `${way}:${length(some)}` })), make("small", {}, count(some)));
    });
    const plain = bars.filter((_, i) => !ranges || bins[i].bin >= OTHER), tall = ranges ? bars.filter((_, i) => bins[i].bin < OTHER) : [];
    const ends = tall.length ? [bins[0].name.split(" to ")[0], bins[tall.length - 1].name.split(" to ")[1]] : [];
    const box = make("div", { class: "studio-chart", role: "group", "aria-label": `${shown(column)}: arrows go from bar to bar, Enter selects` },
      make("div", { class: "studio-chart-head" }, make("b", {}, shown(column)), chosen.size ? small("Take back", () => this.choose(column, null)) : null),
      tall.length ? make("div", { class: "studio-tall" }, ...tall) : null, tall.length ? make("div", { class: "studio-ends" }, ...ends.map(end => make("small", {}, end))) : null, ...plain);
    this.listen(box, column, bars, bins.map(one => one.bin));
    return box;
  }

  // Presses, drags and keys of a chart's bars.
  listen(box, column, bars, codes) {
    let from = -1;
    const span = (a, b) => codes.slice(Math.min(a, b), Math.max(a, b) + 1), at = event => bars.indexOf(event.target.closest(".studio-bin"));
    const press = (i, more) => {
      const before = this.chosen.get(column) ?? new Set();
      if (!more) { this.choose(column, before.size === 1 && before.has(codes[i]) ? null : [codes[i]]); return; }
      const next = new Set(before);
      if (!next.delete(codes[i])) next.add(codes[i]);
      this.choose(column, next.size ? [...next] : null);
    };
    const light = to => bars.forEach((bar, i) => bar.classList.toggle("over", from >= 0 && to >= 0 && i >= Math.min(from, to) && i <= Math.max(from, to)));
    box.addEventListener("pointerdown", event => { from = at(event); });
    box.addEventListener("pointerover", event => { if (from >= 0 && event.buttons) light(at(event)); });
    box.addEventListener("pointerup", event => { const to = at(event); if (from >= 0 && to >= 0 && to !== from) this.choose(column, span(from, to)); from = -1; light(-1); });
    box.addEventListener("click", event => { const i = at(event); if (i >= 0) press(i, event.ctrlKey || event.metaKey || event.shiftKey); });
    box.addEventListener("keydown", event => {
      const i = bars.indexOf(document.activeElement), way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], to = i + way;
      if (!way || i < 0 || to < 0 || to >= bars.length) return;
      event.preventDefault();
      bars[to].focus();
      if (event.shiftKey) { const now = this.chosen.get(column) ?? new Set([codes[i]]); this.choose(column, [...new Set([...now, codes[i], codes[to]])]); }
    });
  }

  // Some bins of a column, by null none: what is in a bin of every column is selected.
  choose = guarded(async (column, bins) => {
    const { selection } = this, { map } = selection;
    if (!this.chosen.size) this.under = selection.size ? map.mask : null;
    if (bins) this.chosen.set(column, new Set(bins)); else this.chosen.delete(column);
    let mask = this.under, query = "";
    if (this.chosen.size) {
      const { about, values } = await packed(await ask("studio/in-bins", { chosen: [...this.chosen].map(([name, set]) => [name, [...set]]) }), Uint8Array);
      mask = new Uint8Array(map.rows);
      for (let i = 0; i < mask.length; i++) mask[i] = values[i >> 3] >> (i & 7) & (this.under?.[i] ?? 1);
      if (!this.under) query = about.condition;
    }
    this.filtering = true;
    try { selection.take(mask, query); } finally { this.filtering = false; }
    say(this.chosen.size ? `${count(selection.size)} selected${query ? `: ${query}` : ""}.` : "The bars are taken back.");
  });

  table = guarded(async () => {
    const mine = this.drawing = {}, chosen = parts.map.map.chosen;
    const about = await json("studio/table", { mask: this.mask(), by: this.by, back: this.back, first: this.first, row: chosen < 0 ? null : chosen });
    if (mine !== this.drawing) return;
    const { total, columns, measures, lines } = about, orders = ["", "id", ...columns, ...measures];
    this.order.replaceChildren(...orders.map(value => make("option", { value, selected: value === this.by }, value || "place in the store")));
    const sorter = name => make("button", { type: "button", class: "studio-sort", "aria-label": `Order by ${name}${this.by === name ? ", the other way" : ""}`, onclick: () => { this.back = this.by === name && !this.back; this.by = name; this.first = 0; this.table(); } }, name, this.by === name ? (this.back ? " ↓" : " ↑") : "");
    const head = (name, inside = name) => make("th", { scope: "col", "aria-sort": name && this.by === name ? (this.back ? "descending" : "ascending") : false }, inside);
    const measured = measures.includes(this.by);
    const rows = lines.map(line => make("tr", {}, make("td", {}, make("button", { type: "button", class: "studio-mini", title: line.id, "aria-label": `Open ${line.id}`, onclick: () => parts.map.open(line.row) }, line.picture ? make("img", { src: line.picture, alt: "", loading: "lazy" }) : "→")),
      measured ? make("td", {}, String(line.measure)) : null, make("th", { scope: "row" }, line.id), make("td", {}, line.class ?? ""), ...line.values.map(value => make("td", { title: value }, value))));
    const turn = (text, to) => small(text, () => { this.first = to; return this.table(); }, { disabled: to < 0 || to >= total });
    this.lines.replaceChildren(
      make("div", { class: "studio-scroll", tabindex: 0 }, make("table", { class: "studio-table narrow" },
        make("thead", {}, make("tr", {}, head("", "Open"), measured ? head(this.by) : null, head("id", sorter("id")), head(shown("class")), ...columns.map(name => head(name, sorter(name))))), make("tbody", {}, ...rows))),
      make("div", { class: "studio-acts wide" }, turn("Earlier", this.first - PAGE), make("span", {}, `${count(Math.min(total, this.first + 1))} to ${count(Math.min(this.first + PAGE, total))} of ${count(total)}`), turn("Later", this.first + PAGE)));
  });
}
