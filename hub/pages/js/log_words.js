// How a recorded log's facts are said, the same in the list and on its page.

import { h, icon } from "./dom.js";
import { bytes, dateTime, isRealTime, words } from "./format.js";

const FORMATS = { dataflash: "DataFlash", "dataflash-text": "DataFlash, text", ulog: "ULog", tlog: "Telemetry log", raw: "Raw MAVLink" };
const STATES = {
  arriving: ["accent", "Arriving"],
  whole: ["accent", "Being read"],
  damaged_in_transit: ["crit", "Damaged on the way"],
  parsed: ["calm", "Read"],
  unassigned: ["warn", "Whose is it?"],
  failed: ["crit", "Cannot be read"],
};
const ORIGINS = { card: "from a card", upload: "uploaded", offload: "fetched from the autopilot", api: "uploaded" };

/** The format as people call it. */
export const formatName = (format) => FORMATS[format] ?? (format ? words(format) : "not known yet");

/** The state as a badge; its reason is on the page and in the title. */
export function stateBadge(log) {
  const [tone, name] = STATES[log.state] ?? ["", words(log.state)];
  const damaged = log.damaged_bytes && log.state !== "failed";
  if (log.state === "parsed" && damaged) return h("span", { class: "badge warn", title: log.reason || null }, `${bytes(log.damaged_bytes)} damaged`);
  return h("span", { class: `badge ${tone}`, title: log.reason || null }, log.state === "parsed" && icon("check"), name);
}

/** When it was recorded, or that it does not say. */
export const recordedAt = (log) => (log.first_utc_us !== null && isRealTime(log.first_utc_us) ? dateTime(log.first_utc_us) : log.format ? "no time of day" : "");

/** Who brought it, and how. */
export function importerName(log) {
  const how = ORIGINS[log.origin] ?? (log.origin ? words(log.origin).toLowerCase() : "");
  return [log.importer_name === "uploads" ? "" : log.importer_name, how].filter(Boolean).join(", ");
}

/** The file's own name, without the folders. */
export const fileName = (log) => (log.name || "").split(/[\\/]/).pop() || `${log.sha256.slice(0, 12)}…`;
