(() => {
  const map = document.getElementById("map");
  if (map) {
    const points = JSON.parse(document.getElementById("points").textContent);
    const dots = [...map.querySelectorAll("circle")];
    const tip = document.getElementById("tip");
    let by = 0;
    const only = group => {
      map.classList.toggle("some", group !== null);
      dots.forEach(dot => dot.classList.toggle("on", dot.dataset[by] === group));
    };
    const press = (all, one) => all.forEach(b => b.setAttribute("aria-pressed", b === one));
    const keys = [...document.querySelectorAll(".keys button")];
    keys.forEach(key => key.addEventListener("click", () => {
      const off = key.getAttribute("aria-pressed") === "true";
      press(keys, off ? null : key);
      only(off ? null : key.dataset.group);
    }));
    const switches = [...document.querySelectorAll(".switch button")];
    switches.forEach(button => button.addEventListener("click", () => {
      by = button.dataset.by;
      press(switches, button);
      press(keys, null);
      only(null);
      dots.forEach(dot => dot.setAttribute("class", dot.dataset[by] < 0 ? "g-none" : "g" + dot.dataset[by]));
      document.querySelectorAll(".keys").forEach(list => (list.hidden = list.dataset.by !== by));
    }));
    dots.forEach(dot => dot.firstElementChild.remove());
    const show = event => {
      const dot = event.target.closest("circle");
      tip.hidden = !dot;
      if (!dot) return;
      const [name, group, picture, fact] = points[dot.dataset.i];
      tip.replaceChildren();
      if (picture) {
        const image = new Image();
        image.src = picture;
        image.className = "sharp";
        tip.append(image);
      }
      tip.append([group, name, fact].filter(word => word).join(" · "));
      const box = map.parentElement.getBoundingClientRect();
      tip.style.left = Math.max(4, Math.min(event.clientX - box.left + 14, box.width - 122)) + "px";
      tip.style.top = Math.max(4, Math.min(event.clientY - box.top + 14, box.height - tip.offsetHeight - 6)) + "px";
    };
    map.addEventListener("pointermove", show);
    map.addEventListener("pointerdown", show);
    map.addEventListener("pointerleave", () => (tip.hidden = true));
  }
  document.querySelectorAll("[data-copy]").forEach(button => {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.nextElementSibling.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
  });
})();
