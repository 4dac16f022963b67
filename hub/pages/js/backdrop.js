// From the API's bands, findings and gaps to what plots, timeline and map paint behind the data, in seconds.

import { modeColours } from "./plot_paint.js";

const SHORT_PAUSE_S = 6; // a mode is heard once a second: so much silence between two bands says nothing

const span = (b) => ({ from: b.from_utc_us / 1e6, to: b.to_utc_us / 1e6 });

/** Bands without the short pauses between them; those that say the same become one. */
function joined(bands) {
  const out = [];
  for (const band of [...bands].sort((a, b) => a.from - b.from)) {
    const last = out.at(-1);
    const isNear = last && band.from - last.to <= SHORT_PAUSE_S;
    if (isNear && last.label === band.label) last.to = Math.max(last.to, band.to);
    else {
      if (isNear) last.to = band.from;
      out.push({ ...band });
    }
  }
  return out;
}

/** Spans of findings; those of one severity that overlap (found on the aircraft and again in the hub) are one. */
function findingSpans(findings) {
  const spans = findings.map((f) => ({ from: f.start_utc_us / 1e6, to: f.end_utc_us / 1e6, severity: f.severity }));
  const out = [];
  for (const s of spans.sort((a, b) => a.from - b.from)) {
    const same = out.find((o) => o.severity === s.severity && s.from <= o.to);
    if (same) same.to = Math.max(same.to, s.to);
    else out.push(s);
  }
  return out;
}

/** Parts of [from, to] that no armed band covers. */
function unarmedSpans(armed, from, to) {
  const spans = [];
  let at = from;
  for (const band of joined(armed.map(span))) {
    if (band.from - at > SHORT_PAUSE_S / 2) spans.push({ from: at, to: band.from });
    at = Math.max(at, band.to);
  }
  if (to - at > SHORT_PAUSE_S / 2) spans.push({ from: at, to });
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
    modes: joined(modes.map((m) => ({ ...span(m), tone: tones.get(m.mode), label: m.mode }))),
    unarmed: bands.armed?.length ? unarmedSpans(bands.armed, from, to) : [],
    findings: findingSpans(findings),
    gaps: (flight.completeness?.gaps ?? []).filter((g) => g.from_utc_us && g.to_utc_us).map(span),
  };
}

/** Where the flight ends so far, in seconds. A live flight has no end: its duration says how far the data reaches. */
export function endOf(flight) {
  const started = flight.started_utc_us / 1e6;
  const ended = flight.ended_utc_us ? flight.ended_utc_us / 1e6 : 0;
  return Math.max(ended, started + (flight.duration_s ?? 0), started + 1);
}
