// Asks for what the first paint needs, before the page's modules are loaded.

window.studio = { early: { state: fetch("studio/state"), map: fetch("studio/map"), colour: fetch("studio/colour") } };
