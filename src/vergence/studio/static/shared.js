// What all parts of the page use: asking the server, saying things, drawing samples, colours.
// What comes from the store reaches the page as text, never as HTML.

export const own = window.studio, parts = {}, NONE = 255, OTHER = 254, STEPS = 254;

export const make = (tag, about = {}, ...inside) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "style") element.style.cssText = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...inside.filter(part => part !== null && part !== undefined));
  return element;
};

export const count = n => n.toLocaleString("en-US");
export const query = (path, about) => `studio/${path}?${new URLSearchParams(about)}`;

export async function answered(response) {
  if (response.ok) return response;
  let line = `The studio answered ${response.status}.`;
  try {
    const said = await response.json();
    if (typeof said.error === "string") line = said.error;
  } catch { /* no words came with it */ }
  throw new Error(line);
}

export async function ask(path, body) {
  try {
    const about = body === undefined ? {} : { method: "POST", body: body instanceof Blob ? body : JSON.stringify(body), headers: { "content-type": body instanceof Blob ? "application/octet-stream" : "application/json" } };
    return await answered(await fetch(path, about));
  } catch (error) {
    throw error instanceof TypeError ? new Error("The studio does not answer: is the program still running?") : error;
  }
}

export const json = async (path, body) => (await ask(path, body)).json();

export async function packed(response, Kind) {
  const raw = await response.arrayBuffer(), words = new DataView(raw).getUint32(0, true);
  return { about: JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, words))), values: new Kind(raw, 4 + words) };
}

let quiet;
export function say(line, wrong = false) {
  const told = parts.head?.told;
  if (!told) return;
  told.textContent = line;
  told.classList.toggle("wrong", wrong);
  clearTimeout(quiet);
  quiet = setTimeout(() => { told.textContent = ""; }, wrong ? 12000 : 6000);
}

export const guarded = work => async (...given) => {
  try { return await work(...given); } catch (error) { say(error.message, true); }
};

export function portrait(card, large = false) {
  if (!card.picture) return make("span", { class: card.text ? `studio-text words${large ? " large" : ""}` : "studio-text" }, card.text || card.id);
  const image = make("img", { class: "studio-pic", src: card.picture, alt: card.id, decoding: "async" });
  image.addEventListener("load", () => image.classList.toggle("sharp", Math.max(image.naturalWidth, image.naturalHeight) <= 64));
  if (large) image.classList.add("large");
  return image;
}

// What a label is: "class", or "folder" where it is but the name of one.
export const shown = column => column === "class" || column === "label" ? parts.state?.label ?? column : column;

const size = bytes => bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

// The picture itself, as large as the window allows; a click shows its own pixels.
export const enlarge = guarded(async row => {
  const about = await json(`studio/original/${row}`);
  const image = make("img", { src: `studio/pixels/${row}`, alt: about.path, title: "Click for its own pixels, and back", onclick: () => box.classList.toggle("own") });
  image.addEventListener("error", () => say(`${about.path} cannot be shown.`, true));
  const facts = [`${count(about.width)} × ${count(about.height)} pixels`, about.bytes === null ? "" : size(about.bytes), about.note];
  const box = make("dialog", { class: "studio-full", "aria-label": `${about.path} at full size`, "data-own": true, onclose: () => box.remove(), onclick: event => { if (event.target === box) box.close(); } },
    make("div", { class: "studio-full-head" }, make("div", {}, make("b", {}, about.path), make("span", {}, facts.filter(Boolean).join(", ")), about.exif.length ? make("span", { class: "studio-exif" }, about.exif.map(([name, value]) => `${name} ${value}`).join(" · ")) : null), make("button", { type: "button", class: "studio-small", onclick: () => box.close() }, "Close")),
    make("div", { class: "studio-full-view", tabindex: 0 }, image));
  document.querySelector(".studio-page").append(box);
  box.showModal();
});

export const kind = card => card.class ?? card.cluster;
export const title = card => [card.id, card.picture ? null : card.text, card.class, card.cluster].filter(Boolean).join(", ");

export function tile(card, caption, more = {}) {
  return make("button", { type: "button", class: "studio-tile", "data-row": card.row, title: title(card), ...more }, portrait(card), make("span", {}, caption));
}

export function openTab(name) {
  [...document.querySelectorAll(".studio-tabs [role=tab]")].find(tab => tab.textContent.trim() === name)?.click();
}

export function readColour(text) {
  const probe = readColour.context ??= make("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  probe.clearRect(0, 0, 1, 1);
  probe.fillStyle = text;
  probe.fillRect(0, 0, 1, 1);
  const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
  return (0xff000000 | b << 16 | g << 8 | r) >>> 0;
}

export const variable = name => getComputedStyle(document.body).getPropertyValue(name).trim();
export const darkness = matchMedia("(prefers-color-scheme: dark)");
export const dark = () => darkness.matches;

// Up to FEW kinds differ in hue; more in hue, and neighbours in how light and how strong they are.
const FEW = 20, TONES = [[-0.14, 0.05], [0.02, -0.05], [0.16, 0.01]];

export function kindColour(i, n) {
  const many = n > FEW, turn = many ? Math.floor(i / TONES.length) / Math.ceil(n / TONES.length) : i / Math.max(n, 1);
  const hue = Math.round(250 + 360 * turn) % 360, [lighter, stronger] = many ? TONES[i % TONES.length] : [0.1 * (i % 2), 0];
  return `oklch(${(dark() ? 0.72 : 0.6) + lighter} ${(dark() ? 0.14 : 0.16) + stronger} ${hue})`;
}

export function scaleColour(share) {
  const low = dark() ? 0.48 : 0.38, high = dark() ? 0.92 : 0.84;
  return `oklch(${low + (high - low) * share} ${0.11 + 0.06 * share} ${300 - 200 * share})`;
}

export function inksOf(legend) {
  const inks = new Uint32Array(256).fill(readColour(variable("--studio-line")));
  if (!legend) return inks.fill(readColour(variable("--studio-accent")));
  if (legend.scale) for (let s = 0; s < STEPS; s++) inks[s] = readColour(scaleColour(s / (STEPS - 1)));
  else legend.names.forEach((_, i) => { inks[i] = readColour(kindColour(i, legend.names.length)); });
  inks[OTHER] = readColour(variable("--studio-other"));
  inks[NONE] = readColour(variable("--studio-none"));
  if (legend.scale) inks[OTHER] = inks[STEPS - 1];
  return inks;
}
