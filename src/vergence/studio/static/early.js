// Asks for what the first paint needs, before the page's modules are loaded.

const by = new URLSearchParams(location.hash.slice(1)).get("by");
window.studio = { early: { state: fetch("studio/state"), map: fetch("studio/map"), colour: fetch(by ? `studio/colour?${new URLSearchParams({ by })}` : "studio/colour").then(found => found.ok || !by ? found : fetch("studio/colour")) } };
