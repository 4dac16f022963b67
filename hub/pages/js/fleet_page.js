// The fleet: every aircraft with its newest state, online ones first, on a list and on a map.

import { byId, h, icon, onTheme, setText } from "./dom.js";
import { FleetLayer } from "./fleet_map.js";
import { firmwareName, vehicleName } from "./flight_words.js";
import { ago, count, quantity, utc } from "./format.js";
import { emptyState, errorState, openFrame, showLink } from "./frame.js";
import { MapView } from "./map_view.js";
import { poll } from "./poll.js";

const CLOSE_M = 800; // how much is shown round a chosen aircraft
const layer = new FleetLayer();
const map = new MapView(byId("map"), { layers: [layer], onHover: (p) => point(p && layer.at(p)), onClick: (p) => clickMap(p) });
let fleet = [];

function battery(newest) {
  const left = newest?.battery_remaining_pct;
  const tone = left === null || left === undefined || left < 0 ? "" : left <= 15 ? "crit" : left <= 30 ? "warn" : "";
  const volts = quantity(newest?.battery_v, "V", 1);
  return [left > 0 || left === 0 ? `${quantity(left, "%")} · ${volts}` : volts, tone];
}

function facts(newest) {
  if (!newest) return null;
  const [charge, tone] = battery(newest);
  const one = (name, value, kind = "") => h("div", null, h("dt", null, name), h("dd", { class: `num ${kind}`, title: value }, value));
  const mode = newest.mode ? `${newest.mode}${newest.armed ? " · armed" : ""}` : newest.armed ? "armed" : "–";
  return h("dl", null, one("Mode", mode), one("Battery", charge, tone), one("Altitude", quantity(newest.alt_rel_m, "m")), one("Speed", quantity(newest.groundspeed_mps, "m/s", 1)));
}

function links(craft) {
  const newest = craft.newest?.flight_id;
  const one = newest && h("a", { href: `/flights/${encodeURIComponent(newest)}` }, craft.online && craft.newest.armed ? "Live flight" : "Newest flight");
  return h("span", { class: "links" }, one, h("a", { href: `/?aircraft_id=${encodeURIComponent(craft.id)}` }, "All flights"));
}

function item(craft) {
  const isChosen = craft.id === layer.chosen;
  const name = h("button", { type: "button", "aria-pressed": String(isChosen), "data-id": craft.id, onclick: () => choose(craft.id) }, craft.name || "Unnamed aircraft");
  const dot = h("span", { class: `dot ${craft.online ? "live" : ""}`, title: craft.online ? "Online" : "Offline" });
  const kind = craft.vehicle_type || craft.firmware ? [vehicleName(craft.vehicle_type), firmwareName(craft.autopilot, craft.firmware)].filter((t) => t !== "–").join(" · ") : craft.newest?.flight_id ? "Type not known" : "No flight yet";
  return h("li", { class: `craft ${isChosen ? "is-chosen" : ""}`, "data-craft": craft.id }, h("div", { class: "craft-name" }, dot, name), h("span", { class: "seen num", title: utc(craft.last_seen_utc_us) }, craft.online ? "online" : ago(craft.last_seen_utc_us)), h("span", { class: "type" }, kind), links(craft), facts(craft.newest));
}

function show() {
  const focused = document.activeElement?.dataset?.id;
  const sorted = [...fleet].sort((a, b) => Number(b.online) - Number(a.online) || (b.last_seen_utc_us ?? 0) - (a.last_seen_utc_us ?? 0));
  byId("aircraft").replaceChildren(...sorted.map(item));
  byId("aircraft").removeAttribute("aria-busy");
  if (focused) byId("aircraft").querySelector(`button[data-id="${CSS.escape(focused)}"]`)?.focus();
  const online = fleet.filter((a) => a.online).length;
  setText(byId("summary"), fleet.length ? `${online} online · ${count(fleet.length, "aircraft", "aircraft")}` : "");
  const none = emptyState("No aircraft yet", "An aircraft appears here once its agent is enrolled:", h("code", null, "./dbx agent enroll HUB_URL CODE"));
  byId("state").replaceChildren(...(fleet.length ? [] : [none]));
  const has = layer.set(fleet, map);
  byId("map-note").hidden = has;
  if (has && !map.isFree && !layer.chosen) map.fit(layer.bounds(), CLOSE_M);
  map.draw();
}

function choose(id) {
  layer.chosen = id === layer.chosen ? null : id;
  const mark = layer.marks.find((m) => m.id === layer.chosen);
  map.isFree = false;
  if (mark) map.fit({ x0: mark.x, y0: mark.y, x1: mark.x, y1: mark.y }, CLOSE_M);
  show();
}

function clickMap(pixel) {
  const group = layer.at(pixel);
  if (!group) return;
  if (group.marks.length === 1) return choose(group.marks[0].id);
  const [x, y] = [group.marks.map((m) => m.x), group.marks.map((m) => m.y)];
  map.isFree = true;
  map.fit({ x0: Math.min(...x), y0: Math.min(...y), x1: Math.max(...x), y1: Math.max(...y) }, CLOSE_M);
}

function point(group) {
  byId("map").style.cursor = group ? "pointer" : "grab";
  const ids = new Set(group?.marks.map((m) => m.id));
  for (const row of document.querySelectorAll("[data-craft]")) row.classList.toggle("is-pointed", ids.has(row.dataset.craft));
}

function listenZoom() {
  const home = () => {
    layer.chosen = null;
    map.isFree = false;
    show();
  };
  const acts = { in: ["plus", () => map.zoom(1.5)], out: ["minus", () => map.zoom(1 / 1.5)], fit: ["fit", home] };
  for (const [name, [sign, act]] of Object.entries(acts)) {
    const button = document.querySelector(`[data-zoom="${name}"]`);
    button.replaceChildren(icon(sign));
    button.addEventListener("click", act);
  }
}

byId("aircraft").replaceChildren(...Array.from({ length: 4 }, () => h("li", { class: "craft", "aria-hidden": "true" }, h("span", { class: "skeleton" }, "\u00a0"), h("dl", null, h("dd", { class: "skeleton" }, "\u00a0")))));
listenZoom();
openFrame();
onTheme(() => map.draw());
const polled = poll("aircraft", {
  query: () => ({ limit: 200 }),
  onData(page) {
    fleet = page.items;
    byId("trouble").replaceChildren();
    show();
  },
  onError(error) {
    if (fleet.length || !error) return showLink(error);
    byId("aircraft").replaceChildren();
    byId("trouble").replaceChildren(errorState(error, () => polled.now()));
  },
});
setInterval(() => document.activeElement?.closest("#aircraft") || show(), 10000); // "3 min ago" goes on
