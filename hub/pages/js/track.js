// The flown track as a map layer: coloured by mode or altitude, its part in the window strong, the aircraft at the cursor.

import { colour } from "./dom.js";
import { HOLE_S, nearest } from "./telemetry.js";

const NEAR_PX = 22;
const NO_FIX_DEG = 0.01;

/** Mix of three theme colours along 0..1, in steps so that a track needs few strokes. */
function altitudeColour(share) {
  const percent = Math.round(share * 16) * 6.25;
  if (percent <= 50) return `color-mix(in oklab, ${colour("--alt-mid")} ${percent * 2}%, ${colour("--alt-low")})`;
  return `color-mix(in oklab, ${colour("--alt-high")} ${(percent - 50) * 2}%, ${colour("--alt-mid")})`;
}

/** Draws {time, lat, lon, alt, heading} over a MapView; modes: [{from, to, tone}]. Across a hole in the record it is dotted. */
export class Track {
  constructor(view) {
    this.view = view;
    this.by = "mode";
    this.modes = [];
    this.events = [];
    this.home = null;
    this.points = { time: [], x: [], y: [], alt: [], heading: [] };
  }

  /** Take positions from a table; false when there is none yet. The first position is where the plane touches. */
  setTable(table, map) {
    const column = (name) => table.columns.get(name)?.mean ?? [];
    const [lat, lon, alt, heading] = ["lat_deg", "lon_deg", "alt_rel_m", "heading_deg"].map(column);
    const p = { time: [], x: [], y: [], alt: [], heading: [] };
    table.time.forEach((time, i) => {
      if (lat[i] == null || lon[i] == null) return;
      if (Math.abs(lat[i]) < NO_FIX_DEG && Math.abs(lon[i]) < NO_FIX_DEG) return; // an estimator without a fix says 0, 0
      if (!map.origin) map.setOrigin(lat[i], lon[i]);
      const at = map.project(lat[i], lon[i]);
      p.time.push(time);
      p.x.push(at.x);
      p.y.push(at.y);
      p.alt.push(alt[i] ?? null);
      p.heading.push(heading[i] ?? null);
    });
    this.points = p;
    const typical = p.time.length > 1 ? (p.time.at(-1) - p.time[0]) / (p.time.length - 1) : 0;
    this.holeS = Math.max(HOLE_S, 4 * typical);
    return p.time.length > 0;
  }

  bounds() {
    const { x, y } = this.points;
    if (!x.length) return null;
    const low = (v) => v.reduce((a, b) => Math.min(a, b));
    const high = (v) => v.reduce((a, b) => Math.max(a, b));
    return { x0: low(x), y0: low(y), x1: high(x), y1: high(y) };
  }

  altitudes() {
    const known = this.points.alt.filter((a) => a !== null);
    return known.length ? { low: known.reduce((a, b) => Math.min(a, b)), high: known.reduce((a, b) => Math.max(a, b)) } : null;
  }

  /** Time of the track's point nearest to a pixel; null when none is near. Only the window's part is searched. */
  timeAt(pixel, map) {
    const { time, x, y } = this.points;
    const { from, to } = this.view.window;
    let best = NEAR_PX ** 2;
    let found = null;
    for (let i = 0; i < time.length; i++) {
      if (time[i] < from || time[i] > to) continue;
      const at = map.toPixel({ x: x[i], y: y[i] });
      const far = (at.x - pixel.x) ** 2 + (at.y - pixel.y) ** 2;
      if (far < best) [best, found] = [far, time[i]];
    }
    return found;
  }

  #colourer() {
    if (this.by === "altitude") {
      const range = this.altitudes();
      if (!range) return () => colour("--m7");
      const span = Math.max(range.high - range.low, 1);
      const cache = Array.from({ length: 17 }, (_, i) => altitudeColour(i / 16));
      return (i) => cache[Math.round((((this.points.alt[i] ?? range.low) - range.low) / span) * 16)];
    }
    const tones = new Map(this.modes.map((m) => [m.tone, colour(m.tone)]));
    let at = 0; // modes and points both go forward in time
    return (i) => {
      const time = this.points.time[i];
      while (at < this.modes.length - 1 && this.modes[at].to <= time) at++;
      return tones.get(this.modes[at]?.tone) ?? colour("--m7");
    };
  }

  draw(ctx, map) {
    const { time, x, y } = this.points;
    if (!time.length) return;
    const { from, to } = this.view.window;
    const pixel = (i) => map.toPixel({ x: x[i], y: y[i] });
    const tone = this.#colourer();
    ctx.lineJoin = ctx.lineCap = "round";
    let i = 0;
    while (i < time.length - 1) {
      const stroke = tone(i);
      const isIn = time[i] >= from && time[i] <= to;
      ctx.beginPath();
      const start = pixel(i);
      ctx.moveTo(start.x, start.y);
      const isHole = time[i + 1] - time[i] > this.holeS;
      do {
        i++;
        const next = pixel(i);
        ctx.lineTo(next.x, next.y);
      } while (!isHole && i < time.length - 1 && time[i + 1] - time[i] <= this.holeS && tone(i) === stroke && (time[i] >= from && time[i] <= to) === isIn);
      ctx.strokeStyle = isHole ? colour("--muted") : stroke;
      ctx.setLineDash(isHole ? [1, 5] : []);
      ctx.globalAlpha = isIn ? 1 : 0.25;
      ctx.lineWidth = isIn && !isHole ? 2.25 : 1.5;
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
    ctx.setLineDash([]);
    this.#ends(ctx, pixel);
    this.#aircraft(ctx, pixel);
  }

  #ends(ctx, pixel) {
    const start = pixel(0);
    ctx.fillStyle = colour("--surface");
    ctx.strokeStyle = colour("--text");
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.moveTo(start.x - 6, start.y + 5);
    ctx.lineTo(start.x - 6, start.y - 1);
    ctx.lineTo(start.x, start.y - 7);
    ctx.lineTo(start.x + 6, start.y - 1);
    ctx.lineTo(start.x + 6, start.y + 5);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }

  #aircraft(ctx, pixel) {
    const i = nearest(this.points.time, this.view.cursor ?? this.view.window.to);
    if (i < 0) return;
    paintAircraft(ctx, pixel(i), this.points.heading[i], colour("--text"), colour("--surface"));
  }
}

/** An arrow head that points along the heading (deg from north); a dot when the heading is unknown. */
export function paintAircraft(ctx, { x, y }, heading, fill, edge, size = 8) {
  ctx.save();
  ctx.translate(x, y);
  ctx.beginPath();
  if (heading === null || heading === undefined) ctx.arc(0, 0, size * 0.6, 0, 2 * Math.PI);
  else {
    ctx.rotate((heading * Math.PI) / 180);
    ctx.moveTo(0, -size * 1.15);
    ctx.lineTo(size * 0.8, size);
    ctx.lineTo(0, size * 0.5);
    ctx.lineTo(-size * 0.8, size);
    ctx.closePath();
  }
  ctx.fillStyle = fill;
  ctx.strokeStyle = edge;
  ctx.lineWidth = 3;
  ctx.lineJoin = "round";
  ctx.stroke();
  ctx.fill();
  ctx.restore();
}
