// The strip above the plots: the whole flight with the window on it, and below it the axis and modes of the window.

import { axisRoom } from "./plot.js";
import { colour, h, setText } from "./dom.js";
import { hatching } from "./plot_paint.js";

const OVERVIEW = 40; // px; the brush lives here
const AXIS = 20;
const MODES = 17;
const EDGE = 7; // px within which an edge of the window is caught
const font = (px, weight = 400) => `${weight} ${px}px ${getComputedStyle(document.body).fontFamily}`;

export class Timeline {
  /** backdrop(): bands as for the plots, with labels; silhouette(): {time, alt}. */
  constructor(host, { view, axis, backdrop, silhouette }) {
    Object.assign(this, { view, axis, backdrop, silhouette });
    this.canvas = h("canvas", { class: "timeline-canvas", "aria-hidden": "true" });
    this.moment = h("output", { class: "moment num", "aria-label": "Time at the cursor" });
    host.replaceChildren(this.canvas, this.moment);
    new ResizeObserver(() => this.#resize()).observe(this.canvas);
    for (const type of ["extent", "window", "cursor"]) view.addEventListener(type, () => this.draw());
    axis.addEventListener("change", () => this.draw());
    this.#listen();
  }

  #resize() {
    this.width = this.canvas.clientWidth;
    this.height = OVERVIEW + AXIS + MODES;
    this.canvas.width = Math.round(this.width * devicePixelRatio);
    this.canvas.height = Math.round(this.height * devicePixelRatio);
    this.#paint();
  }

  get inner() {
    const room = axisRoom(this.width);
    return { left: room.left, right: this.width - room.right, wide: Math.max(10, this.width - room.left - room.right) };
  }

