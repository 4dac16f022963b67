// Maintenance: aircraft by urgency with reasons, trends and components; open work orders; consent to share feedback.

import { get, patch } from "./api.js";
import { byId, h, setText } from "./dom.js";
import { featureName } from "./findings.js";
import { count, dateTime, measured, number, utc, words } from "./format.js";
import { emptyState, errorState, openFrame, showLink } from "./frame.js";
import { newOrder, orderRow, TONES } from "./orders.js";
import { poll } from "./poll.js";

const open = new Set();
let canAct = false;

const head = (...names) => h("thead", null, h("tr", null, names.map((n) => h("th", { scope: "col" }, n))));
const part = (title, table) => h("div", null, h("h3", null, title), table);
const when = (us) => (us ? h("time", { title: utc(us) }, dateTime(us)) : "–");

function reasons(items) {
  const rows = items.map((r) => h("tr", null, h("td", null, r.action), h("td", { class: "num" }, measured(r.value)), h("td", { class: "num" }, measured(r.baseline)), h("td", { class: "num" }, when(r.since_utc_us)), h("td", { class: "num" }, measured(r.weight))));
  return items.length ? part("Reasons", h("table", null, head("What", "Value", "Normal or limit", "Since", "Weight"), h("tbody", null, rows))) : "";
}

function said(t) {
  if (t.changed_utc_us) return `${measured(t.before)} → ${measured(t.after)} since ${dateTime(t.changed_utc_us)}`;
  return t.rate_per_10h === null ? "steady" : `${t.rate_per_10h > 0 ? "+" : "−"}${measured(Math.abs(t.rate_per_10h))} per 10 h`;
}

function trends(items) {
  const rows = items.map((t) => h("tr", null, h("td", null, featureName(t.quantity)), h("td", { class: "num" }, measured(t.baseline)), h("td", { class: "num" }, measured(t.latest)), h("td", null, said(t)), h("td", { class: "num" }, number(t.flights))));
  return items.length ? part("Trends", h("table", null, head("Quantity", "Baseline", "Latest", "Trend", "Flights"), h("tbody", null, rows))) : "";
}

const used = (value, limit) => (limit === null ? measured(value) : `${measured(value)} of ${measured(limit)}`);

function components(items) {
  const rows = items.map((c) => h("tr", null, h("td", null, `${words(c.kind)}${c.position ? ` ${c.position}` : ""}`), h("td", null, c.name), h("td", null, c.serial ?? "–"), h("td", { class: "num" }, used(c.hours_since_service, c.limit_hours)), h("td", { class: "num" }, used(c.cycles_since_service, c.limit_cycles)), h("td", { class: "num" }, when(c.installed_utc_us))));
  return items.length ? part("Components", h("table", null, head("Kind", "Name", "Serial", "Hours since service", "Cycles", "Installed"), h("tbody", null, rows))) : "";
}

async function fill(body, craft) {
  try {
    const { data } = await get(`aircraft/${encodeURIComponent(craft.aircraft_id)}/maintenance`);
    const parts = [reasons(data.reasons), trends(data.trends), components(data.components)].filter(Boolean);
    const none = h("p", { class: "muted" }, "Nothing is known of it yet: trends need 8 flights, components are entered through the API.");
    body.replaceChildren(...(parts.length ? parts : [none]), ...(canAct ? [newOrder(craft, () => orders.now())] : []));
  } catch (error) {
    body.replaceChildren(errorState(error, () => fill(body, craft)));
  }
}

function ship(craft) {
  const body = h("div", { class: "ship-body" }, h("p", { class: "skeleton" }, "\u00a0"));
  const details = h("details", { class: "ship", "data-craft": craft.aircraft_id }, h("summary", null, h("span", { class: `badge ${TONES[craft.priority_level]}` }, words(craft.priority_level.toLowerCase())), h("b", null, craft.aircraft_name), h("span", null, craft.recommended_action), h("span", { class: "num muted" }, `urgency ${number(craft.maintenance_urgency, 2)} · ${number(craft.flying_h, 1)} h · ${count(craft.flights, "flight")}`)), body);
  details.addEventListener("toggle", () => {
    if (details.open) fill(body, craft);
    details.open ? open.add(craft.aircraft_id) : open.delete(craft.aircraft_id);
  });
  details.open = open.has(craft.aircraft_id);
  return details;
}

function showShips(items) {
  const sorted = [...items].sort((a, b) => b.maintenance_urgency - a.maintenance_urgency || a.aircraft_name.localeCompare(b.aircraft_name));
  const urgent = items.filter((a) => ["HIGH", "CRITICAL"].includes(a.priority_level)).length;
  const none = emptyState("No aircraft yet", "An aircraft appears here once it is known to the hub.");
  byId("aircraft").replaceChildren(...(sorted.length ? sorted.map(ship) : [none]));
  byId("aircraft").removeAttribute("aria-busy");
  setText(byId("summary"), items.length ? `${urgent} of ${count(items.length, "aircraft", "aircraft")} urgent` : "");
}

function showOrders(items) {
  const none = emptyState("No open work orders", "The hub proposes one when an aircraft's maintenance becomes urgent; you can open one at an aircraft.");
  byId("orders").replaceChildren(...(items.length ? items.map((o) => orderRow(o, canAct, () => [orders, ships].forEach((p) => p.now()))) : [none]));
  setText(byId("order-count"), items.length ? String(items.length) : "");
}

async function showSharing(role) {
  const { data } = await get("feedback/settings");
  const box = h("input", { type: "checkbox", checked: data.share_feedback, disabled: role !== "admin" });
  const fault = h("span", { class: "field-error", role: "alert" });
  box.addEventListener("change", async () => {
    try {
      await patch("feedback/settings", { share_feedback: box.checked });
    } catch (error) {
      box.checked = !box.checked;
      fault.textContent = error.message;
    }
  });
  const text = "Verdicts on findings may be exported, with the features of their span, to train the next model.";
  const hint = "Never with places, times of day or notes. Off unless an administrator of your organisation agrees; the audit log says who did.";
  byId("sharing").replaceChildren(h("label", null, box, " ", text), h("p", { class: "hint" }, hint), fault);
}

/** Where somebody writes, nothing is made anew under their hands. */
const isBusy = (id) => document.activeElement?.closest(`#${id}`) && ["INPUT", "SELECT"].includes(document.activeElement.tagName);
let trouble = false;

function watch(path, query, id, show) {
  return poll(path, {
    everyMs: 30000,
    query: () => query,
    onData(page) {
      if (trouble) byId("trouble").replaceChildren();
      if (!isBusy(id) || !byId(id).children.length) show(page.items);
    },
    onError(error) {
      if (byId(id).children.length || !error) return showLink(error);
      trouble = true;
      byId("trouble").replaceChildren(errorState(error, () => [ships, orders].forEach((p) => p.now())));
    },
  });
}

const me = await openFrame();
canAct = ["operator", "admin"].includes(me?.role);
const ships = watch("maintenance", { limit: 200 }, "aircraft", showShips);
const orders = watch("work-orders", { open: true, limit: 200 }, "orders", showOrders);
showSharing(me?.role).catch(showLink);
