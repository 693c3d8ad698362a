// What is done with a selection beyond tags and lists of ids: compared with the rest, deleted, named.

import { ask, count, guarded, json, make, packed, parts, portrait, query, say, shown } from "./shared.js";

const SHEET = 48;  // samples that are seen before they go
const small = (text, act, more = {}) => make("button", { type: "button", class: "studio-small", onclick: guarded(act), ...more }, text);
const short = value => Number(value.toPrecision(4)).toLocaleString("en-US", { maximumSignificantDigits: 4, useGrouping: Math.abs(value) >= 1e4 });
const percent = share => `${share.toFixed(share < 10 ? 1 : 0)} %`;

function dialog(name, ...inside) {
  const box = make("dialog", { class: "studio-full studio-sheet", "aria-label": name, "data-own": true, onclose: () => box.remove(), onclick: event => { if (event.target === box) box.close(); } }, ...inside);
  document.querySelector(".studio-page").append(box);
  box.showModal();
  return box;
}

// Everything that goes is seen and counted before a second click deletes it.
export async function review(selection) {
  const { rows } = selection, n = count(rows.length);
  const sheet = make("div", { class: "studio-near wide" }), close = () => box.close();
  const turn = make("div", { class: "studio-acts wide" });
  const remove = make("button", { type: "button", class: "studio-main studio-danger", onclick: guarded(async () => {
    remove.disabled = true;
    try {
      const { line } = await json("studio/delete", { mask: selection.packed(), count: rows.length });
      close();
      selection.clear();
      startAgain(line);
    } finally { remove.disabled = false; }
  }) }, `Delete ${n} samples`);
  const box = dialog("Delete the selection",
    make("div", { class: "studio-full-head" }, make("div", {}, make("b", {}, `${n} samples would go from the store`), make("span", {}, "The files that they were made from stay. It can be taken back until the store is changed otherwise.")),
      make("div", { class: "studio-acts" }, remove, small("Cancel", close, { autofocus: true }))),
    make("div", { class: "studio-full-view", tabindex: 0 }, sheet, turn));
  const page = guarded(async first => {
    const { cards } = await json("studio/cards", { rows: rows.slice(first, first + SHEET) });
    sheet.replaceChildren(...cards.map(card => make("div", { title: card.id }, portrait(card), make("small", {}, card.id))));
    turn.replaceChildren(small("Earlier", () => page(first - SHEET), { disabled: first === 0 }), make("span", {}, `${count(first + 1)} to ${count(Math.min(first + SHEET, rows.length))} of ${n}`), small("Later", () => page(first + SHEET), { disabled: first + SHEET >= rows.length }));
  });
  await page(0);
}

export const undelete = async () => startAgain((await json("studio/undelete", {})).line);

// The rows are others now, so that all of the page is made anew; the new one says what was done.
function startAgain(line) {
  sessionStorage.setItem("said", line);
  history.replaceState(null, "", location.pathname);
  location.reload();
}

export function sayAgain() {
  const line = sessionStorage.getItem("said");
  sessionStorage.removeItem("said");
  if (line) say(line);
}

// What sets a selection apart, column by column.
export async function compareRest(selection, root) {
  root.replaceChildren(make("p", { class: "studio-hint" }, "Comparing with the rest …"));
  const { rows, numbers, kinds } = await json("studio/against", { mask: selection.packed() });
  const table = (heads, lines) => make("div", { class: "studio-scroll", tabindex: 0 }, make("table", { class: "studio-table narrow" },
    make("thead", {}, make("tr", {}, ...heads.map(head => make("th", { scope: "col" }, head)))), make("tbody", {}, ...lines)));
  const share = (n, of) => make("td", {}, percent(100 * n / of), make("small", {}, count(n)));
  const values = kinds.map(({ column, words, found }) => [make("h3", {}, words ? `Words of ${shown(column)}` : shown(column)),
    table(["more often", "selected", "rest"], found.map(({ name, counts }) => make("tr", {}, make("th", { scope: "row" }, name), share(counts[0], rows[0]), share(counts[1], rows[1]))))]);
  const means = numbers.length ? [make("h3", {}, "Numbers: mean (median)"),
    table(["column", "selected", "rest", "apart"], numbers.map(({ column, means, medians, effect }) => make("tr", {}, make("th", { scope: "row" }, column),
      ...means.map((mean, i) => make("td", {}, short(mean), make("small", {}, `(${short(medians[i])})`))), make("td", { title: "Difference of the means, in standard deviations of all" }, `${effect > 0 ? "+" : ""}${effect.toFixed(2)} sd`))))] : [];
  root.replaceChildren(make("h2", {}, "Beside the rest"), ...values.flat(), ...means,
    values.length ? make("p", { class: "studio-hint" }, "Named is what more of the selection has than chance explains (Fisher’s exact test, 1 in 100 for all of a column).") : make("p", { class: "studio-hint" }, "No value and no word is more frequent here than chance explains."));
}

// Named selections: chosen alone, added (Shift) or taken out (Alt).
export class Named {
  constructor(root, selection) {
    Object.assign(this, { root, selection });
    this.named = [];
    root.hidden = true;
    guarded(async () => { this.named = (await json("studio/named")).named; this.show(); })();
  }

  show() {
    const { root, selection, named } = this;
    root.hidden = !named.length && !selection.size;
    const chips = named.map(({ name, count: n }) => make("span", { class: "studio-chip" },
      make("button", { type: "button", title: `Select ${name}; Shift adds it, Alt takes it out`, onclick: event => this.choose(name, event) }, name, make("small", {}, ` ${count(n)}`)),
      make("button", { type: "button", "aria-label": `Forget ${name}`, title: "Forget", onclick: guarded(async () => { this.named = (await json("studio/forget", { name })).named; this.show(); }) }, "×")));
    const name = make("input", { type: "text", placeholder: "name", maxlength: 60, required: true, "aria-label": "Name of the selection" });
    const form = make("form", { class: "studio-bar studio-tag", hidden: !selection.size }, name, make("button", { type: "submit", class: "studio-small" }, "Keep selection"));
    form.addEventListener("submit", event => {
      event.preventDefault();
      guarded(async () => { this.named = (await json("studio/keep", { mask: selection.packed(), name: name.value })).named; this.show(); })();
    });
    root.replaceChildren(make("h2", {}, "Named selections"), make("div", { class: "studio-chips" }, ...chips), form);
  }

  choose = guarded(async (name, event) => {
    const { map } = this.selection, { values } = await packed(await ask(query("named-rows", { name })), Uint8Array);
    const mask = map.mask && (event.shiftKey || event.altKey) ? map.mask.slice() : new Uint8Array(map.rows);
    for (let i = 0; i < mask.length; i++) if (values[i >> 3] >> (i & 7) & 1) mask[i] = event.altKey ? 0 : 1;
    this.selection.take(mask);
  });
}
