// How whole the record is: generated → stored → sent → committed, what was lost between, and why, in words.

import { h, icon } from "./dom.js";
import { isWhole } from "./flight_words.js";
import { sourcesOf } from "./sources.js";
import { NONE, count, dateTime, number } from "./format.js";

const REASONS = {
  evicted: "removed on the aircraft because its storage quota was full",
  store_reset: "lost because the aircraft's store was set aside and begun anew",
  journal_torn: "lost because the journal on the aircraft was damaged, as by a power cut",
  link_overflow: "lost because more arrived on the link than the recorder could take",
  write_failed: "lost because the aircraft's disk refused to write",
};

const length = (range) => (range.first_seq === null || range.first_seq === undefined ? 0 : range.last_seq - range.first_seq + 1);
const total = (ranges) => ranges.reduce((n, r) => n + length(r), 0);

/** "batch 60", "batches 41 to 44". */
const rangeText = (r) => (r.first_seq === r.last_seq ? `batch ${number(r.first_seq)}` : `batches ${number(r.first_seq)} to ${number(r.last_seq)}`);

function gapText(gap) {
  const what = gap.frames === null || gap.frames === undefined ? "An unknown number of frames" : count(gap.frames, "frame");
  const where = length(gap) ? ` (${rangeText(gap)})` : "";
  const when = gap.from_utc_us ? `, recorded ${dateTime(gap.from_utc_us)}` : "";
  const were = gap.frames === 1 ? "was" : "were";
  return `${what}${where} ${were} ${REASONS[gap.reason] ?? `lost: ${gap.reason}`}${when}.${gap.detail ? ` ${gap.detail[0].toUpperCase()}${gap.detail.slice(1)}.` : ""} The aircraft signed this gap.`;
}

/** The losses that are known, each {text, tone}. */
function losses(c, isLive) {
  const found = [];
  for (const [source, n] of Object.entries(c.wire_lost ?? {}))
    if (n) found.push({ tone: "warn", text: `${count(n, "frame")} of system ${source.replace("/", ", component ")} never reached the recorder: the sequence numbers on the link between autopilot and companion skip them.` });
  for (const gap of c.gaps ?? []) found.push({ tone: "warn", text: gapText(gap) });
  for (const range of c.missing ?? []) {
    const one = range.first_seq === range.last_seq;
    found.push({ tone: isLive ? "warn" : "crit", text: `${rangeText(range)[0].toUpperCase()}${rangeText(range).slice(1)} ${one ? "has" : "have"} not arrived, and no gap is signed for ${one ? "it" : "them"}: the aircraft holds ${one ? "it" : "them"} until the next contact.` });
  }
  if (c.bad_crc) found.push({ tone: "warn", text: `${count(c.bad_crc, "packet")} on the link failed the checksum and ${c.bad_crc === 1 ? "is" : "are"} not counted as frames.` });
  if (c.junk_bytes) found.push({ tone: "", text: `${count(c.junk_bytes, "byte")} on the link between frames were no MAVLink.` });
  if (c.chain_ok === false) found.push({ tone: "crit", text: "The signature chain is broken: a batch is missing from it or was changed. The evidence file says which." });
  return found;
}

function stage(name, value, detail, tone, note) {
  return h("li", { class: `stage ${tone}` }, h("span", { class: "stage-mark" }, tone === "ok" && icon("check"), tone === "crit" && icon("cross"), tone === "warn" && icon("warn")), h("span", { class: "stage-name" }, name), h("b", { class: "num" }, value), h("span", { class: "stage-detail" }, detail), note && h("span", { class: `stage-loss ${note.tone}` }, note.text));
}

function stages(c, isLive) {
  const wire = Object.values(c.wire_lost ?? {}).reduce((a, b) => a + b, 0);
  const gapFrames = (c.gaps ?? []).reduce((n, g) => n + (g.frames ?? 0), 0);
  const gapBatches = total(c.gaps ?? []);
  const missing = total(c.missing ?? []);
  const known = c.generated_frames !== null && c.generated_frames !== undefined;
  const wait = isLive ? "counting" : "not known";
  const sealed = c.sealed_batches ?? (c.committed_batches ?? 0) + missing + gapBatches; // while open: as far as the hub knows
  const open = isLive ? "open" : "warn";
  const lost = gapBatches || gapFrames ? { tone: "warn", text: gapBatches ? `−${count(gapBatches, "batch", "batches")}` : `−${count(gapFrames, "frame")}` } : null;
  return [
    stage("Generated", known ? number(c.generated_frames + wire) : NONE, known ? "frames by the autopilot" : `frames: ${wait}`, known ? (wire ? "warn" : "ok") : open),
    stage("Stored", known ? number(c.generated_frames) : NONE, known ? "frames on the aircraft" : `frames: ${wait}`, known ? (gapFrames ? "warn" : "ok") : open, wire ? { tone: "warn", text: `−${number(wire)}` } : null),
    stage("Sent", number(sealed - gapBatches), "signed batches", isLive ? "open" : gapBatches || gapFrames ? "warn" : "ok", lost),
    stage("Committed", number(c.committed_frames), `frames in ${count(c.committed_batches ?? 0, "batch", "batches")}`, isLive ? "open" : missing ? "crit" : "ok", missing ? { tone: "crit", text: `−${count(missing, "batch", "batches")}` } : null),
  ];
}

/** A flight without a live stream: there is nothing to count, only where it is from. */
function showLogOnly(host, flight, c) {
  host.dataset.tone = "accent";
  host.replaceChildren(h("div", { class: "verdict" }, h("h2", null, h("span", { class: "badge accent" }, "From a log")), h("p", { class: "statement" }, c.statement ?? "")), sourcesOf(flight) ?? "");
}

/** Fill `host` with the completeness of a flight. */
export function showCompleteness(host, flight) {
  const c = flight.completeness;
  if (!c) return host.replaceChildren(h("p", { class: "statement" }, "The hub says nothing about the completeness of this flight."));
  if (flight.origin === "log") return showLogOnly(host, flight, c);
  const isLive = flight.state === "live";
  const found = losses(c, isLive);
  const isAll = isWhole(flight);
  const tone = isLive ? "accent" : isAll ? "ok" : "crit";
  const verdict = isLive ? "Recording" : isAll ? (c.gaps?.length ? "Accounted for" : "Complete") : "Not complete";
  const wasOpen = host.querySelector(".losses:not(.sources)")?.open ?? !isLive;
  host.dataset.tone = tone;
  host.replaceChildren(
    h("div", { class: "verdict" }, h("h2", null, h("span", { class: `badge ${tone}` }, !isLive && icon(isAll ? "check" : "warn"), verdict)), h("p", { class: "statement" }, c.statement ?? "")),
    h("ol", { class: "stages", "aria-label": "From the autopilot to the hub" }, stages(c, isLive)),
    found.length ? h("details", { class: "losses", open: wasOpen }, h("summary", null, count(found.length, "remark")), h("ul", null, found.map((l) => h("li", { class: l.tone }, l.text)))) : "",
    sourcesOf(flight) ?? "",
  );
}
