// Open alerts and refused batches, each with its reason and, where it helps, what to do.

import { get, post } from "./api.js";
import { h } from "./dom.js";
import { ago, bytes, count, dateTime, utc, words } from "./format.js";

const SHOWN = 20;
const TONES = { critical: "crit", warning: "warn", info: "accent" };
const REASONS = {
  bad_signature: "The signature does not fit the key: the bytes were changed on the way, or signed by another.",
  unknown_key: "No device of this hub has this key: the aircraft was never enrolled here, or enrolled anew.",
  revoked_key: "The key is revoked. If the aircraft is yours and sound, enrol it again.",
  sequence_conflict: "The same sequence came with two contents: look for a second recorder with the same identity.",
  stream_of_other_aircraft: "A stream that belongs to another aircraft: look for a copied identity.",
  session_of_other_aircraft: "A flight that belongs to another aircraft: look for a copied identity.",
  topic_of_other_aircraft: "Sent on another aircraft's topic.",
  topic_of_other_organisation: "Sent on another organisation's topic.",
};

const when = (us) => h("time", { class: "num", title: `${dateTime(us)} · ${utc(us)}` }, ago(us));
const times = (n) => (n > 1 ? ` · ${count(n, "time")}` : "");

function card(title, note, rows) {
  return h("section", { class: "card notices" }, h("div", { class: "card-head" }, h("h2", null, title), note && h("span", { class: "count" }, note)), h("ul", null, rows));
}

function alertRow(alert, names, canAcknowledge, onDone) {
  const fault = h("span", { class: "field-error", role: "alert" });
  const press = async (event) => {
    event.target.disabled = true;
    try {
      await post(`alerts/${encodeURIComponent(alert.id)}/acknowledge`);
      onDone();
    } catch (error) {
      fault.textContent = error.message;
      event.target.disabled = false;
    }
  };
  const name = names.get(alert.aircraft_id);
  const flight = alert.flight_id && h("a", { href: `/flights/${encodeURIComponent(alert.flight_id)}` }, "Flight");
  const button = canAcknowledge && h("button", { class: "plain", type: "button", onclick: press }, "Acknowledge");
  return h("li", null, h("span", { class: `badge ${TONES[alert.severity] ?? ""}` }, words(alert.severity)), h("p", null, h("b", null, name && `${name}: `, alert.text || words(alert.kind)), h("small", null, when(alert.last_utc_us ?? alert.raised_utc_us), times(alert.times)), fault), flight, button);
}

function refusalRow(q) {
  const where = [q.seq !== null && q.seq !== undefined ? `batch ${q.seq}` : null, bytes(q.size_bytes), q.topic].filter(Boolean).join(" · ");
  return h("li", null, h("span", { class: "badge warn" }, words(q.reason)), h("p", null, h("b", null, REASONS[q.reason] ?? (q.detail || "Refused.")), h("small", null, when(q.last_seen_utc_us), times(q.times), ` · ${where}`)));
}

/** Cards for what /v1/system counts as open or refused; none where there is nothing. onDone: after an acknowledgement. */
export async function noticeCards(system, role, onDone) {
  const can = role === "operator" || role === "admin";
  const cards = [];
  if (system.alerts_open) {
    const [{ data }, fleet] = await Promise.all([get("alerts", { query: { open: true, limit: SHOWN } }), get("aircraft", { query: { limit: 200 } })]);
    const names = new Map(fleet.data.items.map((a) => [a.id, a.name]));
    cards.push(card("Open alerts", data.next_cursor && `the newest ${SHOWN}`, data.items.map((a) => alertRow(a, names, can, onDone))));
  }
  if (system.quarantined) {
    const { data } = await get("quarantine", { query: { limit: SHOWN } });
    cards.push(card("Quarantine", data.next_cursor && `the newest ${SHOWN}`, data.items.map(refusalRow)));
  }
  return cards;
}
