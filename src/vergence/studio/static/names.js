// Names of clusters on the map: where they lie, and a field to change one.

import { guarded, json, make, say } from "./shared.js";

export class ClusterNames {
  constructor(map, box) {
    Object.assign(this, { map, box, seen: true, known: [] });
    this.button = make("button", { type: "button", class: "studio-small", "aria-pressed": "true", hidden: true, title: "Names of the clusters on the map; a double click on one changes it", onclick: () => { this.seen = !this.seen; this.button.setAttribute("aria-pressed", String(this.seen)); this.show(); } }, "Names");
    map.canvas.addEventListener("dblclick", event => {
      const b = map.canvas.getBoundingClientRect(), hit = map.label(event.clientX - b.left, event.clientY - b.top);
      if (hit) this.edit(hit);
    });
  }

  load = guarded(async () => {
    this.known = (await json("studio/names")).names;
    this.button.hidden = !this.known.length;
    this.show();
  });

  show() {
    this.map.names = this.seen ? this.known.map(one => ({ ...one, shown: one.name || one.typical || one.usual })) : [];
    this.map.drawOver();
  }

  edit({ one, box: [left, top, right] }) {
    const field = make("input", { class: "studio-name", type: "text", maxlength: 60, value: one.name, placeholder: one.typical || one.usual, "aria-label": `Name of ${one.usual}` });
    field.style.left = `${Math.max(4, (left + right) / 2 - 90)}px`;
    field.style.top = `${top - 6}px`;
    let over = false;
    const end = guarded(async keep => {
      if (over) return;
      over = true;
      field.remove();
      this.map.canvas.focus();
      if (!keep || field.value === one.name) return;
      await json("studio/name", { cluster: one.cluster, name: field.value });
      say(field.value ? `${one.usual} is now called ${field.value}.` : `${one.usual} has no name now.`);
      await this.changed();
    });
    field.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); end(event.key === "Enter"); } event.stopPropagation(); });
    field.addEventListener("blur", () => end(true));
    this.box.append(field);
    field.focus();
    field.select();
  }
}
