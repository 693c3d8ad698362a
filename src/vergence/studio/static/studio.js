// The page's start, its head and the smaller parts: search by a picture, clusters, why two are alike.

import { mountMap } from "./projection.js";
import { mountReview } from "./review.js";
import { count, guarded, json, kind, make, openTab, own, parts, query, say, tile, title } from "./shared.js";

document.addEventListener("click", event => {
  const chosen = event.target.closest("[data-row]");
  if (!chosen || chosen.closest("[data-own]")) return;
  openTab("Map");
  parts.map?.open(Number(chosen.dataset.row));
});

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
  let clusters = null, polling;

  function show(state) {
    parts.state = state;
    doing.hidden = !state.doing;
    doing.textContent = state.doing;
    if (state.trouble) say(state.trouble, true);
    if (clusters !== null && clusters !== state.clusters) parts.clusters?.reload();
    clusters = state.clusters;
    parts.map?.told(state);
    parts.search?.told(state);
    parts.why?.told(state);
    clearTimeout(polling);
    if (state.doing) polling = setTimeout(again, 1000);
  }
  const again = guarded(async () => show(await json("studio/state")));
  parts.head.again = again;
  own.watch = () => { clearTimeout(polling); polling = setTimeout(again, 200); };
}

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
      own.addEventListener("load", () => { own.classList.toggle("sharp", Math.max(own.naturalWidth, own.naturalHeight) <= 64); URL.revokeObjectURL(own.src); });
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

function mountWhy(root) {
  const blind = make("p", { class: "studio-hint" }), shown = make("div", { class: "studio-pairs", "aria-live": "polite" });
  const fields = ["First", "Second"].map(word => make("input", { type: "text", "aria-label": `${word} id`, placeholder: `${word} id`, required: true, autocomplete: "off" }));
  const form = make("form", { class: "studio-bar" }, ...fields, make("button", { class: "studio-small", type: "submit" }, "Show why"));
  root.replaceChildren(blind, make("p", { class: "studio-lead" }, "Which places of two pictures make the encoder find them alike? Give two ids, or press “why?” under a neighbour on the map."), form, shown);
  root.removeAttribute("aria-busy");
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
  if (own.pair) { compare(...own.pair); own.pair = null; }
}

const mounts = { head: mountHead, map: mountMap, search: mountSearch, review: mountReview, clusters: mountClusters, why: mountWhy };
own.parts = parts;
own.mount = (name, element) => { if (element) mounts[name](element); };
own.refresh = name => parts[name]?.reload();
own.waiting.splice(0).forEach(([name, element]) => own.mount(name, element));
