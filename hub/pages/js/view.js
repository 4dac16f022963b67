// What the reader looks at: the flight's extent, the window of it that is shown, and the moment under the cursor.
// Times are seconds since 1970 (the API's microseconds / 1e6). Plots, map, timeline and lists all follow this one object.

const SMALLEST_S = 1;

/** Events: "extent", "window", "cursor". */
export class View extends EventTarget {
  constructor(from, to) {
    super();
    this.extent = { from, to: Math.max(to, from + SMALLEST_S) };
    this.window = { ...this.extent };
    this.hover = null;
    this.pinned = null;
  }

  get cursor() {
    return this.hover ?? this.pinned;
  }

  get isWhole() {
    return this.window.from <= this.extent.from && this.window.to >= this.extent.to;
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }

  /** A live flight grew. Who sees the end keeps seeing it; who looks elsewhere keeps the window. */
  grow(to) {
    if (to <= this.extent.to) return;
    const wasWhole = this.isWhole;
    const sawEnd = this.window.to >= this.extent.to - 0.05;
    const by = to - this.extent.to;
    this.extent.to = to;
    this.#tell("extent");
    if (wasWhole) this.setWindow(this.extent.from, to);
    else if (sawEnd) this.setWindow(this.window.from + by, to);
  }

  /** Show [from, to], kept inside the extent and no shorter than a second. */
  setWindow(from, to) {
    const all = this.extent;
    const span = Math.min(Math.max(to - from, SMALLEST_S), all.to - all.from);
    const start = Math.min(Math.max(from, all.from), all.to - span);
    this.window = { from: start, to: start + span };
    this.#tell("window");
  }

  showAll() {
    this.setWindow(this.extent.from, this.extent.to);
  }

  /** Zoom by `factor` (below 1: closer) about `centre`. */
  zoom(factor, centre = this.cursor ?? (this.window.from + this.window.to) / 2) {
    const { from, to } = this.window;
    const at = Math.min(Math.max(centre, from), to);
    this.setWindow(at - (at - from) * factor, at + (to - at) * factor);
  }

  /** Move the window by a share of its width. */
  pan(share) {
    const by = (this.window.to - this.window.from) * share;
    this.setWindow(this.window.from + by, this.window.to + by);
  }

  /** The moment under the pointer; null when it left. */
  point(time) {
    if (time === this.hover) return;
    this.hover = time;
    this.#tell("cursor");
  }

  /** Keep the cursor at a moment (an event, a finding), and bring it into the window. */
  pin(time) {
    this.pinned = time;
    this.hover = null;
    const { from, to } = this.window;
    if (time !== null && (time < from || time > to)) this.setWindow(time - (to - from) / 2, time + (to - from) / 2);
    this.#tell("cursor");
  }

  /** Show a span with some room on both sides, the cursor at its start. */
  show(from, to) {
    const room = Math.max((to - from) * 1.5, 5);
    this.setWindow(from - room, to + room);
    this.pin(from);
  }
}
