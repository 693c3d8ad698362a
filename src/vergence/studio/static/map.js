// A scatter of many points on a canvas: drawn pixel by pixel, found through a grid.

const SIDE = 65534, NOWHERE = 65535, CELLS = 256, SHIFT = 8, PAD = 14, FAR = 4000;
const CROWD = 60000;  // points in sight above which they are drawn by how many lie in a place
const SKETCH = 100000, REST = 140;  // points drawn while the map moves; milliseconds until all are

export class PointMap {
  constructor(canvas, overlay) {
    this.canvas = canvas;
    this.overlay = overlay;
    this.context = canvas.getContext("2d", { alpha: false });
    this.over = overlay.getContext("2d");
    this.xy = new Uint16Array(0);
    this.codes = new Uint8Array(0);
    this.inks = new Uint32Array(256);
    this.only = null;
    this.mask = null;  // 1 for each row that is selected; null where nothing is
    this.drawing = null;  // a shape that is being drawn, in steps of the map
    this.names = [];  // of clusters, with their places in steps, the largest cluster first
    this.labels = [];  // boxes of those that are seen, in pixels of the canvas
    this.moving = false;
    this.chosen = this.focused = -1;
    this.near = [];
    this.zoom = 1;
    this.left = this.low = 0;
    this.waiting = false;
  }

  get rows() { return this.xy.length / 2; }

