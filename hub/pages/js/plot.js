// One plot: its heading with values under the cursor, and a uPlot canvas with mean lines over min/max envelopes.

/* global uPlot */
import { colour, h, icon, setText } from "./dom.js";
import { measured } from "./format.js";
import { paintBackdrop, paintMarks } from "./plot_paint.js";
import { shownUnit } from "./plot_groups.js";
import { HOLE_S, columnsOf, nearest } from "./telemetry.js";

const PALETTE = 8;
const NARROW_PX = 520;
const ANGLE_STEPS = [0.1, 0.5, 1, 2, 5, 10, 15, 30, 45, 90, 180];
const font = () => `11px ${getComputedStyle(document.body).fontFamily}`;

/** Room for the axes left and right, the same for all plots and the timeline so that moments stand below one another. */
export const axisRoom = (width) => (width < NARROW_PX ? { left: 42, right: 30 } : { left: 54, right: 46 });

/** An angle that turns over at ±180° is no jump: the line breaks there, and a bucket that holds the turn has no mean. */
function broken(mean, min, max) {
  return mean.map((v, i) => (v === null || max[i] - min[i] > 180 || (i && mean[i - 1] !== null && Math.abs(v - mean[i - 1]) > 180) ? null : v));
}

/** Of the gaps (px from, px to) that uPlot would leave in a line, those that are holes in the record. */
function holes(u, _series, _first, _last, gaps) {
  const { min, max } = u.scales.x;
  const least = (HOLE_S / (max - min)) * u.bbox.width;
  return gaps.filter(([from, to]) => to - from > least);
}

/** Scale a column to shown units, or hand it back as it is. */
const scaled = (values, factor) => (factor === 1 ? values : values.map((v) => (v === null ? null : v * factor)));

/** The y range: the data with air round it, at least as wide as the group wants. */
function rangeOf(group) {
  return (_u, low, high) => {
    if (low === null || high === null) return [0, 1];
    if (group.isAngle && high - low > 200) return [-190, 190];
    let [from, to] = [low, high];
    if (group.floor !== undefined) from = Math.min(from, group.floor);
    const least = group.least || Math.max(Math.abs(to) * 0.02, 1e-3);
    const lack = Math.max(0, least - (to - from));
    const isFloor = group.floor !== undefined && from === group.floor;
    from -= isFloor ? 0 : lack / 2;
    to += isFloor ? lack : lack / 2;
    const air = (to - from) * 0.07;
    return [isFloor ? from : from - air, to + air];
  };
}

/**
 * board offers: view (View), axis (TimeAxis), backdrop() for bands and spans, and hide(plot).
 * A plot owns no data beyond the table it was given last.
 */
export class Plot {
  constructor(group, board) {
    this.group = group;
    this.board = board;
    this.table = null;
    this.loaded = null; // {from, to} that the table covers
    this.isSeen = false;
    this.shown = [];
    this.values = [];
    this.legend = h("div", { class: "legend" });
    this.host = h("div", { class: "canvas" });
    const unit = h("span", { class: "unit" }, group.unit);
    const close = group.isExtra && h("button", { class: "icon", type: "button", "aria-label": `Remove ${group.title}`, onclick: () => board.hide(this) }, icon("cross"));
    this.element = h("section", { class: "plot", "aria-label": `${group.title} over time`, "data-plot": group.id }, h("header", { title: group.hint }, h("h3", null, group.title), unit, this.legend, close), this.host);
    this.note("Loading…");
  }

  get channels() {
    return this.group.lines.map((l) => l.channel);
  }

  /** Words in place of a canvas; the height stays. */
  note(text) {
    this.destroy();
    this.host.replaceChildren(h("p", { class: "plot-note" }, text));
  }

  destroy() {
    this.plot?.destroy();
    this.plot = null;
    this.shape = "";
  }

  /** Show a table that covers [from, to]. */
  setTable(table, loaded) {
    this.table = table;
    this.loaded = loaded;
    this.shown = this.group.lines.flatMap((l) => columnsOf(table, l.channel).map(([name, column]) => ({ line: l, name, column })));
    const hasData = this.shown.some((s) => s.column.mean.some((v) => v !== null));
    if (!hasData) return this.note(table.time.length ? "This aircraft did not send it in this span." : "No telemetry in this span yet.");
    const shape = this.shown.map((s) => s.name).join();
    if (!this.plot || shape !== this.shape) return this.build(shape);
    this.plot.setData(this.data(), true);
    this.showValues();
  }

  data() {
    const parts = this.shown.flatMap(({ column }) => {
      const factor = shownUnit(column.unit)[1];
      const mean = scaled(column.mean, factor);
      const isRaw = column.min === column.mean;
      const [low, high] = isRaw ? [mean, mean] : [scaled(column.min, factor), scaled(column.max, factor)];
      if (this.group.isAngle) return Array(3).fill(broken(mean, low, high));
      return [mean, low, high];
    });
    this.means = parts.filter((_, i) => i % 3 === 0);
    return [this.table.time, ...parts];
  }

