// What happened, in order of time. A press moves the cursor of all plots there.

import { h } from "./dom.js";
import { emptyState } from "./frame.js";
import { words } from "./format.js";

const TONES = { critical: "crit", error: "crit", emergency: "crit", alert: "crit", warning: "warn", notice: "", info: "", debug: "" };
const ALWAYS = new Set(["armed", "disarmed", "mode", "failsafe", "takeoff", "landed", "reboot", "gps"]);

/** Chatter of the autopilot is left out unless asked for. */
const isMain = (event) => ALWAYS.has(event.kind) || Boolean(TONES[event.severity]);

export class EventList {
  constructor(host, { view, axis }) {
    Object.assign(this, { host, view, axis, items: [], isAll: false });
    axis.addEventListener("change", () => this.show());
  }

  set(items) {
    this.items = items;
    this.show();
  }

  #row(event) {
    const time = event.at_utc_us / 1e6;
    const tone = TONES[event.severity] ?? "";
    const press = () => this.view.pin(time);
    return h("li", null, h("button", { class: `event ${tone}`, type: "button", onclick: press }, h("time", { class: "num" }, this.axis.full(time)), h("span", { class: "kind" }, words(event.kind === "statustext" ? "message" : event.kind)), h("span", { class: "text" }, event.text || words(event.kind))));
  }

  show() {
    if (!this.items.length) return this.host.replaceChildren(emptyState("No events yet", "Arming, mode changes and the autopilot's messages appear here."));
    const shown = this.isAll ? this.items : this.items.filter(isMain);
    const rest = this.items.length - shown.length;
    const toggle = () => {
      this.isAll = !this.isAll;
      this.show();
    };
    const more = (rest > 0 || this.isAll) && h("button", { class: "quiet list-more", type: "button", onclick: toggle }, this.isAll ? "Only what matters most" : `Show ${rest} more messages`);
    const top = this.host.scrollTop;
    this.host.replaceChildren(h("ol", { class: "events" }, shown.map((e) => this.#row(e))), more || "");
    this.host.scrollTop = top;
  }
}
