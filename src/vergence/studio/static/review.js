// Near-duplicates, one group after the other: keep or drop, by click and by keys.

import { count, enlarge, guarded, json, kind, make, parts, portrait, query, say } from "./shared.js";

export function mountReview(root) {
  let number = 0, member = 0, group = null, state = null;
  const told = make("p", { class: "studio-lead", "aria-live": "polite" }), cards = make("div", { class: "studio-group", role: "group" });
  const act = (text, key, work) => make("button", { type: "button", class: "studio-small", onclick: guarded(work) }, text, make("kbd", {}, key));
  const bar = make("div", { class: "studio-bar" },
    act("Previous group", "↑", () => go(number - 1)), act("Next group", "↓", () => go(number + 1)),
    act("Keep", "K", () => decide("keep")), act("Drop", "D", () => decide("drop")), act("Undo", "U", () => decide("")),
    act("Keep first, drop the rest", "F", keepFirst), act("The same in all groups not looked at", "", keepAll));
  const list = make("p", { class: "studio-lead" }, "The list: ", make("a", { href: "studio/drop.txt", download: "drop.txt" }, "ids to drop"), ", ", make("a", { href: "studio/decisions.csv", download: "decisions.csv" }, "all decisions as CSV"), ". Decisions are kept; no sample is deleted.");
  const work = make("div", { class: "studio-work", tabindex: 0, "aria-label": "Near-duplicates. Arrows choose a sample or group, K keeps, D drops, U takes back, F keeps the first and drops the rest." }, bar, cards);
  root.replaceChildren(told, work, list);
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
      told.textContent = state.searched ? "No two samples are nearly the same." : "Press “Find near-duplicates” to begin.";
      if (state.dropped) told.textContent += ` ${count(state.dropped)} samples are marked to drop from before.`;
      return;
    }
    told.textContent = `Group ${count(number + 1)} of ${count(state.groups)}: ${count(group.size)} samples${group.size > group.rows.length ? `, the first ${group.rows.length} shown` : ""}. ${count(state.decided)} groups decided, ${count(state.dropped)} samples to drop.`;
    cards.replaceChildren(...group.cards.map((card, i) => {
      const verdict = group.verdicts[i], at = guarded(async (event, word) => { event.stopPropagation(); member = i; await decide(word, false); });
      return make("div", { class: `studio-twin ${verdict}${i === member ? " at" : ""}`, "data-own": true, "data-id": card.id, "aria-current": i === member ? "true" : false, onclick: () => { member = i; mark(); } },
        portrait(card), make("b", { title: card.id }, card.id),
        make("span", {}, [i ? `cosine ${group.cosines[i].toFixed(3)}` : "the first", kind(card)].filter(Boolean).join(" · ")),
        card.picture ? make("button", { type: "button", class: "studio-why-link", onclick: event => { event.stopPropagation(); enlarge(card.row); } }, "full size") : null,
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
    await json("studio/keep-first", { number });
    await go(Math.min(number + 1, state.groups - 1));
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
