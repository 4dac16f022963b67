// What is painted behind and over the lines: modes, the unarmed ends, findings, gaps, and lines of reference.

import { colour } from "./dom.js";

/** Colour of a mode: modes of a flight get the palette in order of appearance. */
export function modeColours(modes) {
  const names = [...new Set(modes.map((m) => m.mode))];
  return new Map(names.map((name, i) => [name, `--m${i % 8}`]));
}

let hatch = null;

/** A fine diagonal hatch: recorded, but not armed; or not recorded at all. */
export function hatching(ctx, tone) {
  const key = `${tone}${devicePixelRatio}`;
  if (hatch?.key !== key) {
    const size = Math.round(7 * devicePixelRatio);
    const tile = new OffscreenCanvas(size, size);
    const t = tile.getContext("2d");
    t.strokeStyle = tone;
    t.lineWidth = devicePixelRatio;
    t.beginPath();
    for (const d of [-size, 0, size]) {
      t.moveTo(d, size);
      t.lineTo(d + size, 0);
    }
    t.stroke();
    hatch = { key, tile };
  }
  return ctx.createPattern(hatch.tile, "repeat");
}

const toneOf = (severity) => colour({ critical: "--crit", error: "--crit", warning: "--warn" }[severity] ?? "--accent");

/**
 * Paint the bands behind a plot. backdrop: {modes: [{from, to, tone}], unarmed: [{from, to}], findings: [{from, to,
 * severity}], gaps: [{from, to}]}, times in seconds.
 */
export function paintBackdrop(u, backdrop) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const x = (t) => Math.min(Math.max(u.valToPos(t, "x", true), left), left + width);
  const span = (s, least = 0) => [x(s.from), Math.max(x(s.to) - x(s.from), least)];
  const isSeen = (s) => s.to >= u.scales.x.min && s.from <= u.scales.x.max;
  ctx.save();
  for (const mode of backdrop.modes.filter(isSeen)) {
    const [at, wide] = span(mode);
    ctx.globalAlpha = 0.06;
    ctx.fillStyle = colour(mode.tone);
    ctx.fillRect(at, top, wide, height);
  }
  ctx.globalAlpha = 1;
  ctx.fillStyle = hatching(ctx, colour("--grid"));
  for (const s of backdrop.unarmed.filter(isSeen)) {
    const [at, wide] = span(s);
    ctx.fillRect(at, top, wide, height);
  }
  for (const s of [...backdrop.gaps, ...backdrop.findings].filter(isSeen)) {
    const [at, wide] = span(s, 2 * devicePixelRatio);
    ctx.fillStyle = toneOf(s.severity ?? "critical");
    ctx.globalAlpha = 0.1;
    ctx.fillRect(at, top, wide, height);
    ctx.globalAlpha = 0.9;
    ctx.fillRect(at, top, wide, 2 * devicePixelRatio);
  }
  ctx.restore();
}

/** Lines of reference, only where they fall inside the y range. */
export function paintMarks(u, marks = []) {
  const { ctx } = u;
  const { left, width } = u.bbox;
  ctx.save();
  for (const mark of marks) {
    if (mark.value <= u.scales.y.min || mark.value >= u.scales.y.max) continue;
    const y = Math.round(u.valToPos(mark.value, "y", true)) + 0.5;
    ctx.strokeStyle = ctx.fillStyle = colour("--warn");
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.font = `${10 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textAlign = "right";
    ctx.fillText(mark.text, left + width - 4 * devicePixelRatio, y - 3 * devicePixelRatio);
  }
  ctx.restore();
}