  #x(time, span) {
    return this.inner.left + ((time - span.from) / (span.to - span.from)) * this.inner.wide;
  }

  #time(x, span) {
    const share = Math.min(Math.max((x - this.inner.left) / this.inner.wide, 0), 1);
    return span.from + share * (span.to - span.from);
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.frame = undefined;
    if (!this.width) return;
    const ctx = this.canvas.getContext("2d");
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.clearRect(0, 0, this.width, this.height);
    const backdrop = this.backdrop();
    this.#overview(ctx, backdrop);
    this.#brush(ctx);
    this.#axis(ctx);
    this.#modes(ctx, backdrop);
    this.#cursor(ctx);
  }

  #overview(ctx, backdrop) {
    const { extent } = this.view;
    const { left, wide } = this.inner;
    const x = (t) => this.#x(t, extent);
    ctx.fillStyle = colour("--sunken");
    ctx.fillRect(left, 0, wide, OVERVIEW);
    for (const mode of backdrop.modes) {
      ctx.fillStyle = colour(mode.tone);
      ctx.fillRect(x(mode.from), OVERVIEW - 3, x(mode.to) - x(mode.from), 3);
    }
    ctx.fillStyle = hatching(ctx, colour("--line"));
    for (const s of backdrop.unarmed) ctx.fillRect(x(s.from), 0, x(s.to) - x(s.from), OVERVIEW - 3);
    this.#silhouette(ctx, x);
    for (const s of [...backdrop.gaps, ...backdrop.findings]) {
      ctx.fillStyle = colour({ critical: "--crit", error: "--crit", warning: "--warn" }[s.severity ?? "critical"] ?? "--accent");
      ctx.fillRect(x(s.from), 0, Math.max(3, x(s.to) - x(s.from)), 5);
    }
  }

  #silhouette(ctx, x) {
    const { time, alt } = this.silhouette();
    const known = alt.filter((a) => a !== null);
    if (known.length < 2) return;
    const low = known.reduce((a, b) => Math.min(a, b));
    const high = Math.max(known.reduce((a, b) => Math.max(a, b)), low + 1);
    const base = OVERVIEW - 3;
    const y = (v) => base - 2 - ((v - low) / (high - low)) * (base - 10);
    ctx.fillStyle = `color-mix(in srgb, ${colour("--s0")} 22%, transparent)`;
    ctx.strokeStyle = colour("--s0");
    ctx.lineWidth = 1;
    for (let i = 0; i < time.length; i++) {
      if (alt[i] === null) continue;
      const start = i;
      ctx.beginPath();
      ctx.moveTo(x(time[i]), base);
      for (; i < time.length && alt[i] !== null; i++) ctx.lineTo(x(time[i]), y(alt[i]));
      if (i - start < 2) continue;
      ctx.lineTo(x(time[i - 1]), base);
      ctx.fill();
      ctx.stroke();
    }
  }

  #brush(ctx) {
    const { left, right } = this.inner;
    const [a, b] = [this.#x(this.view.window.from, this.view.extent), this.#x(this.view.window.to, this.view.extent)];
    if (!this.view.isWhole) {
      ctx.fillStyle = `color-mix(in srgb, ${colour("--surface")} 68%, transparent)`;
      ctx.fillRect(left, 0, a - left, OVERVIEW);
      ctx.fillRect(b, 0, right - b, OVERVIEW);
    }
    ctx.strokeStyle = colour("--accent");
    ctx.lineWidth = 1.5;
    ctx.strokeRect(a + 0.75, 0.75, Math.max(2, b - a - 1.5), OVERVIEW - 1.5);
    ctx.fillStyle = colour("--accent");
    for (const edge of [a, b]) ctx.fillRect(edge - 1.5, OVERVIEW / 2 - 8, 3, 16);
  }

  #axis(ctx) {
    const { from, to } = this.view.window;
    const splits = this.axis.splits(from, to, this.inner.wide / 100);
    const step = splits.length > 1 ? splits[1] - splits[0] : 1;
    ctx.font = font(11);
    ctx.textBaseline = "middle";
    ctx.textAlign = "center";
    ctx.fillStyle = colour("--muted");
    for (const time of splits) ctx.fillText(this.axis.label(time, step), this.#x(time, this.view.window), OVERVIEW + AXIS / 2 + 1);
  }

  #modes(ctx, backdrop) {
    const { left, right } = this.inner;
    const top = OVERVIEW + AXIS;
    ctx.font = font(11, 550);
    ctx.textAlign = "left";
    for (const mode of backdrop.modes) {
      const a = Math.max(this.#x(mode.from, this.view.window), left);
      const b = Math.min(this.#x(mode.to, this.view.window), right);
      if (b - a < 1) continue;
      ctx.fillStyle = `color-mix(in srgb, ${colour(mode.tone)} 24%, ${colour("--surface")})`;
      ctx.fillRect(a, top, b - a - 1, MODES - 1);
      ctx.fillStyle = colour(mode.tone);
      ctx.fillRect(a, top, 3, MODES - 1);
      if (b - a > ctx.measureText(mode.label).width + 14) {
        ctx.fillStyle = colour("--text");
        ctx.fillText(mode.label, a + 8, top + MODES / 2);
      }
    }
  }

  #cursor(ctx) {
    const { cursor, window, extent } = this.view;
    setText(this.moment, cursor === null ? "" : this.axis.full(cursor));
    this.moment.hidden = cursor === null || cursor < window.from || cursor > window.to;
    if (cursor === null) return;
    ctx.strokeStyle = colour("--text");
    ctx.lineWidth = 1;
    ctx.beginPath();
    const whole = Math.round(this.#x(cursor, extent)) + 0.5;
    ctx.moveTo(whole, 0);
    ctx.lineTo(whole, OVERVIEW);
    const at = this.#x(cursor, window);
    if (!this.moment.hidden) {
      ctx.moveTo(Math.round(at) + 0.5, OVERVIEW + AXIS - 2);
      ctx.lineTo(Math.round(at) + 0.5, this.height);
      this.moment.style.setProperty("--x", `${Math.min(Math.max(at, this.inner.left + 30), this.inner.right - 30)}px`);
    }
    ctx.stroke();
  }

  #listen() {
    const { canvas, view } = this;
    let drag = null;
    const part = (e) => (e.offsetY <= OVERVIEW ? view.extent : view.window);
    canvas.addEventListener("pointerdown", (e) => {
      canvas.setPointerCapture(e.pointerId);
      drag = this.#catch(e.offsetX, e.offsetY);
    });
    canvas.addEventListener("pointermove", (e) => {
      if (drag) this.#drag(drag, e.offsetX);
      else view.point(this.#time(e.offsetX, part(e)));
      canvas.style.cursor = drag?.cursor ?? this.#catch(e.offsetX, e.offsetY).cursor;
    });
    canvas.addEventListener("pointerup", () => (drag = null));
    canvas.addEventListener("pointerleave", () => view.point(null));
    canvas.addEventListener("dblclick", () => view.showAll());
  }

  /** What a press at this place takes hold of: an edge of the window, the window, or a new window. */
  #catch(x, y) {
    const { window, extent } = this.view;
    if (y > OVERVIEW) return { kind: "axis", at: x, window: { ...window }, cursor: "grab" };
    const [a, b] = [this.#x(window.from, extent), this.#x(window.to, extent)];
    if (Math.abs(x - a) < EDGE) return { kind: "from", cursor: "ew-resize" };
    if (Math.abs(x - b) < EDGE) return { kind: "to", cursor: "ew-resize" };
    if (x > a && x < b && !this.view.isWhole) return { kind: "move", at: this.#time(x, extent), window: { ...window }, cursor: "grab" };
    return { kind: "new", at: this.#time(x, extent), cursor: "crosshair" };
  }

  #drag(drag, x) {
    const { view } = this;
    const time = this.#time(x, view.extent);
    if (drag.kind === "from") view.setWindow(Math.min(time, view.window.to - 1), view.window.to);
    else if (drag.kind === "to") view.setWindow(view.window.from, Math.max(time, view.window.from + 1));
    else if (drag.kind === "move") view.setWindow(drag.window.from + time - drag.at, drag.window.to + time - drag.at);
    else if (drag.kind === "new" && Math.abs(time - drag.at) > 0.5) view.setWindow(Math.min(time, drag.at), Math.max(time, drag.at));
    else if (drag.kind === "axis") {
      const by = ((drag.at - x) / this.inner.wide) * (drag.window.to - drag.window.from);
      view.setWindow(drag.window.from + by, drag.window.to + by);
    }
  }
}
