// The page's start, its tabs and the smaller parts: duplicates, clusters, two sides compared, why alike.

import { readAddress, writeAddress } from "./address.js";
import { mountMap } from "./projection.js";
import { mountReview } from "./review.js";
import { count, guarded, json, make, openTab, own, parts, query, say, tile, title } from "./shared.js";

document.addEventListener("click", event => {
  const chosen = event.target.closest("[data-row]");
  if (!chosen || chosen.closest("[data-own]")) return;
  openTab("Map");
  parts.map?.open(Number(chosen.dataset.row));
});

function mountHead(root) {
  const told = root.querySelector(".studio-told"), doing = root.querySelector(".studio-doing");
  parts.head = { told };
  own.early.state.then(r => r.clone().json()).then(show).catch(error => say(error.message, true));
  let clusters = null, polling;

  function show(state) {
    if (state.error) throw new Error(state.error);
    parts.state = state;
    doing.hidden = !state.doing;
    doing.textContent = state.doing;
    if (state.trouble) say(state.trouble, true);
    if (clusters !== null && clusters !== state.clusters) parts.clusters?.reload();
    clusters = state.clusters;
    for (const name of ["map", "search", "why", "compare"]) parts[name]?.told(state);
    clearTimeout(polling);
    if (state.doing || state.working) polling = setTimeout(again, 1000);
  }
  const again = guarded(async () => show(await json(own.drawn ? "studio/state?drawn" : "studio/state")));
  parts.head.again = again;
  parts.head.watch = () => { clearTimeout(polling); polling = setTimeout(again, 200); };
}

// A button that does what takes a while: it waits, and the head says what is being done.
const busied = (button, work) => guarded(async () => {
  button.disabled = true;
  parts.head.watch();
  try { await work(); } finally { button.disabled = false; parts.head.watch(); }
});

const FOUND_BY = [["neighbours", "their own neighbours: nearer than chance explains"], ["cosine", "a least cosine"], ["hash", "a perceptual hash of the pictures"], ["pixels", "equal pictures"]];

function mountDuplicates(root) {
  const by = make("select", {}, ...FOUND_BY.map(([value, words]) => make("option", { value }, words)));
  const least = make("input", { type: "number", min: 0.5, max: 1, step: 0.005, value: 0.95 }), limit = make("label", { hidden: true }, "Least cosine ", least);
  const button = make("button", { type: "submit", class: "studio-main" }, "Find near-duplicates");
  const line = make("p", { class: "studio-hint", role: "status" }), review = make("div", { class: "studio-review" });
  const form = make("form", { class: "studio-bar" }, make("label", {}, "Near-duplicates are found by ", by), limit, button);
  by.addEventListener("change", () => { limit.hidden = by.value !== "cosine"; });
  const find = busied(button, async () => {
    line.textContent = (await json("studio/duplicates", { by: by.value, threshold: by.value === "cosine" ? Number(least.value) : null })).line;
    await parts.review.reload();
  });
  form.addEventListener("submit", event => { event.preventDefault(); find(); });
  root.replaceChildren(form, line, review);
  mountReview(review);
}