  series() {
    return this.shown.flatMap(({ line }, i) => {
      const stroke = line.dash ? colour("--text") : colour(`--s${i % PALETTE}`);
      const scale = line.second ?? "y";
      const gaps = this.group.isAngle ? (_u, _series, _first, _last, all) => all : holes;
      const quiet = { scale, gaps, stroke: "transparent", width: 0, points: { show: false } };
      return [{ scale, gaps, stroke, width: line.dash ? 1 : 1.4, dash: line.dash ? [4, 3] : undefined, points: { show: false } }, quiet, quiet];
    });
  }

  axes() {
    const grid = { stroke: colour("--grid"), width: 1 };
    const plain = { stroke: colour("--muted"), font: font(), ticks: { show: false }, gap: 6, space: 26 };
    const { left, right } = axisRoom(this.host.clientWidth);
    const at = this.shown.findIndex((s) => s.line.second);
    const second = this.shown[at]?.line.second;
    const axes = [
      { side: 2, size: 0, gap: 0, ticks: { show: false }, grid, values: (_u, splits) => splits.map(() => ""), splits: (u) => this.board.axis.splits(u.scales.x.min, u.scales.x.max, (u.width - 100) / 100) },
      { ...plain, scale: "y", side: 3, size: left, grid, ...(this.group.isAngle && { incrs: ANGLE_STEPS }) },
    ];
    if (second) axes.push({ ...plain, stroke: colour(`--s${at % PALETTE}`), scale: second, side: 1, size: right, grid: { show: false } });
    return { axes, second, right };
  }

  build(shape) {
    this.destroy();
    this.host.replaceChildren();
    this.shape = shape;
    const { axes, second, right } = this.axes();
    const { view } = this.board;
    const scales = { x: { time: false, range: () => [view.window.from, view.window.to] }, y: { range: rangeOf(this.group) } };
    if (second) scales[second] = { range: rangeOf({ floor: 0, least: 1 }) };
    const bands = this.group.isAngle ? [] : this.shown.map((s, i) => ({ series: [3 * i + 3, 3 * i + 2], fill: `color-mix(in srgb, ${colour(`--s${i % PALETTE}`)} 22%, transparent)` }));
    const options = {
      width: this.host.clientWidth, height: this.host.clientHeight, pxAlign: 1, legend: { show: false }, scales, axes, bands,
      padding: [7, second ? 0 : right, 7, 0],
      series: [{}, ...this.series()],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => view.showAll() } },
      hooks: {
        drawClear: [(u) => paintBackdrop(u, this.board.backdrop())],
        draw: [(u) => paintMarks(u, this.group.marks)],
        setSelect: [(u) => this.onSelect(u)],
      },
    };
    this.plot = new uPlot(options, this.data(), this.host);
    const { over } = this.plot;
    over.addEventListener("mousemove", (e) => view.point(this.plot.posToVal(e.offsetX, "x")));
    over.addEventListener("mouseleave", () => view.point(null));
    this.buildLegend();
    this.follow();
  }

  buildLegend() {
    const many = this.shown.length > 8;
    this.values = this.shown.map(() => h("b", { class: "num" }));
    this.legend.classList.toggle("many", many);
    const items = this.shown.map(({ line, name }, i) => {
      const label = line.label || /\[(\d+)\]/.exec(name)?.[1]?.replace(/\d+/, (d) => String(Number(d) + 1)) || "";
      const swatch = h("i", { class: line.dash ? "dash" : "", vars: { "--c": `var(--s${i % PALETTE})` } });
      return h("span", null, swatch, label, this.values[i]);
    });
    this.legend.replaceChildren(...items);
    this.showValues();
  }

  /** Values at the cursor; without one, the newest in the window. */
  showValues() {
    if (!this.plot) return;
    const at = nearest(this.table.time, this.board.view.cursor ?? this.board.view.window.to);
    this.values.forEach((element, i) => setText(element, measured(this.means[i][at])));
  }

  onSelect(u) {
    const { left, width } = u.select;
    if (width > 4) this.board.view.setWindow(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  }

  /** Put the cursor line where the view says. */
  follow() {
    if (!this.plot) return;
    const { cursor, window } = this.board.view;
    const isIn = cursor !== null && cursor >= window.from && cursor <= window.to;
    this.plot.setCursor({ left: isIn ? this.plot.valToPos(cursor, "x") : -10, top: isIn ? 10 : -10 }, false);
    this.showValues();
  }

  /** The window moved: draw what is there already at the new scale. */
  rescale() {
    const { from, to } = this.board.view.window;
    this.plot?.setScale("x", { min: from, max: to });
  }

  resize() {
    if (this.plot && axisRoom(this.plot.width).left !== axisRoom(this.host.clientWidth).left) this.build(this.shape);
    this.plot?.setSize({ width: this.host.clientWidth, height: this.host.clientHeight });
  }

  redraw() {
    this.plot?.redraw(false, false);
  }

  /** Colours are fixed when a plot is built: build it again for another theme. */
  retheme() {
    if (this.plot) this.build(this.shape);
  }
}
