// The flight list: live first, then newest. The first page is polled; older pages are loaded when asked for.

import { get, getAll } from "./api.js";
import { byId, h, setText } from "./dom.js";
import { flightRow, matches, skeletonRows } from "./flight_rows.js";
import { count } from "./format.js";
import { emptyState, errorState, openFrame, showLink } from "./frame.js";
import { poll } from "./poll.js";

const PAGE = 50;
const rows = new Map(); // flight id → row
const form = byId("filters");
let newest = []; // ids of the polled first page, in the hub's order
let older = []; // ids of later pages
let nextCursor = null;

/** Local midnight at the start of a date field, us since 1970; `days` later. */
function midnight(text, days = 0) {
  if (!text) return null;
  const [year, month, day] = text.split("-").map(Number);
  return new Date(year, month - 1, day + days).getTime() * 1000;
}

function query() {
  const f = form.elements;
  const until = midnight(f.to.value, 1);
  return { state: f.state.value, aircraft_id: f.aircraft_id.value, from_utc_us: midnight(f.from.value), to_utc_us: until && until - 1, limit: PAGE };
}

const isFiltered = () => Object.entries(query()).some(([k, v]) => k !== "limit" && v);

function keep(flights) {
  for (const flight of flights) {
    const row = rows.get(flight.id);
    if (row) row.update(flight);
    else rows.set(flight.id, flightRow(flight));
  }
  return flights.map((f) => f.id);
}

function show() {
  const search = form.elements.search.value.trim();
  const ids = [...new Set([...newest, ...older])];
  const shown = ids.map((id) => rows.get(id)).filter((row) => !search || matches(row.flight, search));
  const body = byId("rows");
  const elements = shown.map((row) => row.element);
  if (elements.length !== body.children.length || elements.some((e, i) => e !== body.children[i])) body.replaceChildren(...elements);
  body.removeAttribute("aria-busy");
  const live = shown.filter((row) => row.flight.state === "live").length;
  setText(byId("summary"), ids.length ? `${live ? `${live} live · ` : ""}${count(shown.length, "flight")}${nextCursor ? " loaded" : ""}` : "");
  byId("more").hidden = !nextCursor;
  form.querySelector('button[type="reset"]').hidden = !isFiltered() && !search;
  byId("state").replaceChildren(...(shown.length ? [] : [nothing(search, ids.length)]));
}

function nothing(search, loaded) {
  const clear = h("button", { class: "plain", type: "button", onclick: () => form.reset() }, "Clear all filters");
  if (search && loaded) return emptyState(`No loaded flight matches “${search}”`, nextCursor ? "Older flights are not loaded yet: show more, or filter by date or aircraft instead." : "Try the aircraft's name, the vehicle, the firmware or a flight id.", clear);
  if (isFiltered()) return emptyState("No flight matches these filters", "Widen the dates or choose another aircraft.", clear);
  return emptyState("No flights yet", "A flight appears here within seconds of an enrolled aircraft arming. On its way there it is on the Fleet page. Enrol the first aircraft, or let its agent play a log that you already have:", h("code", null, "./dbx agent enroll HUB_URL CODE"), h("code", null, "./dbx agent run --log FILE --once"));
}

readAddress(); // before the first question is asked
const polled = poll("flights", {
  query,
  onData(page) {
    const ids = keep(page.items);
    if (!older.length) nextCursor = page.next_cursor;
    else older = [...newest.filter((id) => !ids.includes(id)), ...older]; // what a new flight pushed off the first page
    newest = ids;
    show();
  },
  onError(error) {
    if (newest.length || !error) return showLink(error);
    byId("rows").replaceChildren();
    byId("state").replaceChildren(errorState(error, () => polled.now()));
  },
});

async function more() {
  const button = byId("more");
  button.disabled = true;
  try {
    const { data } = await get("flights", { query: { ...query(), cursor: nextCursor } });
    older.push(...keep(data.items));
    nextCursor = data.next_cursor;
    show();
  } catch (error) {
    showLink(error);
  }
  button.disabled = false;
}

function restart() {
  newest = older = [];
  older = [];
  nextCursor = null;
  byId("state").replaceChildren();
  byId("rows").replaceChildren(...skeletonRows());
  const kept = Object.entries(Object.fromEntries(new FormData(form))).filter(([, v]) => v);
  history.replaceState(null, "", kept.length ? `?${new URLSearchParams(kept)}` : location.pathname);
  polled.now();
}

async function fillAircraft() {
  const wanted = new URLSearchParams(location.search).get("aircraft_id");
  try {
    const aircraft = await getAll("aircraft");
    form.elements.aircraft_id.append(...aircraft.map((a) => h("option", { value: a.id }, a.name)));
  } catch (error) {
    showLink(error);
  }
  if (wanted) form.elements.aircraft_id.value = wanted;
}

function readAddress() {
  for (const [name, value] of new URLSearchParams(location.search)) {
    if (name === "aircraft_id") form.elements.aircraft_id.append(h("option", { value, selected: true }, "This aircraft"));
    else if (form.elements[name]) form.elements[name].value = value;
  }
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => (event.target.name === "search" ? show() : restart()));
form.addEventListener("reset", () => setTimeout(restart));
byId("more").addEventListener("click", more);
setInterval(() => rows.forEach((row) => row.flight.state === "live" && row.tick(Date.now())), 1000);
byId("rows").replaceChildren(...skeletonRows());
openFrame();
fillAircraft();
