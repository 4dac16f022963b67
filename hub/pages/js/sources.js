// Where the rows of a flight come from: the live stream, and which log filled or bettered which span, in words.

import { h } from "./dom.js";
import { clock, count, duration, isRealTime, number, words } from "./format.js";

const KINDS = { onboard: "the autopilot's own log", telemetry: "a ground station's log", live: "the live stream" };
const METHODS = { origin: "the flight is known from it", boot: "laid over it by the time since boot", content: "laid over it by what both recorded", utc: "laid over it by the time of day" };
const FEW = 4;
const UNIT = /_(deg|m|mps2?|rad|radps|ut|pa|pct|v|a|mah|us)$/;

const span = (s, start) => (isRealTime(s.from_utc_us) ? `${clock(s.from_utc_us)} to ${clock(s.to_utc_us)}` : `T+${number((s.from_utc_us - start) / 1e6)} to T+${number((s.to_utc_us - start) / 1e6)}\u202fs`);

function channels(names) {
  if (!names) return "all channels";
  return names.length > FEW ? count(names.length, "channel") : names.map((n) => words(n.replace(UNIT, "")).toLowerCase()).join(", ");
}

/** Spans of one source that say the same of their channels, as one line each. */
function lines(sources, start) {
  return sources.map((s) => h("li", { title: s.channels?.join(", ") ?? null }, h("span", { class: "num" }, span(s, start)), `: ${channels(s.channels)}, ${count(s.rows, "row")}`));
}

function name(source) {
  if (!source.sha256) return h("b", null, "Live stream");
  return h("b", null, h("a", { href: `/logs/${source.sha256}` }, (source.name || source.sha256.slice(0, 12)).split(/[\\/]/).pop()));
}

function group(sources, logs, start) {
  const log = logs.find((l) => l.sha256 === sources[0].sha256);
  const how = log && METHODS[log.method];
  const apart = log?.offset_us ? `, ${number(Math.abs(log.offset_us) / 1e6, 1)}\u202fs apart` : "";
  return h("li", null, name(sources[0]), h("span", { class: "muted" }, ` ${KINDS[sources[0].kind] ?? words(sources[0].kind)}${how ? `; ${how}${apart}` : ""}`), h("ul", null, lines(sources, start)));
}

/** The sources as an element; null where everything came live. */
export function sourcesOf(flight) {
  const sources = flight.sources ?? [];
  const logs = flight.logs ?? [];
  if (!logs.length && !sources.some((s) => s.sha256)) return null;
  const byName = sources.reduce((m, s) => m.set(s.sha256, [...(m.get(s.sha256) ?? []), s]), new Map());
  const unused = logs.filter((l) => !byName.has(l.sha256)).map((l) => h("li", null, name(l), h("span", { class: "muted" }, " adds nothing that better sources lack")));
  const c = flight.completeness ?? {};
  const summary = c.lost_s ? `Sources: ${duration(c.filled_s)} of ${duration(c.lost_s)} without live data filled from logs` : `Sources: ${count(byName.size, "source")}`;
  return h("details", { class: "losses sources", open: true }, h("summary", null, summary), h("ul", null, [...byName.values()].map((s) => group(s, logs, flight.started_utc_us)), unused));
}
