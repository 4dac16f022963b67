// The newest positions of a fleet as a map layer; those that would overlap share one mark with their number.

import { colour } from "./dom.js";
import { paintAircraft } from "./track.js";

const NEAR_PX = 26;

export class FleetLayer {
  constructor() {
    this.marks = []; // {id, name, x, y, heading, isOnline}
    this.chosen = null;
    this.groups = [];
  }

  /** Take the aircraft that have a position. The first one is where the plane touches. */
  set(aircraft, map) {
    const placed = aircraft.filter((a) => Number.isFinite(a.newest?.lat_deg) && Number.isFinite(a.newest?.lon_deg));
    if (placed.length && !map.origin) {
      const middle = [...placed].sort((a, b) => a.newest.lat_deg - b.newest.lat_deg)[placed.length >> 1].newest;
      map.setOrigin(middle.lat_deg, middle.lon_deg);
    }
    this.marks = placed.map((a) => ({ id: a.id, name: a.name, heading: a.newest.heading_deg, isOnline: a.online, ...map.project(a.newest.lat_deg, a.newest.lon_deg) }));
    return this.marks.length > 0;
  }

  bounds() {
    if (!this.marks.length) return null;
    const [x, y] = [this.marks.map((m) => m.x), this.marks.map((m) => m.y)];
    return { x0: Math.min(...x), y0: Math.min(...y), x1: Math.max(...x), y1: Math.max(...y) };
  }

  /** The mark at a pixel. */
  at(pixel) {
    return this.groups.find((g) => Math.hypot(g.x - pixel.x, g.y - pixel.y) < NEAR_PX) ?? null;
  }

  #group(map) {
    this.groups = [];
    for (const mark of this.marks) {
      const p = map.toPixel(mark);
      const near = this.groups.find((g) => Math.hypot(g.x - p.x, g.y - p.y) < NEAR_PX);
      if (near) near.marks.push(mark);
      else this.groups.push({ ...p, marks: [mark] });
    }
  }

  draw(ctx, map) {
    this.#group(map);
    const family = getComputedStyle(document.body).fontFamily;
    for (const group of this.groups) this.#label(ctx, group, map, family);
    for (const group of this.groups) this.#mark(ctx, group, family);
  }

  #mark(ctx, { x, y, marks }, family) {
    const isChosen = marks.some((m) => m.id === this.chosen);
    const isOnline = marks.some((m) => m.isOnline);
    const fill = isChosen ? colour("--accent") : isOnline ? colour("--live") : colour("--muted");
    if (marks.length > 1) this.#cluster(ctx, x, y, marks.length, fill, family);
    else paintAircraft(ctx, { x, y }, marks[0].heading, fill, colour("--surface"), 9);
  }

  #cluster(ctx, x, y, n, fill, family) {
    ctx.beginPath();
    ctx.arc(x, y, 12, 0, 2 * Math.PI);
    ctx.fillStyle = fill;
    ctx.fill();
    ctx.fillStyle = colour("--surface");
    ctx.font = `650 12px ${family}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(String(n), x, y + 0.5);
  }

  #label(ctx, { x, y, marks }, map, family) {
    const text = marks.slice(0, 3).map((m) => m.name).join(", ") + (marks.length > 3 ? " …" : "");
    const isChosen = marks.some((m) => m.id === this.chosen);
    ctx.font = `${isChosen ? 650 : 500} 12px ${family}`;
    ctx.textBaseline = "middle";
    const isRight = x + 20 + ctx.measureText(text).width < map.width;
    ctx.textAlign = isRight ? "left" : "right";
    ctx.lineWidth = 3;
    ctx.strokeStyle = colour("--map-bg");
    ctx.fillStyle = colour("--text");
    ctx.strokeText(text, x + (isRight ? 17 : -17), y);
    ctx.fillText(text, x + (isRight ? 17 : -17), y);
  }
}
