// Rows of the flight list: made once, then brought up to date in place, so that focus and selection survive polling.

import { h, setText } from "./dom.js";
import { ago, dateTime, distance, duration, isRealTime, quantity, utc } from "./format.js";
import { findingsBadge, firmwareName, recordBadge, vehicleName } from "./flight_words.js";

const TICKS_FOR_S = 30;

function cell(name, ...children) {
  return h("td", { class: name }, ...children);
}

/** A row {element, update(flight), tick(now)} for one flight. */
export function flightRow(first) {
  let flight = first;
  let seen = "";
  const dot = h("span", { class: "dot" });
  const link = h("a", { href: `/flights/${encodeURIComponent(first.id)}` });
  const vehicle = cell("vehicle");
  const firmware = cell("firmware");
  const start = cell("start num");
  const length = cell("length r num");
  const altitude = cell("altitude r num");
  const way = cell("way r num");
  const findings = cell("findings");
  const record = cell("record");
  const element = h("tr", null, cell("aircraft", dot, link), vehicle, firmware, start, length, altitude, way, findings, record);

  function tick(now) {
    const sinceNewest = flight.state === "live" && flight.ended_utc_us ? now / 1000 - flight.ended_utc_us / 1e6 : 0;
    const isNow = sinceNewest > 0 && sinceNewest < TICKS_FOR_S; // a log that is played back lives at another time
    setText(length, duration(flight.duration_s + (isNow ? sinceNewest : 0)));
    if (isRealTime(flight.started_utc_us)) start.title = `${utc(flight.started_utc_us)} · ${ago(flight.started_utc_us, now)}`;
  }

  function update(next) {
    const now = JSON.stringify(next);
    if (now === seen) return;
    seen = now;
    flight = next;
    const isLive = flight.state === "live";
    element.classList.toggle("is-live", isLive);
    dot.className = `dot${isLive ? " live" : ""}`;
    dot.title = isLive ? "Live" : "Recorded";
    setText(link, flight.aircraft_name || "Unnamed aircraft");
    setText(vehicle, vehicleName(flight.vehicle_type));
    setText(firmware, firmwareName(flight.autopilot, flight.firmware));
    setText(start, dateTime(flight.started_utc_us));
    start.title = utc(flight.started_utc_us);
    setText(altitude, quantity(flight.max_alt_rel_m, "m"));
    setText(way, distance(isLive ? null : flight.distance_m)); // known once it is settled
    findings.replaceChildren(findingsBadge(flight));
    record.replaceChildren(recordBadge(flight));
    tick(Date.now());
  }

  update(first);
  return { element, update, tick, get flight() { return flight; } };
}

/** Rows of grey bars, as many as a screen shows, so that nothing jumps when the data comes. */
export function skeletonRows(n = 8) {
  const widths = ["9ch", "9ch", "14ch", "17ch", "9ch", "6ch", "7ch", "10ch", "9ch"];
  return Array.from({ length: n }, () =>
    h("tr", { "aria-hidden": "true" }, widths.map((w) => h("td", null, h("span", { class: "skeleton bar-of", vars: { "--w": w } }, "\u00a0")))),
  );
}

/** Whether a flight's words contain every word of the search. */
export function matches(flight, search) {
  const text = `${flight.aircraft_name} ${vehicleName(flight.vehicle_type)} ${firmwareName(flight.autopilot, flight.firmware)} ${flight.id} ${dateTime(flight.started_utc_us)} ${flight.risk_level ?? ""}`.toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
