/* Sheets of images, and films of them under one clock.
 *
 * Each image pixel is a whole number of the screen's own pixels: a canvas of the images' own size
 * is enlarged by CSS without smoothing, to the largest such size that the page has room for.
 */

/** Seconds from noise to data. */
const SWEEP = 5;
/** Largest height of an image on a sheet and in a film, in CSS pixels. */
const MOST = { sheet: 128, film: 224, strip: 76 };
/** Between sheets or films, at least between sheets, and between a film's two images. */
const GAP = { panels: 16, least: 4, film: 14 };
/** Moments in the strips. */
const MOMENTS = 11;
/** Height in CSS pixels of what stands above the images. */
const RESERVE = 250;

/** Bytes of a base64 text. */
export function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

/** Screen pixels for an image pixel: as many whole ones as fit into `room` CSS pixels. */
export const zoom = (room, pixels, ratio) => Math.max(1, Math.floor((room * ratio) / pixels + 1e-6));

/** How sheets lie: beside each other where that leaves images large enough, else stacked.
 *  Of those that lie beside each other `labels` have names of rows, `label` wide. Gives
 *  {beside, k, gap} with k screen pixels for an image pixel and `gap` between sheets. */
export function arranged({ width, height, count, cols, rows, h, w, label, labels = count, ratio }) {
  const most = zoom(MOST.sheet, h, ratio), nativeW = cols * (w + 1) - 1, nativeH = rows * (h + 1) - 1;
  const free = width - labels * label;
  const beside = Math.min(most, zoom((free - GAP.least * (count - 1)) / count, nativeW, ratio));
  const stacked = Math.min(most, zoom(width - label, nativeW, ratio));
  const tall = (k) => (k * nativeH) / ratio;
  const gap = (k) => clamp((free - (count * k * nativeW) / ratio) / (count - 1), GAP.least, GAP.panels);
  if (count === 1) return { beside: true, k: limit(stacked, tall, height), gap: GAP.panels };
  // Stacked only where that makes images larger by half and both still fit below each other.
  const below = limit(stacked, tall, height / count);
  if (below > 1.5 * beside) return { beside: false, k: below, gap: GAP.panels };
  const k = limit(beside, tall, height);
  return { beside: true, k, gap: gap(k) };
}

/** The largest zoom up to k whose height fits, but no less than half of k: pages can scroll. */
function limit(k, tall, height) {
  let best = k;
  while (best > Math.max(1, Math.ceil(k / 2)) && tall(best) > height) best--;
  return best;
}

/** Between which frames t lies, as the nearer one's index. */
export function nearest(times, t) {
  let best = 0;
  times.forEach((s, i) => { if (Math.abs(s - t) < Math.abs(times[best] - t)) best = i; });
  return best;
}

/** Puts RGB pixels of an image, `at` in the bytes, at (x, y) of a 2D context. */
function stamp(c, rgb, at, w, h, x = 0, y = 0) {
  const image = c.createImageData(w, h), out = image.data;
  for (let i = 0, j = at; i < out.length; i += 4, j += 3) {
    out[i] = rgb[j]; out[i + 1] = rgb[j + 1]; out[i + 2] = rgb[j + 2]; out[i + 3] = 255;
  }
  c.putImageData(image, x, y);
}

/** Where films stand, kept while the page lives. */
const clocks = new Map();

class Gallery extends Drawn {
  constructor(root) {
    super(root);
    this.find("input").addEventListener("input", (e) => this.move(Number(e.target.value)));
    this.find("input").addEventListener("change", () => this.report());
    this.find('[data-act="play"]').addEventListener("click", () => this.toggle());
    root.addEventListener("keydown", (e) => this.key(e));
  }

  resized() { this.lay(); }
  themed() { this.dress(); }

  show(data, { setStateValue }) {
    this.sizes.observe(this.root);
    this.tell = (view) => setStateValue("view", view);
    const film = data.kind === "film";
    const stamp = JSON.stringify(film ? [data.sides.map((s) => s.states.length + s.states.slice(0, 4000) + s.predictions.slice(-4000)), data.labels] : data);
    if (stamp === this.stamp) { this.data = data; this.dress(); return; }
    this.stamp = stamp;
    this.data = data;
    this.width = 0;
    if (film) this.open(); else this.build();
    this.dress();
    this.lay();
  }

  dress() {
    const [, theme] = paperOf(this.root), night = theme === "dark";
    this.root.dataset.theme = theme;
    const entries = this.data?.panels ?? this.data?.sides ?? [];
    this.root.querySelectorAll("[data-side]").forEach((node) =>
      node.style.setProperty("--role", entries[Number(node.dataset.side)].colours[night ? 1 : 0]));
    if (this.data?.kind === "sheet") this.paint();
  }

