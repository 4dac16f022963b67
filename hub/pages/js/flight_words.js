// How a flight's facts are said, the same in the list and on its page.

import { h, icon } from "./dom.js";
import { count, words } from "./format.js";

const VEHICLES = {
  quadrotor: "Quadcopter", hexarotor: "Hexacopter", octorotor: "Octocopter", tricopter: "Tricopter", coaxial: "Coaxial copter", dodecarotor: "Dodecacopter",
  fixed_wing: "Aeroplane", helicopter: "Helicopter", vtol: "VTOL", ground_rover: "Rover", surface_boat: "Boat", submarine: "Submarine", airship: "Airship", antenna_tracker: "Antenna tracker",
};
const BY_MAV_TYPE = { 1: "fixed_wing", 2: "quadrotor", 3: "coaxial", 4: "helicopter", 10: "ground_rover", 11: "surface_boat", 12: "submarine", 13: "hexarotor", 14: "octorotor", 15: "tricopter", 19: "vtol", 20: "vtol", 21: "vtol", 22: "vtol", 23: "vtol", 24: "vtol", 25: "vtol", 29: "dodecarotor" };
const AUTOPILOTS = { ardupilot: "ArduPilot", ardupilotmega: "ArduPilot", px4: "PX4", 3: "ArduPilot", 12: "PX4" };

/** The vehicle's type in words; accepts the API's name or a MAV_TYPE number. */
export function vehicleName(type) {
  const name = BY_MAV_TYPE[type] ?? type;
  return VEHICLES[name] ?? words(name);
}

/** "ArduPilot 4.6.3": the autopilot is not repeated where the firmware's text names it already. */
export function firmwareName(autopilot, firmware) {
  const maker = AUTOPILOTS[autopilot] ?? (autopilot ? words(autopilot) : "");
  const text = String(firmware ?? "").trim();
  if (!text) return maker || words("");
  return !maker || /[a-z]{3}/i.test(text) ? text : `${maker} ${text}`;
}

const RISK_TONES = { critical: "crit", high: "crit", medium: "warn", moderate: "warn", low: "ok", nominal: "ok", none: "ok" };

/** What the analysis says, in one badge; a number of findings outranks a level without any. */
export function findingsBadge(flight) {
  const level = flight.risk_level ? String(flight.risk_level).toLowerCase() : null;
  if (flight.findings) {
    const tone = RISK_TONES[level] === "crit" ? "crit" : "warn";
    const risk = level ? ` · ${level} risk` : "";
    return h("span", { class: `badge ${tone}` }, `${count(flight.findings, "finding")}${risk}`);
  }
  if (!level) return h("span", { class: "muted" }, flight.state === "live" ? "none so far" : "not analysed yet");
  const tone = RISK_TONES[level] === "ok" ? "calm" : (RISK_TONES[level] ?? "");
  return h("span", { class: `badge ${tone}` }, `${level} risk`);
}

/** Batches that are known to be missing, where the API says how many. */
function missingBatches(flight) {
  if (Number.isInteger(flight.missing_batches)) return flight.missing_batches;
  const ranges = flight.completeness?.missing;
  return ranges ? ranges.reduce((n, r) => n + r.last_seq - r.first_seq + 1, 0) : null;
}

/** Complete, open, or how much is missing. */
export function recordBadge(flight) {
  if (flight.state === "live") return h("span", { class: "badge accent", title: "Being recorded: completeness is known when the flight is closed" }, "Open");
  if (flight.complete) return h("span", { class: "badge calm" }, icon("check"), "Complete");
  const missing = missingBatches(flight);
  return h("span", { class: "badge crit" }, missing ? `${count(missing, "batch", "batches")} missing` : "Incomplete");
}
