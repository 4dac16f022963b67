// The cards of a log's page: what it is, whose it is, its flights, its messages, how it came.

import { getAll, patch } from "./api.js";
import { h } from "./dom.js";
import { NONE, bytes, clock, count, dateTime, duration, isRealTime, number, utc, words } from "./format.js";
import { firmwareName, vehicleName } from "./flight_words.js";
import { formatName, importerName } from "./log_words.js";

const CLOCKS = { gps: "GPS", system: "the companion's clock", log: "the recorder's stamps", unknown: "unknown: no time of day" };
const METHODS = { origin: "known from this log", boot: "by the time since boot", content: "by what both recorded", utc: "by the time of day" };
const SHOWN_MESSAGES = 24;

function card(title, note, ...children) {
  return h("section", { class: "card part" }, h("div", { class: "card-head" }, h("h2", null, title), note && h("span", { class: "count" }, note)), ...children);
}

function fact([name, value, title]) {
  return h("div", null, h("dt", null, name), h("dd", { class: "num", title: title ?? null }, value || NONE));
}

function uncertainty(boots) {
  const known = boots.map((b) => b.clock_uncertainty_us).filter((us) => us >= 0);
  if (!known.length) return "";
  const most = Math.max(...known) / 1e6;
  return most ? ` ± ${number(most, most < 1 ? 3 : 1)}\u202fs` : "";
}

/** What the log is. */
export function factsCard(log) {
  const s = log.survey ?? {};
  const boots = s.boots ?? [];
  const span = log.first_utc_us === null ? null : (log.last_utc_us - log.first_utc_us) / 1e6;
  const known = isRealTime(log.first_utc_us);
  const rows = [
    ["Firmware", firmwareName("", log.firmware)],
    ["Vehicle", log.vehicle ? vehicleName(log.vehicle) : ""],
    ["Name in the log", s.vehicle_name],
    ["Recorded", known ? `${dateTime(log.first_utc_us)} – ${clock(log.last_utc_us)}` : "no time of day", utc(log.first_utc_us)],
    ["Span", span === null ? "" : duration(span)],
    ["Time from", `${CLOCKS[log.clock_source] ?? words(log.clock_source)}${uncertainty(boots)}`],
    ["Power-ups", boots.length ? number(boots.length) : ""],
    ["Hardware", log.hardware_ids.join(", ")],
    ["Format", formatName(log.format)],
    ["Size", `${bytes(log.size_bytes)}${log.packed_bytes ? `, ${bytes(log.packed_bytes)} packed` : ""}`],
    ["Parameters", number(Object.keys(s.parameters ?? {}).length)],
  ];
  return card("What it is", null, h("dl", { class: "log-facts" }, rows.map(fact)));
}

/** Whose it is; who may say so can. onDone: after it was said. */
export async function ownerCard(log, role, onDone) {
  const canSay = role === "operator" || role === "admin";
  const why = log.reason && !log.assigned_aircraft_id && h("p", { class: log.state === "unassigned" ? "statement warn" : "statement" }, log.reason);
  const fleet = await getAll("aircraft").catch(() => []);
  const said = fleet.find((a) => a.id === log.assigned_aircraft_id)?.name;
  const name = said ?? log.aircraft_name;
  const isPending = said && log.aircraft_id !== log.assigned_aircraft_id;
  const whose = h("p", null, name ? h("b", null, name) : "Nobody knows yet whose log this is.", isPending ? ": its flights are being found" : said ? ", as a person said" : "");
  if (!canSay) return card("Whose it is", null, h("div", { class: "owner" }, whose, why));
  const select = h("select", { "aria-label": "Aircraft of this log" }, h("option", { value: "" }, log.assigned_aircraft_id ? "Take back what was said" : "Choose an aircraft"), fleet.map((a) => h("option", { value: a.id, selected: a.id === (log.assigned_aircraft_id ?? log.aircraft_id) }, a.name)));
  const fault = h("span", { class: "field-error", role: "alert" });
  const button = h("button", { class: "plain", type: "submit" }, "Assign");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await patch(`logs/${log.sha256}`, { aircraft_id: select.value || null });
      onDone();
    } catch (error) {
      fault.textContent = error.message;
    }
    button.disabled = false;
  };
  return card("Whose it is", null, h("div", { class: "owner" }, whose, why, h("form", { class: "assign", onsubmit: submit }, select, button, fault)));
}

function sessionRow(s) {
  const at = isRealTime(s.start_utc_us) ? dateTime(s.start_utc_us) : "no time of day";
  const how = s.method ? METHODS[s.method] ?? words(s.method) : "";
  const flight = s.flight_id ? h("a", { href: `/flights/${encodeURIComponent(s.flight_id)}` }, "Flight") : h("span", { class: "muted" }, "no flight");
  return h("tr", null, h("td", null, number(s.session_no + 1)), h("td", { class: "num", title: utc(s.start_utc_us) }, at), h("td", { class: "num" }, duration((s.end_utc_us - s.start_utc_us) / 1e6)), h("td", null, flight, how && h("small", null, ` ${how}`)), h("td", null, s.inferred ? s.why || "inferred" : "armed to disarmed"));
}

/** Armed to disarmed, with the flights. */
export function sessionsCard(log) {
  const head = ["#", "Start", "Duration", "Flight", "How it is known"].map((t) => h("th", { scope: "col" }, t));
  const table = h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, log.sessions.map(sessionRow)));
  return card("Flights", count(log.sessions.length, "session"), log.sessions.length ? table : h("p", { class: "hint" }, "It was never armed in this log, or the log says nothing about it."));
}

/** Messages by type, the most frequent first. */
export function messagesCard(log) {
  const all = Object.entries(log.survey?.messages ?? {}).sort((a, b) => b[1] - a[1]);
  const item = ([name, n]) => h("li", null, h("code", null, name), h("span", { class: "num" }, number(n)));
  const rest = all.length > SHOWN_MESSAGES && h("details", null, h("summary", null, `${count(all.length - SHOWN_MESSAGES, "more type")}`), h("ul", { class: "counts" }, all.slice(SHOWN_MESSAGES).map(item)));
  return card("Messages", `${number(all.reduce((n, [, k]) => n + k, 0))} of ${count(all.length, "type")}`, h("ul", { class: "counts" }, all.slice(0, SHOWN_MESSAGES).map(item)), rest);
}

/** How it came, each time. */
export function copiesCard(log) {
  const row = (c) => h("li", null, h("span", { class: "num" }, dateTime(c.imported_utc_us)), h("span", null, c.name || NONE), h("span", { class: "muted" }, importerName(c)));
  const parts = log.parts.length > 0 && h("p", { class: "hint" }, `It holds ${count(log.parts.length, "other log")} that came by themselves.`);
  const whole = log.part_of && h("p", { class: "hint" }, "All of it is part of ", h("a", { href: `/logs/${log.part_of}` }, "a longer log"), ".");
  return card("How it came", log.copies.length > 1 ? `${number(log.copies.length)} times, kept once` : null, h("ul", { class: "copies" }, log.copies.map(row)), parts, whole);
}
