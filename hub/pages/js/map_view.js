// A map without tiles: a local metric plane with a grid, a scale bar and north up. What lies on it comes as layers,
// drawn in order, so that a layer of tiles could lie below the others one day.

import { colour } from "./dom.js";
import { distance } from "./format.js";

const METRES_PER_DEG = 111319.49;
const MARGIN = 40; // px kept free round what is fitted
const font = (px) => `${px}px ${getComputedStyle(document.body).fontFamily}`;

/** 1, 2 or 5 times a power of ten, the largest not above `most`. */
export function roundStep(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return power * (most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1);
}

/** layers: [{draw(ctx, map)}]. head: px at the top that stay free for what floats there. onHover({x, y} in px | null). Pan by drag and arrows, zoom by wheel, pinch, + and −. */
export class MapView {
  constructor(canvas, { layers, head = 0, onHover = () => {}, onClick = () => {} }) {
    Object.assign(this, { canvas, layers, head, onHover, onClick });
    this.origin = null; // {lat, lon}: where the plane touches
    this.centre = { x: 0, y: 0 }; // m east, m north
    this.scale = 1; // px per m
    this.isFree = false; // the reader moved it: new data no longer moves it back
    this.pointers = new Map();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#listen();
  }

  /** Where the plane touches the ellipsoid; must be called before anything is projected. */
  setOrigin(lat, lon) {
    this.origin = { lat, lon, east: METRES_PER_DEG * Math.cos((lat * Math.PI) / 180) };
  }

  /** Metres east and north of the origin. */
  project(lat, lon) {
    return { x: (((lon - this.origin.lon + 540) % 360) - 180) * this.origin.east, y: (lat - this.origin.lat) * METRES_PER_DEG };
  }

  /** Pixel of a point of the plane. */
  toPixel({ x, y }) {
    return { x: this.width / 2 + (x - this.centre.x) * this.scale, y: this.height / 2 - (y - this.centre.y) * this.scale };
  }

  /** Show bounds {x0, y0, x1, y1} (m) whole, but never less than `least` m across. */
  fit(bounds, least = 60) {
    if (!bounds) return;
    this.bounds = bounds;
    this.least = least;
    if (!this.width) return;
    const wide = Math.max(bounds.x1 - bounds.x0, least);
    const high = Math.max(bounds.y1 - bounds.y0, least);
    this.scale = Math.min((this.width - 2 * MARGIN) / wide, (this.height - 2 * MARGIN - this.head) / high);
    this.centre = { x: (bounds.x0 + bounds.x1) / 2, y: (bounds.y0 + bounds.y1) / 2 + this.head / 2 / this.scale };
    this.draw();
  }

  /** Back to what was fitted last. */
  home() {
    this.isFree = false;
    this.fit(this.bounds, this.least);
  }

  zoom(factor, at = { x: this.width / 2, y: this.height / 2 }) {
    this.isFree = true;
    const dx = (at.x - this.width / 2) / this.scale;
    const dy = (this.height / 2 - at.y) / this.scale;
    const scale = Math.min(Math.max(this.scale * factor, 1e-5), 60);
    const used = scale / this.scale;
    this.centre = { x: this.centre.x + dx - dx / used, y: this.centre.y + dy - dy / used };
    this.scale = scale;
    this.draw();
  }

  pan(dx, dy) {
    this.isFree = true;
    this.centre = { x: this.centre.x - dx / this.scale, y: this.centre.y + dy / this.scale };
    this.draw();
  }

  #resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    this.width = clientWidth;
    this.height = clientHeight;
    this.canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(clientHeight * devicePixelRatio);
    if (this.isFree) this.#paint();
    else this.fit(this.bounds, this.least);
    if (!this.bounds) this.#paint();
  }

  /** Draw in the next frame. */
  draw() {
    this.frame ??= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.frame = undefined;
    if (!this.width) return;
    const ctx = this.canvas.getContext("2d");
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.fillStyle = colour("--map-bg");
    ctx.fillRect(0, 0, this.width, this.height);
    this.#grid(ctx);
    if (!this.origin) return;
    for (const layer of this.layers) layer.draw(ctx, this);
    this.#scaleBar(ctx);
    this.#north(ctx);
  }

  #grid(ctx) {
    const step = roundStep(120 / this.scale) * this.scale;
    const zero = this.toPixel({ x: 0, y: 0 });
    ctx.strokeStyle = colour("--map-grid");
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let x = ((zero.x % step) + step) % step; x < this.width; x += step) {
      ctx.moveTo(Math.round(x) + 0.5, 0);
      ctx.lineTo(Math.round(x) + 0.5, this.height);
    }
    for (let y = ((zero.y % step) + step) % step; y < this.height; y += step) {
      ctx.moveTo(0, Math.round(y) + 0.5);
      ctx.lineTo(this.width, Math.round(y) + 0.5);
    }
    ctx.stroke();
  }

  #scaleBar(ctx) {
    const metres = roundStep(110 / this.scale);
    const wide = metres * this.scale;
    const [x, y] = [14, this.height - 14];
    ctx.strokeStyle = ctx.fillStyle = colour("--muted");
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.moveTo(x, y - 5);
    ctx.lineTo(x, y);
    ctx.lineTo(x + wide, y);
    ctx.lineTo(x + wide, y - 5);
    ctx.stroke();
    ctx.font = font(11);
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.fillText(metres < 1 ? `${Math.round(metres * 100)} cm` : metres < 1000 ? distance(metres) : `${metres / 1000}\u202fkm`, x + 5, y - 6);
  }

  #north(ctx) {
    const [x, y] = [this.width - 20, this.height - 22];
    ctx.fillStyle = colour("--muted");
    ctx.beginPath();
    ctx.moveTo(x, y - 13);
    ctx.lineTo(x + 5, y + 2);
    ctx.lineTo(x, y - 1);
    ctx.lineTo(x - 5, y + 2);
    ctx.fill();
    ctx.font = font(10);
    ctx.textAlign = "center";
    ctx.fillText("N", x, y + 13);
  }

  #listen() {
    const { canvas } = this;
    const at = (e) => ({ x: e.offsetX, y: e.offsetY });
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.03 : 0.0016)), at(e));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (e) => {
      this.pointers.set(e.pointerId, at(e));
      this.moved = 0;
      canvas.setPointerCapture(e.pointerId);
    });
    canvas.addEventListener("pointermove", (e) => this.#move(e.pointerId, at(e)));
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, (e) => {
        if (end === "pointerup" && this.moved < 4) this.onClick(at(e));
        this.pointers.delete(e.pointerId);
      });
    canvas.addEventListener("pointerleave", () => this.onHover(null));
    canvas.addEventListener("keydown", (e) => this.#key(e));
  }

  #move(id, to) {
    const from = this.pointers.get(id);
    if (!from) return this.onHover(to);
    this.moved += Math.abs(to.x - from.x) + Math.abs(to.y - from.y);
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    this.pointers.set(id, to);
    if (!other) return this.pan(to.x - from.x, to.y - from.y);
    const gap = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
    this.zoom(gap(to) / gap(from), { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 });
  }

  #key(e) {
    const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (moves[e.key]) this.pan(...moves[e.key]);
    else if (e.key === "+" || e.key === "=") this.zoom(1.4);
    else if (e.key === "-") this.zoom(1 / 1.4);
    else if (e.key === "0") this.home();
    else return;
    e.preventDefault();
  }
}