  caption(entry, i) {
    const caption = element("figcaption");
    caption.dataset.side = i;
    caption.append(element("span", "", entry.title));
    if (entry.note) caption.append(element("span", "fi-note", entry.note));
    return caption;
  }

  // ---- sheets

  build() {
    const panels = this.find(".fi-panels"), shape = JSON.stringify(this.data.panels.map((p) => [p.shape, p.rows, p.columns, p.title, p.note]));
    this.find(".fi-bar").hidden = this.find(".fi-strips").hidden = true;
    this.pixels = this.data.panels.map((p) => bytes(p.cells));
    if (shape === this.shape) return; // only images came
    this.shape = shape;
    panels.replaceChildren(...this.data.panels.map((panel, i) => {
      const figure = element("figure"), sheet = element("div", "fi-sheet"), canvas = element("canvas");
      const labels = (name, texts) => { const box = element("div", name); box.append(...texts.map((t) => { const s = element("span", "", t); s.title = t; return s; })); return box; };
      figure.classList.toggle("fi-bare", !panel.rows.length);
      if (panel.columns.length) sheet.append(element("div", "fi-corner", this.data.rowTitle), labels("fi-columns", panel.columns));
      sheet.append(labels("fi-rows", panel.rows), canvas);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${panel.title}: ${panel.shape[0] * panel.shape[1]} images`);
      canvas.addEventListener("mousemove", (e) => this.tip(i, canvas, e));
      figure.append(this.caption(panel, i), sheet);
      return figure;
    }));
  }

  tip(i, canvas, event) {
    const panel = this.data.panels[i], [rows, cols] = panel.shape, box = canvas.getBoundingClientRect();
    const r = clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1);
    const c = clamp(Math.floor(((event.clientX - box.left) / box.width) * cols), 0, cols - 1);
    const text = panel.tips[r * cols + c] ?? "";
    if (canvas.title !== text) canvas.title = text;
  }

  paint() {
    const night = this.root.dataset.theme === "dark";
    this.root.querySelectorAll(".fi-sheet canvas").forEach((canvas, i) => {
      const panel = this.data.panels[i], [rows, cols, h, w] = panel.shape;
      canvas.width = cols * (w + 1) - 1;
      canvas.height = rows * (h + 1) - 1;
      const c = canvas.getContext("2d");
      for (let r = 0; r < rows; r++) for (let k = 0; k < cols; k++) {
        const n = r * cols + k, x = k * (w + 1), y = r * (h + 1);
        if (panel.have[n]) stamp(c, this.pixels[i], n * h * w * 3, w, h, x, y);
        else { c.fillStyle = night ? "#1b2227" : "#f0f2f4"; c.fillRect(x, y, w, h); }
      }
    });
  }

  // ---- film

  open() {
    const { data } = this, kept = clocks.get(data.key);
    this.shape = "";
    this.clock = { ...data.initial, ...kept };
    this.clock.image = clamp(this.clock.image, 0, data.labels.length - 1);
    this.pixels = data.sides.map((s) => ({ states: bytes(s.states), predictions: bytes(s.predictions) }));
    this.find(".fi-bar").hidden = this.find(".fi-strips").hidden = false;
    const [, h, w] = data.shape;
    const canvas = () => { const c = element("canvas"); c.width = w; c.height = h; return c; };
    this.find(".fi-panels").replaceChildren(...data.sides.map((side, i) => {
      const figure = element("figure", "fi-film");
      figure.append(this.caption(side, i), canvas(), canvas());
      for (const [name, number, help] of [
        ["state xₜ", "noise", "The share of noise in the state, by standard deviation."],
        ["E[x₁ | xₜ]", "to go", "Root mean square distance of the prediction from the final image, in units of [-1, 1]."],
      ]) {
        const what = element("span", "fi-what"), left = element("span"), right = element("span", "", `${number} `);
        what.title = help;
        right.append(element("b"));
        if (number === "to go") left.append(element("span", "fi-long", "predicted data "));
        left.append(name);
        what.append(left, right);
        figure.append(what);
      }
      return figure;
    }));
    const last = data.sides[0].times.length - 1;
    this.moments = Array.from({ length: MOMENTS }, (_, i) => Math.round((i * last) / (MOMENTS - 1)));
    const strips = this.find(".fi-strips");
    strips.replaceChildren();
    data.sides.forEach((side, i) => ["states", "predictions"].forEach((what) => {
      const name = element("div", "fi-name"), strip = element("div", "fi-strip");
      name.dataset.side = i;
      name.append(element("b", "", side.title.split(",")[0]), ` ${what === "states" ? "xₜ" : "E[x₁ | xₜ]"}`);
      strip.dataset.what = what;
      strip.dataset.of = i;
      strip.append(...this.moments.map((m) => {
        const button = element("button");
        button.type = "button";
        button.tabIndex = -1;
        button.title = `t = ${side.times[m].toFixed(2)}`;
        button.append(canvas());
        button.addEventListener("click", () => { this.stop(); this.move(data.sides[0].times[m]); this.report(); });
        return button;
      }));
      strips.append(name, strip);
    }));
    const ticks = element("div", "fi-ticks");
    ticks.append(...this.moments.map((m) => element("span", "", data.sides[0].times[m].toFixed(1))));
    strips.append(element("div", "fi-name", "t"), ticks);
    const choice = this.find(".fi-choice");
    choice.replaceChildren(...data.labels.map((label, n) => {
      const button = element("button");
      button.type = "button";
      button.title = `Image ${n + 1}: ${label} (key ${n + 1})`;
      button.setAttribute("aria-label", button.title);
      button.append(canvas());
      stamp(button.firstChild.getContext("2d"), this.pixels[0].predictions, this.at(last, n), w, h);
      button.addEventListener("click", () => this.choose(n));
      return button;
    }));
    this.stripped = null;
    this.draw();
  }

  /** Where the pixels of a frame's image begin. */
  at(frame, n) {
    const [count, h, w] = this.data.shape;
    return (frame * count + n) * h * w * 3;
  }

  choose(n) {
    if (n >= this.data.labels.length) return;
    this.clock.image = n;
    this.draw();
    this.report();
  }

  move(t) {
    this.clock.t = clamp(t, 0, 1);
    this.draw();
  }

  report() {
    const { t, image } = this.clock;
    clocks.set(this.data.key, { t, image });
    this.tell({ t: Number(t.toFixed(3)), image });
  }

  toggle() {
    if (this.playing) { this.stop(); this.report(); return; }
    if (this.clock.t >= 0.9995) this.clock.t = 0;
    this.playing = true;
    this.last = 0;
    const tick = (now) => {
      if (!this.playing) return;
      if (this.last) this.clock.t += Math.min(250, now - this.last) / 1000 / SWEEP;
      this.last = now;
      if (this.clock.t >= 1) { this.clock.t = 1; this.stop(); this.report(); }
      this.draw();
      if (this.playing) this.frame = requestAnimationFrame(tick);
    };
    this.frame = requestAnimationFrame(tick);
    this.draw();
  }

  stop() {
    this.playing = false;
    cancelAnimationFrame(this.frame);
    this.draw();
  }

  key(event) {
    if (this.data?.kind !== "film" || event.ctrlKey || event.metaKey || event.altKey) return;
    const times = this.data.sides[0].times, now = nearest(times, this.clock.t);
    const to = { ArrowLeft: times[Math.max(0, now - 1)], ArrowRight: times[Math.min(times.length - 1, now + 1)], Home: 0, End: 1, PageDown: this.clock.t + 0.1, PageUp: this.clock.t - 0.1 }[event.key];
    if (event.key === " ") { if (event.target.tagName === "BUTTON") return; this.toggle(); }
    else if (to !== undefined) { this.stop(); this.move(to); this.report(); }
    else if (event.key >= "1" && event.key <= "9") this.choose(Number(event.key) - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  draw() {
    if (this.data?.kind !== "film" || !this.pixels) return;
    const { data, clock } = this, [, h, w] = data.shape;
    const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
    this.find("input").value = clock.t;
    put(this.find(".fi-time"), `t = ${clock.t.toFixed(3)}`);
    this.find(".fi-play").setAttribute("aria-pressed", String(Boolean(this.playing)));
    this.find(".fi-play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.root.querySelectorAll(".fi-film").forEach((figure, i) => {
      const side = data.sides[i], k = nearest(side.times, clock.t), [state, prediction] = figure.querySelectorAll("canvas");
      const at = this.at(k, clock.image);
      stamp(state.getContext("2d"), this.pixels[i].states, at, w, h);
      stamp(prediction.getContext("2d"), this.pixels[i].predictions, at, w, h);
      const [noise, left] = figure.querySelectorAll("b");
      put(noise, `${Math.round(100 * side.noise[k])} %`);
      put(left, side.remaining[k][clock.image].toFixed(2));
    });
    this.find(".fi-choice").querySelectorAll("button").forEach((b, n) => b.setAttribute("aria-pressed", String(n === clock.image)));
    if (this.stripped !== clock.image) {
      this.stripped = clock.image;
      this.root.querySelectorAll(".fi-strip").forEach((strip) => strip.querySelectorAll("canvas").forEach((canvas, j) =>
        stamp(canvas.getContext("2d"), this.pixels[Number(strip.dataset.of)][strip.dataset.what], this.at(this.moments[j], clock.image), w, h)));
    }
    const times = data.sides[0].times, near = nearest(this.moments.map((m) => times[m]), clock.t);
    for (const row of this.root.querySelectorAll(".fi-strip, .fi-ticks"))
      [...row.children].forEach((node, j) => node.setAttribute("aria-current", String(j === near)));
    this.root.dataset.t = clock.t.toFixed(3);
    this.root.dataset.image = clock.image;
  }

  // ---- size

  lay() {
    const width = this.root.clientWidth, ratio = devicePixelRatio || 1;
    if (!width || !this.data || (width === this.width && ratio === this.ratio)) return;
    this.width = width;
    this.ratio = ratio;
    if (this.data.kind === "film") { this.layFilm(width, ratio); return; }
    const { panels } = this.data, first = panels[0].shape;
    this.find(".fi-panels").classList.remove("fi-once"); // which would hide labels from the measure
    const label = Math.max(0, ...[...this.root.querySelectorAll(".fi-rows, .fi-corner")].map((n) => n.getBoundingClientRect().width));
    const alike = panels.every((p) => JSON.stringify(p.rows) === JSON.stringify(panels[0].rows));
    const { beside, k, gap } = arranged({
      width, height: innerHeight - RESERVE, count: panels.length, rows: first[0], cols: first[1], h: first[2], w: first[3], label, labels: alike ? 1 : panels.length, ratio,
    });
    const { style, classList } = this.find(".fi-panels");
    classList.toggle("fi-once", beside && alike); // the first sheet names the rows of all
    style.columnGap = `${gap}px`;
    style.flexDirection = beside ? "row" : "column";
    style.flexWrap = beside ? "nowrap" : "wrap";
    this.root.querySelectorAll(".fi-sheet").forEach((sheet, i) => {
      const [rows, cols, h, w] = panels[i].shape, px = (n) => `${(n * k) / ratio}px`, canvas = sheet.querySelector("canvas");
      canvas.style.width = px(cols * (w + 1) - 1);
      canvas.style.height = px(rows * (h + 1) - 1);
      sheet.querySelector(".fi-rows").style.gridTemplateRows = `repeat(${rows}, ${px(h + 1)})`;
      const columns = sheet.querySelector(".fi-columns");
      if (columns) {
        columns.style.gridTemplateColumns = `repeat(${cols}, ${px(w + 1)})`;
        columns.style.marginRight = px(-1); // the last image has no gap after it
      }
      const figure = sheet.closest("figure");
      figure.style.maxWidth = `${width}px`;
    });
    this.root.dataset.zoom = k;
  }

  layFilm(width, ratio) {
    const { sides, shape } = this.data, [, h, w] = shape, count = sides.length;
    const room = (width - GAP.panels * (count - 1)) / count;
    const big = Math.max(zoom(96, h, ratio), Math.min(zoom(MOST.film, h, ratio), zoom((room - GAP.film) / 2, w, ratio)));
    this.root.querySelectorAll(".fi-film canvas").forEach((c) => { c.style.width = `${(w * big) / ratio}px`; c.style.height = `${(h * big) / ratio}px`; });
    this.root.querySelectorAll(".fi-film .fi-what").forEach((n) => { n.style.width = `${(w * big) / ratio}px`; });
    const name = Math.max(...[...this.root.querySelectorAll(".fi-name")].map((n) => n.getBoundingClientRect().width));
    const small = Math.min(zoom(MOST.strip, h, ratio), zoom((width - name - 8) / MOMENTS - 4, w, ratio));
    this.root.querySelectorAll(".fi-strip canvas").forEach((c) => { c.style.width = `${(w * small) / ratio}px`; c.style.height = `${(h * small) / ratio}px`; });
    const step = Math.min(4, Math.max(1, (width - name - 8) / MOMENTS - (w * small) / ratio));
    this.root.querySelectorAll(".fi-strip, .fi-ticks").forEach((n) => { n.style.gap = `${step}px`; });
    this.root.querySelectorAll(".fi-ticks span").forEach((n) => { n.style.width = `${(w * small) / ratio}px`; });
    const tiny = Math.max(1, zoom(32, h, ratio));
    this.root.querySelectorAll(".fi-choice canvas").forEach((c) => { c.style.width = `${(w * tiny) / ratio}px`; c.style.height = `${(h * tiny) / ratio}px`; });
    this.root.dataset.zoom = big;
  }
}

export default mounting(".fi", Gallery);
