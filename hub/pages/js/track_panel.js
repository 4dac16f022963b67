// The map of a flight: the track layer, its key, its buttons, and its part in the shared cursor.

import { byId, h, icon, setText } from "./dom.js";
import { quantity } from "./format.js";
import { MapView } from "./map_view.js";
import { appendTable, loadTable } from "./telemetry.js";
import { Track } from "./track.js";

const POINTS = 2500;
const CHANNELS = ["lat_deg", "lon_deg", "alt_rel_m", "heading_deg"];

export class TrackPanel {
  constructor({ flightId, view, isLive }) {
    Object.assign(this, { flightId, view, isLive, modes: [] });
    this.track = new Track(view);
    this.map = new MapView(byId("map"), { layers: [this.track], head: 30, onHover: (p) => this.#hover(p), onClick: (p) => this.#click(p) });
    for (const type of ["window", "cursor"]) view.addEventListener(type, () => this.map.draw());
    this.#buttons();
  }

  /** {time, alt} of the whole flight, also where no position is known. */
  get silhouette() {
    return { time: this.table?.time ?? [], alt: this.table?.columns.get("alt_rel_m")?.mean ?? [] };
  }

  async load() {
    const { from, to } = this.view.extent;
    this.table = await loadTable(this.flightId, CHANNELS, { from, to, points: POINTS });
    this.#take();
  }

  /** Live: the positions after the newest one. */
  async appendNew(to) {
    const last = this.table?.time.at(-1);
    if (last === undefined) return this.load();
    if (to - last < 0.1) return;
    if (this.table.time.length > 2 * POINTS || to - last > 60) return this.load();
    appendTable(this.table, await loadTable(this.flightId, CHANNELS, { from: last, to, points: null }));
    this.#take();
  }

  #take() {
    const has = this.track.setTable(this.table, this.map);
    byId("map-note").hidden = has;
    setText(byId("map-note"), this.isLive() ? "No position yet." : "This flight has no position.");
    if (has && !this.map.isFree) this.map.fit(this.track.bounds());
    this.#key();
    this.map.draw();
  }

  /** modes: [{from, to, tone, label}] */
  setModes(modes) {
    this.modes = this.track.modes = modes;
    this.#key();
    this.map.draw();
  }

  retheme() {
    this.#key();
    this.map.draw();
  }

  #hover(pixel) {
    this.view.point(pixel && this.map.origin ? this.track.timeAt(pixel, this.map) : null);
  }

  #click(pixel) {
    const time = this.map.origin && this.track.timeAt(pixel, this.map);
    if (time) this.view.pin(time);
  }

  #key() {
    const key = byId("map-key");
    if (this.track.by === "mode") {
      const tones = new Map(this.modes.map((m) => [m.label, m.tone]));
      return key.replaceChildren(...[...tones].map(([label, tone]) => h("span", null, h("i", { vars: { "--c": `var(${tone})` } }), label)));
    }
    const range = this.track.altitudes();
    key.replaceChildren(...(range ? [quantity(range.low, "m"), h("i", { class: "ramp" }), quantity(range.high, "m")] : []));
  }

  #buttons() {
    const by = [...document.querySelectorAll("[data-by]")];
    for (const button of by)
      button.addEventListener("click", () => {
        this.track.by = button.dataset.by;
        by.forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
        this.retheme();
      });
    const acts = { in: ["plus", () => this.map.zoom(1.5)], out: ["minus", () => this.map.zoom(1 / 1.5)], fit: ["fit", () => this.map.home()] };
    for (const [name, [sign, act]] of Object.entries(acts)) {
      const button = document.querySelector(`[data-zoom="${name}"]`);
      button.replaceChildren(icon(sign));
      button.addEventListener("click", act);
    }
  }
}
