// Round moments for the time axis, and how a moment is written: local, UTC, or since the start of the flight.

import { clock, elapsed, isRealTime } from "./format.js";

const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
const KEY = "dbx-time-axis";

/** How times are shown; kept in the browser. A flight without a time of day can only count from its start. */
export class TimeAxis extends EventTarget {
  constructor(startS) {
    super();
    this.start = startS;
    this.hasClock = isRealTime(startS * 1e6);
    const kept = this.hasClock ? localStorage.getItem(KEY) : null;
    this.mode = ["local", "utc", "elapsed"].includes(kept) ? kept : "elapsed";
  }

  setMode(mode) {
    this.mode = mode;
    localStorage.setItem(KEY, mode);
    this.dispatchEvent(new Event("change"));
  }

  /** Moments on round steps so that no more than `most` lie in [from, to]. */
  splits(from, to, most) {
    const wanted = (to - from) / Math.max(most, 1);
    const step = STEPS_S.find((s) => s >= wanted) ?? Math.ceil(wanted / 86400) * 86400;
    const zero = this.mode === "elapsed" ? this.start : this.mode === "local" ? new Date(from * 1000).getTimezoneOffset() * 60 : 0;
    const first = Math.ceil((from - zero) / step - 1e-6);
    const last = Math.floor((to - zero) / step + 1e-6);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => zero + (first + i) * step);
  }

  /** A tick's label: no more digits than the step needs. */
  label(time, stepS = 1) {
    if (this.mode === "elapsed") return elapsed(time - this.start, stepS < 1 ? 1 : 0).replace("T+", "");
    const fraction = stepS < 1 ? (Math.round(time * 10) / 10).toFixed(1).slice(-2) : "";
    if (this.mode === "utc") return new Date(time * 1000).toISOString().slice(11, 19) + fraction;
    return clock(time * 1e6) + fraction;
  }

  /** One moment in full, for the cursor and the lists. */
  full(time) {
    if (this.mode === "elapsed") return elapsed(time - this.start);
    return this.label(time, 0.1);
  }
}
