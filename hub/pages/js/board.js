// The board of plots: which are shown, what they need, and one request for all that are on the screen.

import { loadTable, appendTable, columnsOf } from "./telemetry.js";
import { MAIN_GROUPS, channelGroup } from "./plot_groups.js";
import { Plot } from "./plot.js";

const SETTLE_MS = 90; // after the window stopped moving
const ROOM = 0.15; // how much more than the window is asked for on each side, so that a small pan shows data at once

export class Board {
  /** host: where plots go. onBusy(boolean), onError(error | null), onChange(extra channel names). */
  constructor({ flightId, host, view, axis, backdrop, onBusy, onError, onChange }) {
    Object.assign(this, { flightId, host, view, axis, backdrop, onBusy, onError, onChange });
    this.plots = [];
    this.seen = new IntersectionObserver((entries) => this.#onSeen(entries), { rootMargin: "200px 0px" });
    this.sized = new ResizeObserver(() => this.#onSize());
    this.sized.observe(host);
    view.addEventListener("window", () => this.#onWindow());
    view.addEventListener("cursor", () => this.plots.forEach((p) => p.follow()));
    axis.addEventListener("change", () => this.plots.forEach((p) => p.redraw()));
    MAIN_GROUPS.forEach((group) => this.add(group));
  }

  add(group) {
    const plot = new Plot(group, this);
    this.plots.push(plot);
    this.host.append(plot.element);
    this.seen.observe(plot.element);
    return plot;
  }

  /** Add a plot of one channel of the registry, unless it is there. */
  addChannel(channel) {
    const group = channelGroup(channel);
    if (this.plots.some((p) => p.group.id === group.id)) return null;
    const plot = this.add(group);
    this.onChange(this.extras());
    return plot;
  }

  hide(plot) {
    this.seen.unobserve(plot.element);
    plot.destroy();
    plot.element.remove();
    this.plots = this.plots.filter((p) => p !== plot);
    this.onChange(this.extras());
  }

  extras() {
    return this.plots.filter((p) => p.group.isExtra).map((p) => p.channels[0]);
  }

  #onSeen(entries) {
    for (const entry of entries) {
      const plot = this.plots.find((p) => p.element === entry.target);
      if (plot) plot.isSeen = entry.isIntersecting;
    }
    this.#plan(0);
  }

  #onSize() {
    this.plots.forEach((p) => p.resize());
    this.#plan(SETTLE_MS);
  }

  #onWindow() {
    this.plots.forEach((p) => p.rescale());
    this.#plan(SETTLE_MS);
  }

  #plan(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#load(), ms);
  }

  /** What is asked for: the window with room on both sides, and a bucket for every pixel and a half. */
  #wanted() {
    const { from, to } = this.view.window;
    const room = this.view.isWhole ? 0 : (to - from) * ROOM;
    const width = Math.max(300, this.host.clientWidth);
    return { from: from - room, to: to + room, points: Math.min(1600, Math.round((width * (1 + 2 * ROOM)) / 1.5 / 50) * 50) };
  }

  /** Whether what a plot holds covers the window finely enough. */
  #isFresh({ loaded }, wanted) {
    const { from, to } = this.view.window;
    if (!loaded || loaded.from > from || loaded.to < to) return false;
    return loaded.isRaw || secondsPerPoint(loaded) <= secondsPerPoint(wanted) * 1.6;
  }

  async #load() {
    const wanted = this.#wanted();
    const needy = this.plots.filter((p) => p.isSeen && !this.#isFresh(p, wanted));
    if (!needy.length) return;
    this.request?.abort();
    const mine = (this.request = new AbortController());
    this.onBusy(true);
    try {
      const channels = [...new Set(needy.flatMap((p) => p.channels))];
      const table = await loadTable(this.flightId, channels, { ...wanted, signal: mine.signal });
      const loaded = { ...wanted, isRaw: table.isRaw };
      for (const plot of needy) plot.setTable(copyFor(plot, table), loaded);
      this.onError(null);
    } catch (error) {
      if (error.name === "AbortError") return;
      needy.filter((p) => !p.plot).forEach((p) => p.note("Not loaded: the hub did not answer."));
      this.onError(error);
    }
    if (mine === this.request) this.onBusy(false);
  }

  /** Ask again for everything, after an error or when the flight was settled. */
  reload() {
    this.plots.forEach((p) => (p.loaded = null));
    this.#plan(0);
  }

  /** Live: append what came after the newest sample to the plots that show the end of the flight. */
  async appendNew(to) {
    const shown = this.plots.filter((p) => p.isSeen && p.table && p.loaded.to >= this.view.extent.to - 30);
    const last = Math.max(...shown.map((p) => p.table.time.at(-1) ?? 0));
    if (!shown.length || !Number.isFinite(last) || to - last < 0.1) return;
    if (to - last > 60) return this.reload();
    const channels = [...new Set(shown.flatMap((p) => p.channels))];
    const tail = await loadTable(this.flightId, channels, { from: last, to, points: null });
    for (const plot of shown) {
      appendTable(plot.table, copyFor(plot, tail));
      plot.setTable(plot.table, { ...plot.loaded, to });
    }
    if (shown.some((p) => p.table.time.length > 4000)) this.reload();
  }

  redraw() {
    this.plots.forEach((p) => p.redraw());
  }

  retheme() {
    this.plots.forEach((p) => p.retheme());
  }
}

const secondsPerPoint = (span) => (span.to - span.from) / span.points;

/** A plot's own copy of a shared table: appending to one must not touch another. */
function copyFor(plot, table) {
  const copies = plot.channels.flatMap((channel) => columnsOf(table, channel)).map(([name, c]) => {
    const mean = [...c.mean];
    const isRaw = c.min === c.mean;
    return [name, { unit: c.unit, mean, min: isRaw ? mean : [...c.min], max: isRaw ? mean : [...c.max] }];
  });
  return { time: [...table.time], columns: new Map(copies) };
}
