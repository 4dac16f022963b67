// The head of a flight's page: who, when, the facts, and what can be taken away.

import { h, icon, setText } from "./dom.js";
import { fillSheet } from "./export_sheet.js";
import { clock, dateTime, distance, duration, isRealTime, number, quantity, utc, words } from "./format.js";
import { findingsBadge, firmwareName, vehicleName } from "./flight_words.js";

const CLOCKS = { gps: "GPS time", system: "companion's clock", log: "stamps of the log", unknown: "clock not set" };

function facts(flight) {
  const a = flight.analysis;
  const type = a?.detected_aircraft_type;
  return [
    ["Start", isRealTime(flight.started_utc_us) ? `${dateTime(flight.started_utc_us).replace(/ \d\d:\d\d$/, "")} ${clock(flight.started_utc_us)}` : "clock not set", `${utc(flight.started_utc_us)} · ${CLOCKS[flight.clock_source] ?? words(flight.clock_source)}`],
    ["Duration", duration(flight.duration_s)],
    ["Max altitude", quantity(flight.max_alt_rel_m, "m"), "above home"],
    ["Distance", distance(flight.state === "live" ? null : flight.distance_m), "known once the flight is settled"],
    ["Max speed", quantity(flight.max_groundspeed_mps, "m/s", 1), "over ground"],
    ["Vehicle", vehicleName(flight.vehicle_type), type ? `The model recognises: ${vehicleName(type)}${a.aircraft_confidence ? ` (${number(a.aircraft_confidence * 100)} %)` : ""}` : null],
    ["Firmware", firmwareName(flight.autopilot, flight.firmware)],
    ["Time from", isRealTime(flight.started_utc_us) ? (CLOCKS[flight.clock_source] ?? words(flight.clock_source)) : "boot of the autopilot"],
  ];
}

/** Bring the head up to date; elements are made once and their text replaced. */
export function showHead(flight, { title, crumb, badges, factList }) {
  setText(title, flight.aircraft_name || "Unnamed aircraft");
  setText(crumb, dateTime(flight.started_utc_us));
  document.title = `${flight.aircraft_name || "Flight"} · ${dateTime(flight.started_utc_us)} · DBX Aviation`;
  const live = flight.state === "live" && h("span", { class: "badge live-badge" }, h("span", { class: "dot live" }), "Live");
  badges.replaceChildren(...[live, findingsBadge(flight)].filter(Boolean));
  const all = facts(flight);
  if (factList.children.length !== all.length) factList.replaceChildren(...all.map(([name]) => h("div", null, h("dt", null, name), h("dd", { class: "num" }))));
  all.forEach(([, value, note], i) => {
    setText(factList.children[i].lastChild, value);
    factList.children[i].title = note ?? "";
  });
}

const base = (flight) => `/v1/flights/${encodeURIComponent(flight.id)}`;
const MAIN_CHANNELS = "lat_deg,lon_deg,alt_msl_m,alt_rel_m,groundspeed_mps,airspeed_mps,climb_mps,roll_rad,pitch_rad,yaw_rad,heading_deg,throttle_pct,battery_v,battery_a,battery_remaining_pct,vibe_x_mps2,vibe_y_mps2,vibe_z_mps2,gps_fix,gps_satellites,gps_hdop,motor_output_us,armed,flight_mode";

/** The files of a flight: [name, what it is, address, whether there is a private form]. */
function files(flight) {
  const table = (format) => `${base(flight)}/telemetry?${new URLSearchParams({ channels: MAIN_CHANNELS, resolution: "raw", format })}`;
  const logs = (flight.logs ?? []).map((l) => ["Log", `${(l.name || l.sha256.slice(0, 12)).split(/[\\/]/).pop()}, byte for byte`, `/v1/logs/${l.sha256}/original`, false]);
  const live = flight.origin !== "log";
  return [
    ...(live ? [["tlog", "every MAVLink frame, byte for byte", `${base(flight)}/flight.tlog`, true]] : []),
    ...logs,
    ["MCAP", "track and main channels, for Foxglove", table("mcap"), true],
    ["CSV", "main channels at 10 Hz, for a spreadsheet", table("csv"), true],
    ["Parquet", "main channels at 10 Hz, for analysis", table("parquet"), true],
    ["GeoJSON", "the track", `${base(flight)}/track?format=geojson`, true],
    ["KML", "the track, for Google Earth", `${base(flight)}/track?format=kml`, true],
    ["GPX", "the track, for maps", `${base(flight)}/track?format=gpx`, true],
    ...(live ? [["Evidence", "signed batches, chain and receipts in one file", `${base(flight)}/evidence`, false]] : []),
  ];
}

/** Fill the download sheet. */
export function showDownloads(menu, flight) {
  const command = "./dbx verify FILE";
  const copy = h("button", { class: "icon", type: "button", "aria-label": "Copy the command", onclick: () => navigator.clipboard?.writeText(command) }, icon("copy"));
  fillSheet(menu, files(flight), h("p", { class: "hint verify" }, "Anyone can check the evidence file, without this hub or a network: ", h("code", null, command), copy));
}
