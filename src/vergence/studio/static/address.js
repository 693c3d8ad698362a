// The view in the address, after its "#", so that it can be shared; the server never sees it.

export const writeAddress = view => {
  const words = new URLSearchParams(read());
  for (const [name, value] of Object.entries(view)) if (value === null || value === undefined || value === "") words.delete(name); else words.set(name, value);
  const text = words.toString();
  if (text !== read()) history.replaceState(null, "", text ? `#${text}` : location.pathname);
};

const read = () => location.hash.slice(1);

// What an address says, of which nothing is believed: numbers are numbers within bounds, the rest is text.
export function readAddress() {
  const words = new URLSearchParams(read()), text = name => words.get(name)?.slice(0, 20000);
  const whole = name => /^\d{1,9}$/.test(text(name) ?? "") ? Number(text(name)) : null;
  const zoom = (text("zoom") ?? "").split("_").map(Number);
  return { tab: text("tab"), by: text("by"), only: whole("only"), row: whole("row"), on: text("on"), sel: text("sel"), q: text("q"),
    zoom: zoom.length === 3 && zoom.every(Number.isFinite) && zoom[0] >= 1 && zoom[0] <= 4000 ? zoom : null };
}
