// Work orders that are open: what, for which aircraft, since when; who may signs the next step.

import { post } from "./api.js";
import { h } from "./dom.js";
import { ago, dateTime, utc, words } from "./format.js";

export const TONES = { CRITICAL: "crit", HIGH: "warn", MEDIUM: "accent", LOW: "" };
const STEPS = { open: [["in_progress", "Start"], ["cancelled", "Cancel"]], in_progress: [["done", "Done"], ["cancelled", "Cancel"]] };

function signing(order, onDone) {
  const name = h("input", { type: "text", placeholder: "Your name", "aria-label": `Your name, to sign: ${order.title}`, maxlength: 200, autocomplete: "name" });
  const fault = h("span", { class: "field-error", role: "alert" });
  const press = (state) => async (event) => {
    if (!name.value.trim()) {
      fault.textContent = "A step is signed with a name.";
      return name.focus();
    }
    event.target.disabled = true;
    try {
      await post(`work-orders/${encodeURIComponent(order.id)}/sign`, { state, signed_by: name.value.trim() });
      onDone();
    } catch (error) {
      fault.textContent = error.message;
      event.target.disabled = false;
    }
  };
  const buttons = STEPS[order.state].map(([state, text]) => h("button", { type: "button", class: "plain", onclick: press(state) }, text));
  return h("div", { class: "entry" }, name, buttons, fault);
}

/** One open order; canSign: the key's role may. onDone: after a signature. */
export function orderRow(order, canSign, onDone) {
  const isLate = order.due_utc_us && order.due_utc_us < Date.now() * 1000;
  const due = order.due_utc_us && h("span", { title: utc(order.due_utc_us) }, ` · due ${dateTime(order.due_utc_us)}${isLate ? ", overdue" : ""}`);
  const facts = h("small", { title: utc(order.created_utc_us) }, `${order.aircraft_name} · ${words(order.state).toLowerCase()} · ${order.proposed ? "proposed" : "opened"} ${ago(order.created_utc_us)}`, due, order.detail && ` · ${order.detail}`);
  return h("div", { class: "order", "data-order": order.id }, h("span", { class: `badge ${TONES[order.priority]}` }, words(order.priority.toLowerCase())), h("p", null, h("b", null, order.title), facts), canSign ? signing(order, onDone) : "");
}

/** A form that opens an order for an aircraft. */
export function newOrder(aircraft, onDone) {
  const title = h("input", { type: "text", name: "title", placeholder: "What is to be done", "aria-label": `New work order for ${aircraft.aircraft_name}`, maxlength: 200, required: true });
  const priority = h("select", { "aria-label": "Priority" }, Object.keys(TONES).map((p) => h("option", { value: p, selected: p === "MEDIUM" }, words(p.toLowerCase()))));
  const fault = h("span", { class: "field-error", role: "alert" });
  const send = async (event) => {
    event.preventDefault();
    try {
      await post(`aircraft/${encodeURIComponent(aircraft.aircraft_id)}/work-orders`, { title: title.value.trim(), priority: priority.value });
      title.value = "";
      fault.textContent = "";
      onDone();
    } catch (error) {
      fault.textContent = error.message;
    }
  };
  return h("form", { class: "entry", onsubmit: send }, title, priority, h("button", { class: "plain", type: "submit" }, "Open work order"), fault);
}
