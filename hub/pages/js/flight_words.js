// How a flight's facts are said, the same in the list and on its page.

import { h, icon } from "./dom.js";
import { NONE, count, words } from "./format.js";

const VEHICLES = { plane: "Aeroplane", copter: "Multicopter", helicopter: "Helicopter", quadplane: "Quadplane", rover: "Rover", boat: "Boat", submarine: "Submarine", tracker: "Antenna tracker" };

/** The vehicle's class in words. */
export const vehicleName = (name) => VEHICLES[name] ?? words(name);

/** "ArduPilot 4.6.3": the autopilot is not repeated where the firmware's text names it already. */
export function firmwareName(autopilot, firmware) {
  const maker = autopilot && autopilot !== "unknown" ? autopilot : "";
  const text = String(firmware ?? "").trim();
  if (!text) return maker || NONE;
  return !maker || text.startsWith(maker) || /[a-z]{3}/i.test(text) ? text : `${maker} ${text}`;
}

const SETTLES_WITHIN_US = 600e6;
const RISK_TONES = { critical: "crit", high: "crit", medium: "warn", moderate: "warn", low: "ok", nominal: "ok", none: "ok" };

/** What the analysis says, in one badge; a number of findings outranks a level without any. */
export function findingsBadge(flight) {
  const level = flight.risk_level ? String(flight.risk_level).toLowerCase() : null;
  if (flight.findings) {
    const tone = RISK_TONES[level] === "crit" ? "crit" : "warn";
    const risk = level ? ` · ${level} risk` : "";
    return h("span", { class: `badge ${tone}` }, `${count(flight.findings, "finding")}${risk}`);
  }
  if (!level) return h("span", { class: "muted" }, flight.state === "live" ? "no findings so far" : "not analysed yet");
  const tone = RISK_TONES[level] === "ok" ? "calm" : (RISK_TONES[level] ?? "");
  return h("span", { class: `badge ${tone}` }, `${level} risk`);
}

/** Batches that are known to be missing, where the API says how many. */
function missingBatches(flight) {
  if (Number.isInteger(flight.missing_batches)) return flight.missing_batches;
  const ranges = flight.completeness?.missing;
  return ranges ? ranges.reduce((n, r) => n + r.last_seq - r.first_seq + 1, 0) : null;
}

/** Settling and analysis follow the landing by seconds; until then a closed flight is not called incomplete. */
const isStillChecked = (flight) => !flight.risk_level && Date.now() * 1000 - (flight.ended_utc_us ?? 0) < SETTLES_WITHIN_US;

/**
 * Whether all that the aircraft journaled is in the hub or under a signed gap record. A flight's own page counts; the
 * list has the hub's word alone.
 */
export function isWhole(flight) {
  const c = flight.completeness;
  if (flight.complete || !c) return flight.complete;
  const lost = c.gaps.reduce((n, g) => n + (g.frames ?? 0), 0);
  return c.manifest && c.chain_ok && !c.missing.length && c.committed_frames + lost === c.generated_frames;
}

/** Complete, open, or how much is missing. */
export function recordBadge(flight) {
  if (flight.state === "live") return h("span", { class: "badge accent", title: "Being recorded: completeness is known when the flight is closed" }, "Open");
  if (flight.origin === "log") return h("span", { class: "badge calm", title: "Known from recorded logs alone" }, "From a log");
  if (isWhole(flight)) return h("span", { class: "badge calm" }, icon("check"), "Complete");
  const missing = missingBatches(flight);
  if (missing) return h("span", { class: "badge crit" }, `${count(missing, "batch", "batches")} missing`);
  if (isStillChecked(flight)) return h("span", { class: "badge", title: "Closed a moment ago; the hub is still checking it" }, "Checking");
  return h("span", { class: "badge crit" }, "Incomplete");
}
