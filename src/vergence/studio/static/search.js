// Search by a picture, which the encoder of the store looks at.

import { guarded, json, kind, make, parts, tile } from "./shared.js";

export function mountPictureSearch(root) {
  const hits = make("div", { class: "studio-near", "aria-live": "polite" });
  const choose = make("input", { type: "file", accept: "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff", id: "studio-file" });
  const asked = make("div", { class: "studio-asked" });
  const zone = make("label", { class: "studio-zone", for: "studio-file" }, make("b", {}, "Find by a picture"), make("span", {}, "Choose, drop or paste one, up to 20 MB. It is looked at and not kept."), choose);
  root.replaceChildren(zone, asked, hits);
  parts.search = { told(state) { root.hidden = Boolean(state.blind); } };
  if (parts.state) parts.search.told(parts.state);

  const look = guarded(async file => {
    if (file.size > 20 * 2 ** 20) throw new Error("The picture has more than 20 MB: choose a smaller one.");
    hits.replaceChildren(make("p", { class: "studio-hint" }, "Looking at the picture and for what is like it; the first time the encoder is loaded, which takes some seconds …"));
    try {
      const { near } = await json("studio/search", new Blob([file]));
      const own = make("img", { class: "studio-pic", alt: "the picture that was asked for", src: URL.createObjectURL(file) });
      own.addEventListener("load", () => { own.classList.toggle("sharp", Math.max(own.naturalWidth, own.naturalHeight) <= 64); URL.revokeObjectURL(own.src); });
      asked.replaceChildren(own, make("span", { class: "studio-hint" }, `Most like ${file.name || "the picture"}:`));
      hits.replaceChildren(...near.map(card => tile(card, card.score.toFixed(2) + (kind(card) ? ` · ${kind(card)}` : ""))));
    } catch (error) {
      hits.replaceChildren();
      throw error;
    }
  });
  choose.addEventListener("change", () => { if (choose.files[0]) look(choose.files[0]); choose.value = ""; });
  for (const name of ["dragover", "dragleave", "drop"]) zone.addEventListener(name, event => { event.preventDefault(); zone.classList.toggle("over", name === "dragover"); });
  zone.addEventListener("drop", event => { if (event.dataTransfer.files[0]) look(event.dataTransfer.files[0]); });
  document.addEventListener("paste", event => { if (root.offsetParent && !root.hidden && event.clipboardData.files[0]) look(event.clipboardData.files[0]); });
}
