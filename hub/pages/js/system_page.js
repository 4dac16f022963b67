// System health as this organisation sees it: what is well, what is not, and what to do about it.

import { get } from "./api.js";
import { byId, h, icon, setText } from "./dom.js";
import { ago, clock, count, dateTime, measured, number, utc, words } from "./format.js";
import { errorState, openFrame, showLink } from "./frame.js";
import { noticeCards } from "./notices.js";
import { poll } from "./poll.js";

/**
 * What /v1/system counts: [field, name, tone when not zero, what it means]. A field that the hub does not offer is not
 * shown; one that this page does not know is shown as it comes.
 */
const FIGURES = [
  ["aircraft_online", "Aircraft online", "", "sent something in the last half minute"],
  ["flights_live", "Flights live", "", "being recorded now"],
  ["batches_not_derived", "Batches to derive", "", "committed and safe; their telemetry is still to be worked out"],
  ["jobs_waiting", "Jobs waiting", "", "settling and analysis of closed flights"],
  ["jobs_failing", "Jobs failing", "crit", "they are tried again; the worker's log says why"],
  ["quarantined", "In quarantine", "warn", "refused batches, kept with their reason; they stop nothing else"],
  ["alerts_open", "Open alerts", "warn", "not yet acknowledged"],
];
const APART = new Set(["version", "hub_keys", "last_batch_utc_us"]);

const ADVICE = {
  jobs_failing: (n) => `${count(n, "job")} failed and will be tried again. If the number stays, read the worker's log: flights affected lack settled data or analysis, never their record.`,
  quarantined: (n) => `${count(n, "batch", "batches")} of your aircraft ${n === 1 ? "was" : "were"} refused; the reasons are below.`,
  alerts_open: (n) => `${count(n, "alert")} ${n === 1 ? "waits" : "wait"} for somebody to acknowledge ${n === 1 ? "it" : "them"}.`,
  batches_not_derived: (n) => (n > 500 ? `${count(n, "batch", "batches")} wait to be derived. If the number grows, ingest does not keep up with what arrives.` : null),
};

function tile([field, name, tone, meaning], system) {
  const value = system[field];
  return h("div", { class: "card tile", "data-figure": field }, h("h2", null, name), h("b", { class: `num ${value ? tone : ""}` }, number(value)), h("p", { class: "hint" }, meaning));
}

function lastBatch(system) {
  const at = system.last_batch_utc_us;
  return h("div", { class: "card tile", "data-figure": "last_batch" }, h("h2", null, "Newest batch"), h("b", { class: "num", title: utc(at) }, ago(at)), h("p", { class: "hint" }, at ? `committed ${dateTime(at)}` : "nothing has been committed yet"));
}

/** A field that this page does not know, as name and value. */
function other([name, value]) {
  const text = typeof value === "number" ? measured(value) : typeof value === "object" ? JSON.stringify(value) : String(value);
  return h("div", { class: "card tile" }, h("h2", null, words(name)), h("b", { class: "num" }, text));
}

function verdict(system, health) {
  const concerns = Object.entries(ADVICE).map(([field, say]) => system[field] && say(system[field])).filter(Boolean);
  const isUp = health.status === "ok";
  if (!isUp) concerns.unshift("The hub says that it cannot reach its database. Aircraft keep what they record until it is back.");
  const tone = !isUp || system.jobs_failing ? "crit" : concerns.length ? "warn" : "ok";
  const title = tone === "ok" ? "All is well" : count(concerns.length, "thing needs", "things need") + " a look";
  return h("section", { class: `card verdict-card ${tone}` }, h("h2", null, h("span", { class: `badge ${tone}` }, icon(tone === "ok" ? "check" : "warn"), title)), concerns.length ? h("ul", null, concerns.map((c) => h("li", null, c))) : h("p", { class: "muted" }, "The hub answers, reaches its database, and nothing waits for you."));
}

function keys(system) {
  const rows = (system.hub_keys ?? []).map((k) => h("tr", null, h("td", null, h("code", null, k.key_id)), h("td", null, h("code", null, k.public_key))));
  return h("section", { class: "card part" }, h("div", { class: "card-head" }, h("h2", null, "Keys of this hub")), h("table", null, h("thead", null, h("tr", null, h("th", { scope: "col" }, "Key"), h("th", { scope: "col" }, "Public key (Ed25519, base64)"))), h("tbody", null, rows)), h("p", { class: "hint" }, "Receipts and evidence files are signed with these. To check a file against one: ", h("code", null, "./dbx verify FILE --hub-key KEY"), "."));
}

const places = { verdict: h("div"), notices: h("div", { class: "parts" }), tiles: h("div", { class: "tiles" }), keys: h("div") };
let noticed = "";

/** Alerts and refusals are made anew only when their number changed, so that a button keeps its focus. */
async function showNotices(system, role) {
  const now = JSON.stringify([system.alerts_open, system.quarantined, role]);
  if (now === noticed) return;
  places.notices.replaceChildren(...(await noticeCards(system, role, () => polled.now())));
  noticed = now;
}

function show(system, health) {
  const known = FIGURES.filter(([field]) => Number.isFinite(system[field])).map((f) => tile(f, system));
  const unknown = Object.entries(system).filter(([name]) => !APART.has(name) && !FIGURES.some(([field]) => field === name)).map(other);
  places.verdict.replaceChildren(verdict(system, health));
  places.tiles.replaceChildren(lastBatch(system), ...known, ...unknown);
  if (!places.keys.children.length && system.hub_keys?.length) places.keys.replaceChildren(keys(system));
  if (!places.tiles.isConnected) byId("parts").replaceChildren(...Object.values(places));
  byId("parts").removeAttribute("aria-busy");
  setText(byId("summary"), `Version ${system.version ?? "unknown"} · ${clock(Date.now() * 1000)}`);
}

byId("parts").replaceChildren(h("div", { class: "card skeleton tall" }), h("div", { class: "tiles" }, Array.from({ length: 8 }, () => h("div", { class: "card tile skeleton" }))));
const me = openFrame();
let newest = null;
const polled = poll("system", {
  everyMs: 5000,
  async onData(system) {
    newest = system;
    const health = await get("health").then((a) => a.data, () => ({ status: "unavailable" }));
    byId("trouble").replaceChildren();
    show(system, health);
    await showNotices(system, (await me)?.role);
  },
  onError(error) {
    if (newest || !error) return showLink(error);
    byId("parts").replaceChildren();
    byId("trouble").replaceChildren(errorState(error, () => polled.now()));
  },
});