  setPoints(xy) {
    this.xy = xy;
    const n = this.rows, order = new Uint32Array(n);
    for (let i = 0; i < n; i++) order[i] = i;
    let seed = 1;  // a fixed shuffle, so that no group lies on top because it comes last
    for (let i = n - 1; i > 0; i--) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      const j = Math.floor(seed / 4294967296 * (i + 1)), kept = order[i];
      order[i] = order[j];
      order[j] = kept;
    }
    this.order = order;
    this.inSight = n;
    const start = new Uint32Array(CELLS * CELLS + 1), items = new Uint32Array(n);
    for (let i = 0; i < n; i++) if (xy[2 * i] !== NOWHERE) start[this.cell(i) + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) start[c + 1] += start[c];
    const next = start.slice();
    for (const i of order) if (xy[2 * i] !== NOWHERE) items[next[this.cell(i)]++] = i;
    this.start = start;
    this.items = items.subarray(0, start[CELLS * CELLS]);
    this.draw();
  }

  cell(i) { return (this.xy[2 * i] >> SHIFT) + (this.xy[2 * i + 1] >> SHIFT) * CELLS; }

  setColours(codes, inks) {
    this.codes = codes;
    this.inks = inks;
    this.draw();
  }

  resize() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(50, Math.round(box.width * this.ratio)), height = Math.max(50, Math.round(box.height * this.ratio));
    if (width === this.canvas.width && height === this.canvas.height && this.image) return;
    for (const layer of [this.canvas, this.overlay]) { layer.width = width; layer.height = height; }
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.drawNow();
  }

  // Places: a point's x and y in steps -> pixels of the canvas.
  scales() {
    const { width, height } = this.canvas, pad = PAD * (this.ratio || 1);
    const kx = this.zoom * (width - 2 * pad) / SIDE, ky = this.zoom * (height - 2 * pad) / SIDE;
    return { kx, ky, ox: pad - this.left * kx, oy: height - pad + this.low * ky };
  }

  place(row) {
    const { kx, ky, ox, oy } = this.scales();
    return [this.xy[2 * row] * kx + ox, oy - this.xy[2 * row + 1] * ky];
  }

  shown(row) {
    const [x, y] = this.place(row);
    return x >= 0 && y >= 0 && x < this.canvas.width && y < this.canvas.height;
  }

  draw() {
    if (this.waiting || !this.image) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.drawNow(); });
  }

  radius() {
    const n = Math.max(1, this.rows), base = Math.min(4.5, Math.max(1.1, 240 / Math.sqrt(n)));
    return Math.min(7, base * Math.pow(this.zoom, 0.35)) * (this.ratio || 1);
  }

  drawNow() {
    if (!this.image || !this.start) return;
    const began = performance.now();
    this.pixels.fill(this.paper >>> 0);
    const crowd = this.crowd = this.inSight > (this.crowd ? 0.8 : 1) * CROWD, layer = crowd ? this.density : this.pass;
    this.inSight = 0;
    if (this.mask) {
      layer.call(this, -1, 0.3, 0, this.grey);
      layer.call(this, this.only === null ? -1 : this.only, 0.95, 1);
    } else if (this.only === null) layer.call(this, -1, 0.85);
    else { layer.call(this, -2, 0.1); layer.call(this, this.only, 0.95); }
    this.context.putImageData(this.image, 0, 0);
    this.drawOver();
    this.took = performance.now() - began;
    if (crowd !== this.inSight > (crowd ? 0.8 : 1) * CROWD) this.draw();
  }

  // One layer of points by how many lie around each pixel: the logarithm of their number is their opacity, the mean of
  // their inks the colour. Arguments as of `pass`.
  density(which, opacity, picked = -1, paint = null) {
    const { xy, codes, inks, pixels, mask, only } = this, { width, height } = this.canvas, { kx, ky, ox, oy } = this.scales();
    const rows = this.inView(), step = this.moving ? Math.max(1, Math.ceil(rows.length / SKETCH)) : 1;  // while it moves only some
    const size = width * height, [sums, spread] = this.room(size);
    let inSight = 0;
    for (let j = 0; j < rows.length; j += step) {
      const i = rows[j], ux = xy[2 * i];
      if (picked !== -1 && mask[i] !== picked) continue;
      const code = codes[i];
      if (which !== -1 && (which === -2 ? code === only : code !== which)) continue;
      const x = Math.round(ux * kx + ox), y = Math.round(oy - xy[2 * i + 1] * ky);
      if (x < 1 || y < 1 || x >= width - 1 || y >= height - 1) continue;
      const ink = paint ?? inks[code], p = 4 * (y * width + x);
      sums[p] += ink & 255; sums[p + 1] += ink >>> 8 & 255; sums[p + 2] += ink >>> 16 & 255; sums[p + 3]++;
      inSight++;
    }
    this.inSight += inSight * step;
    const row = 4 * width;
    for (let p = 4; p < 4 * size - 4; p++) spread[p] = sums[p - 4] + sums[p] + sums[p + 4];  // of three by three pixels
    for (let p = row; p < 4 * size - row; p++) sums[p] = spread[p - row] + spread[p] + spread[p + row];
    let full = 0, seen = 0;
    for (let p = row + 3; p < 4 * size - row; p += 4 * 7) if (sums[p]) { full += Math.log1p(sums[p]); seen++; }
    const top = 2 * Math.max(1, full / Math.max(1, seen));  // twice the mean logarithm is drawn in full
    for (let q = width; q < size - width; q++) {
      const here = sums[4 * q + 3];
      if (!here) continue;
      const a = Math.round(256 * opacity * Math.min(1, 0.22 + 0.78 * Math.log1p(here) / top)), b = 256 - a, old = pixels[q];
      const red = sums[4 * q] / here, green = sums[4 * q + 1] / here, blue = sums[4 * q + 2] / here;
      pixels[q] = (0xff000000 | ((old >>> 16 & 255) * b + blue * a >>> 8) << 16 | ((old >>> 8 & 255) * b + green * a >>> 8) << 8 | (old & 255) * b + red * a >>> 8) >>> 0;
    }
  }

  // Rows of the cells of the grid that are in view.
  inView() {
    if (this.zoom < 2) return this.items;
    const { kx, ky, ox, oy } = this.scales(), cellOf = v => Math.max(0, Math.min(CELLS - 1, Math.floor(v) >> SHIFT));
    const [x0, x1, y0, y1] = [-ox / kx, (this.canvas.width - ox) / kx, (oy - this.canvas.height) / ky, oy / ky].map(cellOf), runs = [];
    for (let cy = y0; cy <= y1; cy++) runs.push(this.items.subarray(this.start[cy * CELLS + x0], this.start[cy * CELLS + x1 + 1]));
    const rows = new Uint32Array(runs.reduce((n, run) => n + run.length, 0));
    let n = 0;
    for (const run of runs) { rows.set(run, n); n += run.length; }
    return rows;
  }

  // Sums of inks and points a pixel, emptied, and room to spread them.
  room(size) {
    if (this.sums?.length !== 4 * size) { this.sums = new Float32Array(4 * size); this.spread = new Float32Array(4 * size); } else this.sums.fill(0);
    return [this.sums, this.spread];
  }

  // One layer of points; which: -1 all, -2 all but the chosen group, else a group.
  // picked: 1 only those that are selected, 0 only the others; paint: one ink for all.
  pass(which, opacity, picked = -1, paint = null) {
    const { xy, codes, inks, pixels, mask } = this, { width, height } = this.canvas, { kx, ky, ox, oy } = this.scales();
    const r = this.radius(), reach = Math.ceil(r), offsets = [], shares = [];
    for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.max(0, Math.min(1, r + 0.5 - Math.hypot(dx, dy)));
      if (cover > 0.04) { offsets.push(dy * width + dx); shares.push(Math.round(256 * cover * opacity)); }
    }
    const at = Int32Array.from(offsets), alpha = Int32Array.from(shares), count = at.length;
    const right = width - reach - 1, bottom = height - reach - 1, mix = 256, rows = this.zoom < 2 ? this.order : this.inView();
    let inSight = 0;
    for (let j = 0; j < rows.length; j++) {
      const i = rows[j], ux = xy[2 * i];
      if (ux === NOWHERE) continue;
      if (picked !== -1 && mask[i] !== picked) continue;
      const code = codes[i];
      if (which !== -1 && (which === -2 ? code === this.only : code !== which)) continue;
      const x = Math.round(ux * kx + ox), y = Math.round(oy - xy[2 * i + 1] * ky);
      if (x < reach || y < reach || x > right || y > bottom) continue;
      inSight++;
      const ink = paint ?? inks[code], red = ink & 0xff00ff, green = ink & 0xff00, centre = y * width + x;
      for (let k = 0; k < count; k++) {
        const p = centre + at[k], a = alpha[k], b = mix - a, old = pixels[p];
        pixels[p] = (0xff000000 | (((old & 0xff00ff) * b + red * a) >>> 8) & 0xff00ff | (((old & 0xff00) * b + green * a) >>> 8) & 0xff00) >>> 0;
      }
    }
    this.inSight += inSight;
  }

  drawOver() {
    const { over, overlay } = this, scale = this.ratio || 1;
    over.clearRect(0, 0, overlay.width, overlay.height);
    const ring = (row, radius, width, colour) => {
      const [x, y] = this.place(row);
      over.beginPath();
      over.arc(x, y, radius * scale, 0, 7);
      over.lineWidth = (width + 2) * scale;
      over.strokeStyle = this.halo;
      over.stroke();
      over.lineWidth = width * scale;
      over.strokeStyle = colour;
      over.stroke();
    };
    this.drawNames(over, scale);
    if (this.chosen >= 0 && this.xy[2 * this.chosen] !== NOWHERE) {
      const [x, y] = this.place(this.chosen);
      over.lineWidth = scale;
      over.strokeStyle = this.ink;
      over.globalAlpha = 0.5;
      over.beginPath();
      for (const row of this.near) if (this.xy[2 * row] !== NOWHERE) { over.moveTo(x, y); over.lineTo(...this.place(row)); }
      over.stroke();
      over.globalAlpha = 1;
      for (const row of this.near) if (this.xy[2 * row] !== NOWHERE) ring(row, 4, 1.5, this.ink);
      ring(this.chosen, 8, 2.5, this.accent);
    }
    if (this.drawing?.length > 1) {
      const { kx, ky, ox, oy } = this.scales();
      over.beginPath();
      for (const [x, y] of this.drawing) over.lineTo(x * kx + ox, oy - y * ky);
      over.closePath();
      over.fillStyle = this.accent;
      over.globalAlpha = 0.12;
      over.fill();
      over.globalAlpha = 1;
      over.lineWidth = 1.5 * scale;
      over.strokeStyle = this.accent;
      over.stroke();
    }
    if (this.focused >= 0 && this.xy[2 * this.focused] !== NOWHERE) ring(this.focused, 6, 2, this.ink);
  }

  // The names of the clusters that fit, the largest cluster's first.
  drawNames(over, scale) {
    const { kx, ky, ox, oy } = this.scales(), tall = 18 * scale;
    this.labels = [];
    over.font = `600 ${13 * scale}px system-ui, sans-serif`;
    over.textAlign = "center";
    over.textBaseline = "middle";
    over.lineJoin = "round";
    over.lineWidth = 4 * scale;
    for (const one of this.names) {
      const px = one.x * kx + ox, y = oy - one.y * ky, words = one.shown.length > 28 ? `${one.shown.slice(0, 27)}…` : one.shown;
      if (px < 0 || px > this.canvas.width || y < tall / 2 || y > this.canvas.height - tall / 2) continue;
      const half = over.measureText(words).width / 2 + 3 * scale, x = Math.max(half, Math.min(this.canvas.width - half, px));
      const box = [x - half, y - tall / 2, x + half, y + tall / 2];
      if (this.labels.some(({ box: b }) => box[0] < b[2] && box[2] > b[0] && box[1] < b[3] && box[3] > b[1])) continue;
      this.labels.push({ one, box });
      over.strokeStyle = this.halo;
      over.strokeText(words, x, y);
      over.fillStyle = this.ink;
      over.globalAlpha = one.name ? 1 : 0.75;
      over.fillText(words, x, y);
      over.globalAlpha = 1;
    }
  }

  // The name at a place (in pixels of the page), with its box there.
  label(px, py) {
    const scale = this.ratio || 1, seen = this.labels.find(({ box }) => px * scale >= box[0] && px * scale <= box[2] && py * scale >= box[1] && py * scale <= box[3]);
    return seen ? { one: seen.one, box: seen.box.map(v => v / scale) } : null;
  }

  // A place on the canvas (in pixels of the page), in steps of the map.
  steps(px, py) {
    const { kx, ky, ox, oy } = this.scales(), scale = this.ratio || 1;
    const hold = v => Math.max(-SIDE, Math.min(2 * SIDE, Math.round(v)));
    return [hold((px * scale - ox) / kx), hold((oy - py * scale) / ky)];
  }

  // Calls `each` with every row inside a polygon of steps (even-odd), through the grid; of one group only, unless null.
  inside(polygon, each, only = null) {
    const cellOf = v => Math.max(0, Math.min(CELLS - 1, v >> SHIFT)), n = polygon.length;
    const xs = polygon.map(p => p[0]), ys = polygon.map(p => p[1]);
    const x0 = cellOf(Math.min(...xs)), x1 = cellOf(Math.max(...xs)), y0 = cellOf(Math.min(...ys)), y1 = cellOf(Math.max(...ys));
    for (let cy = y0; cy <= y1; cy++) for (let c = cy * CELLS + x0; c <= cy * CELLS + x1; c++) for (let s = this.start[c]; s < this.start[c + 1]; s++) {
      const i = this.items[s], x = this.xy[2 * i], y = this.xy[2 * i + 1];
      if (only !== null && this.codes[i] !== only) continue;
      let within = false;
      for (let a = 0, b = n - 1; a < n; b = a++) if (ys[a] > y !== ys[b] > y && x < (xs[b] - xs[a]) * (y - ys[a]) / (ys[b] - ys[a]) + xs[a]) within = !within;
      if (within) each(i);
    }
  }

  // The row nearest to a place on the canvas (in pixels of the page), -1 if none is within `most` of them.
  at(px, py, most = 12) {
    if (!this.start) return -1;
    const { kx, ky, ox, oy } = this.scales(), scale = this.ratio || 1, x = px * scale, y = py * scale, far = most * scale;
    const cellOf = v => Math.max(0, Math.min(CELLS - 1, Math.floor(v) >> SHIFT));
    const x0 = cellOf((x - far - ox) / kx), x1 = cellOf((x + far - ox) / kx), y0 = cellOf((oy - y - far) / ky), y1 = cellOf((oy - y + far) / ky);
    let best = far * far, found = -1;
    for (let cy = y0; cy <= y1; cy++) for (let cx = x0; cx <= x1; cx++) {
      const c = cy * CELLS + cx;
      for (let s = this.start[c]; s < this.start[c + 1]; s++) {
        const i = this.items[s], dx = this.xy[2 * i] * kx + ox - x, dy = oy - this.xy[2 * i + 1] * ky - y, d = dx * dx + dy * dy;
        if (d < best && (this.only === null || this.codes[i] === this.only)) { best = d; found = i; }
      }
    }
    return found;
  }

  // Rows by their distance from a place on the map, the nearest first; at most FAR of them.
  around(ux, uy) {
    const n = this.rows, d = new Float64Array(n), { kx, ky } = this.scales();
    for (let i = 0; i < n; i++) {
      const out = this.xy[2 * i] === NOWHERE || (this.only !== null && this.codes[i] !== this.only);
      d[i] = out ? Infinity : Math.hypot((this.xy[2 * i] - ux) * kx, (this.xy[2 * i + 1] - uy) * ky);
    }
    const limit = d.slice().sort()[Math.min(n, FAR) - 1], found = [];
    for (let i = 0; i < n; i++) if (d[i] <= limit && d[i] !== Infinity) found.push(i);
    return found.sort((a, b) => d[a] - d[b]).slice(0, FAR);
  }

  // The nearest row in a direction (dx to the right, dy upwards: one is 0), -1 if there is none.
  towards(row, dx, dy) {
    const { kx, ky } = this.scales(), ux = this.xy[2 * row], uy = this.xy[2 * row + 1];
    let best = Infinity, found = -1;
    for (let i = 0; i < this.rows; i++) {
      if (i === row || this.xy[2 * i] === NOWHERE || (this.only !== null && this.codes[i] !== this.only)) continue;
      const x = (this.xy[2 * i] - ux) * kx, y = (this.xy[2 * i + 1] - uy) * ky;
      const along = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (along > 0.5 && aside <= along && x * x + y * y < best) { best = x * x + y * y; found = i; }
    }
    return found;
  }

  centre() {
    const { kx, ky, ox, oy } = this.scales();
    return [(this.canvas.width / 2 - ox) / kx, (oy - this.canvas.height / 2) / ky];
  }

  // Zoom so that what lies at a place of the canvas (in its own pixels) stays there.
  zoomBy(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const before = this.scales(), ux = (x - before.ox) / before.kx, uy = (before.oy - y) / before.ky;
    this.zoom = Math.max(1, Math.min(4000, this.zoom * factor));
    const { kx, ky } = this.scales(), pad = PAD * this.ratio;
    this.left = ux - (x - pad) / kx;
    this.low = uy - (this.canvas.height - pad - y) / ky;
    this.hold();
  }

  // Move by pixels of the canvas.
  panBy(dx, dy) {
    const { kx, ky } = this.scales();
    this.left -= dx / kx;
    this.low += dy / ky;
    this.hold();
  }

  whole() {
    this.zoom = 1;
    this.left = this.low = 0;
    this.draw();
  }

  reveal(row) {
    if (this.xy[2 * row] === NOWHERE || this.shown(row)) return;
    const [x, y] = this.place(row);
    this.panBy(this.canvas.width / 2 - x, this.canvas.height / 2 - y);
  }

  hold() {  // some of the map stays in sight
    const span = SIDE / this.zoom;
    this.left = Math.max(-span / 2, Math.min(SIDE - span / 2, this.left));
    this.low = Math.max(-span / 2, Math.min(SIDE - span / 2, this.low));
    this.moving = this.rows > SKETCH;
    clearTimeout(this.rest);
    if (this.moving) this.rest = setTimeout(() => { this.moving = false; this.draw(); }, REST);
    this.draw();
  }
}