function mountClusters(root) {
  const lead = make("p", { class: "studio-lead" }), grid = make("div", { class: "studio-cards" });
  const k = make("input", { type: "number", min: 0, step: 1, value: 0 }), button = make("button", { type: "submit", class: "studio-small" }, "Cluster again (clears the names)");
  const form = make("form", { class: "studio-bar" }, make("label", {}, "Number of clusters (0: chosen by silhouette) ", k), button);
  const divide = busied(button, async () => { say((await json("studio/divide", { k: Number(k.value) || 0 })).line); await reload(); await parts.head.again(); });
  form.addEventListener("submit", event => { event.preventDefault(); divide(); });
  root.replaceChildren(form, lead, grid);
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

function mountCompare(root) {
  const [by, first, second] = ["Divide by", "First side", "Second side"].map(words => make("select", { "aria-label": words }));
  const button = make("button", { type: "submit", class: "studio-main" }, "Compare"), shown = make("div", { "aria-live": "polite" });
  const form = make("form", { class: "studio-bar" }, make("label", {}, "Divide by ", by), make("label", {}, "First side ", first), make("label", {}, "Second side ", second), button);
  const offer = guarded(async () => {
    const { columns, column, sides, rest } = await json(query("sides", { column: by.value }));
    form.hidden = !columns.length;
    if (!columns.length) { shown.replaceChildren(make("p", { class: "studio-hint" }, "The store has no column to divide it by: give labels or metadata when it is made.")); return; }
    const options = (select, pairs, chosen) => select.replaceChildren(...pairs.map(([value, words]) => make("option", { value, selected: value === chosen }, words)));
    options(by, columns, column);
    options(first, sides.map(side => [side, side]), sides[0]);
    options(second, [rest, ...sides].map(side => [side, side]), rest);
  });
  const strip = cards => make("div", { class: "studio-strip" }, ...cards.map(card => make("button", { type: "button", class: "studio-mini", "data-row": card.row, title: card.text || card.id }, card.picture ? make("img", { src: card.picture, alt: card.id }) : card.text || card.id)));
  const share = (part, n) => make("td", {}, `${(100 * part).toFixed(1)} %`, make("small", {}, `${count(n)} rows`));
  const kinds = { 0: ["first", "more of the first"], 1: ["second", "more of the second"], "-1": ["even", "no clear difference"] };
  const compare = busied(button, async () => {
    const seen = await json(query("compare", { column: by.value, first: first.value, second: second.value })), [a, b] = seen.sides, [n, m] = seen.rows;
    const lead = make("p", { class: "studio-lead" }, `By ${seen.by}: ${count(n)} rows of `, make("b", {}, a), ` beside ${count(m)} of `, make("b", {}, b), `. Of ${seen.clusters} clusters, ${seen.uneven[0]} hold more of the first side than chance explains and ${seen.uneven[1]} more of the second. The mean directions of both sides have a cosine of ${seen.cosine.toFixed(3)}.`);
    const heads = ["Cluster", "First side", "Second side", "Verdict", "Typical of the first", "Typical of the second"].map(words => make("th", { scope: "col" }, words));
    const lines = seen.lines.map(line => make("tr", { class: kinds[line.verdict][0] }, make("th", { scope: "row" }, line.name), share(line.shares[0], line.counts[0]), share(line.shares[1], line.counts[1]), make("td", {}, kinds[line.verdict][1]), ...line.typical.map(cards => make("td", {}, strip(cards)))));
    shown.replaceChildren(lead, make("div", { class: "studio-scroll", tabindex: 0 }, make("table", { class: "studio-table" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines))));
  });
  by.addEventListener("change", offer);
  form.addEventListener("submit", event => { event.preventDefault(); compare(); });
  root.replaceChildren(form, shown);
  let stood = parts.state?.columns.join();
  parts.compare = { told(state) { if (stood !== state.columns.join()) { stood = state.columns.join(); offer(); } } };
  offer();
}

function mountWhy(root) {
  const blind = make("p", { class: "studio-hint" }), shown = make("div", { class: "studio-pairs", "aria-live": "polite" });
  const fields = ["First", "Second"].map(word => make("input", { type: "text", "aria-label": `${word} id`, placeholder: `${word} id`, required: true, autocomplete: "off" }));
  const form = make("form", { class: "studio-bar" }, ...fields, make("button", { class: "studio-small", type: "submit" }, "Show why"));
  root.replaceChildren(blind, make("p", { class: "studio-lead" }, "Which places of two pictures make the encoder find them alike? Give two ids, or press “why?” under a neighbour on the map."), form, shown);
  const compare = guarded((first, second) => explain(first, second));
  const part = parts.why = { compare, told(state) { blind.textContent = state.blind ?? ""; blind.hidden = !state.blind; form.hidden = Boolean(state.blind); } };
  if (parts.state) part.told(parts.state);
  async function explain(first, second) {
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
  }
  form.addEventListener("submit", event => { event.preventDefault(); compare(fields[0].value.trim(), fields[1].value.trim()); });
}

// -- tabs: what one shows is mounted when it is first opened
const mounts = { map: mountMap, duplicates: mountDuplicates, clusters: mountClusters, compare: mountCompare, why: mountWhy };
const tabs = [...document.querySelectorAll(".studio-tabs [role=tab]")], mounted = new Set();

function show(tab) {
  for (const other of tabs) {
    const here = other === tab;
    other.setAttribute("aria-selected", String(here));
    other.tabIndex = here ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !here;
  }
  const name = tab.id.replace("tab-", "");
  writeAddress({ tab: name === "map" ? null : name });
  if (mounted.has(name)) return;
  mounted.add(name);
  mounts[name](document.querySelector(`.studio-${name}`));
}

tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => show(tab));
  tab.addEventListener("keydown", event => {
    const to = { ArrowRight: (i + 1) % tabs.length, ArrowLeft: (i + tabs.length - 1) % tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    tabs[to].focus();
    show(tabs[to]);
  });
});

own.parts = parts;
mountHead(document.querySelector(".studio-head"));
const first = tabs.find(tab => tab.id === `tab-${readAddress().tab}`);
show(tabs[0]);
if (first) show(first);
