// Rows of the list of logs: made once, then brought up to date in place.

import { h, setText } from "./dom.js";
import { bytes, count, utc } from "./format.js";
import { fileName, formatName, importerName, recordedAt, stateBadge } from "./log_words.js";

function flights(log) {
  if (!log.flights.length) return h("span", { class: "muted" }, log.state === "parsed" ? "none" : "");
  const one = log.flights.length === 1;
  return h("a", { href: one ? `/flights/${encodeURIComponent(log.flights[0])}` : `/logs/${log.sha256}`, class: "to-flight" }, count(log.flights.length, "flight"));
}

/** A row {element, update(log)} for one log. */
export function logRow(first) {
  let seen = "";
  const cell = (name, ...children) => h("td", { class: name }, ...children);
  const link = h("a", { href: `/logs/${encodeURIComponent(first.sha256)}` });
  const parts = { craft: cell("vehicle"), format: cell("firmware"), at: cell("start num"), size: cell("length r num"), flights: cell("findings"), by: cell("way"), state: cell("record") };
  const element = h("tr", null, cell("aircraft", link), ...Object.values(parts));

  function update(log) {
    const now = JSON.stringify(log);
    if (now === seen) return;
    seen = now;
    setText(link, fileName(log));
    link.title = `${log.name || ""}\nSHA-256 ${log.sha256}`;
    setText(parts.craft, log.aircraft_name ?? (log.state === "unassigned" ? "nobody knows" : ""));
    setText(parts.format, formatName(log.format));
    setText(parts.at, recordedAt(log));
    parts.at.title = log.first_utc_us === null ? "" : utc(log.first_utc_us);
    setText(parts.size, bytes(log.size_bytes));
    setText(parts.by, importerName(log));
    parts.flights.replaceChildren(flights(log));
    parts.state.replaceChildren(stateBadge(log));
  }

  update(first);
  return { element, update };
}
