// From the API's bands, findings and gaps to what plots, timeline and map paint behind the data, in seconds.

import { modeColours } from "./plot_paint.js";

const span = (b) => ({ from: b.from_utc_us / 1e6, to: b.to_utc_us / 1e6 });

/** Parts of [from, to] that no armed band covers. */
function unarmedSpans(armed, from, to) {
  const spans = [];
  let at = from;
  for (const band of armed.map(span).sort((a, b) => a.from - b.from)) {
    if (band.from > at) spans.push({ from: at, to: band.from });
    at = Math.max(at, band.to);
  }
  if (at < to) spans.push({ from: at, to });
  return spans;
}

/** {modes: [{from, to, tone, label}], unarmed, findings: [{from, to, severity}], gaps} of a flight. */
export function backdropOf(flight, findings) {
  const bands = flight.bands ?? {};
  const modes = bands.modes ?? [];
  const tones = modeColours(modes);
  const from = flight.started_utc_us / 1e6;
  const to = endOf(flight);
  return {
    modes: modes.map((m) => ({ ...span(m), tone: tones.get(m.mode), label: m.mode })),
    unarmed: bands.armed?.length ? unarmedSpans(bands.armed, from, to) : [],
    findings: findings.map((f) => ({ from: f.start_utc_us / 1e6, to: f.end_utc_us / 1e6, severity: f.severity })),
    gaps: (flight.completeness?.gaps ?? []).filter((g) => g.from_utc_us && g.to_utc_us).map(span),
  };
}

/** Where the flight ends so far, in seconds. A live flight has no end: its duration says how far the data reaches. */
export function endOf(flight) {
  const started = flight.started_utc_us / 1e6;
  const ended = flight.ended_utc_us ? flight.ended_utc_us / 1e6 : 0;
  return Math.max(ended, started + (flight.duration_s ?? 0), started + 1);
}
