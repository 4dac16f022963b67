// The list of recorded logs, newest first, and the place to drop more. The first page is polled.

import { get, getAll } from "./api.js";
import { byId, h, setText } from "./dom.js";
import { count } from "./format.js";
import { emptyState, errorState, openFrame, showLink } from "./frame.js";
import { logRow } from "./log_rows.js";
import { listenUploads } from "./log_upload.js";
import { poll } from "./poll.js";

const PAGE = 50;
const rows = new Map(); // sha256 → row
const form = byId("filters");
let newest = [];
let older = [];
let nextCursor = null;

const query = () => ({ state: form.elements.state.value, aircraft_id: form.elements.aircraft_id.value, limit: PAGE });

function keep(logs) {
  for (const log of logs) {
    const row = rows.get(log.sha256);
    if (row) row.update(log);
    else rows.set(log.sha256, logRow(log));
  }
  return logs.map((log) => log.sha256);
}

function show() {
  const shown = [...new Set([...newest, ...older])].map((name) => rows.get(name).element);
  const body = byId("rows");
  if (shown.length !== body.children.length || shown.some((e, i) => e !== body.children[i])) body.replaceChildren(...shown);
  body.removeAttribute("aria-busy");
  setText(byId("summary"), shown.length ? `${count(shown.length, "log")}${nextCursor ? " loaded" : ""}` : "");
  byId("more").hidden = !nextCursor;
  byId("state").replaceChildren(...(shown.length ? [] : [nothing()]));
}

function nothing() {
  const { state, aircraft_id: craft } = query();
  if (state || craft) return emptyState("No such log", "None matches this filter.", h("button", { class: "plain", type: "button", onclick: () => form.reset() }, "Show all logs"));
  return emptyState("No logs yet", "Drop files above, or import a card on a laptop without a network: ./dbx agent import PATH, then ./dbx agent sync.");
}

async function more() {
  try {
    const { data } = await get("logs", { query: { ...query(), cursor: nextCursor } });
    older.push(...keep(data.items));
    nextCursor = data.next_cursor;
    show();
  } catch (error) {
    showLink(error);
  }
}

function restart() {
  [newest, older, nextCursor] = [[], [], null];
  byId("rows").setAttribute("aria-busy", "true");
  polled.now();
}

async function offerAircraft() {
  const fleet = await getAll("aircraft").catch(() => []);
  for (const select of [form.elements.aircraft_id, byId("for-craft")]) select.append(...fleet.map((a) => h("option", { value: a.id }, a.name)));
}

const polled = poll("logs", {
  everyMs: 3000,
  query,
  onData(data) {
    byId("trouble").replaceChildren();
    newest = keep(data.items);
    if (!older.length) nextCursor = data.next_cursor;
    show();
  },
  onError(error) {
    showLink(error);
    if (error && !newest.length) byId("trouble").replaceChildren(errorState(error, () => polled.now()));
  },
});
form.addEventListener("change", restart);
form.addEventListener("reset", () => setTimeout(restart));
byId("more").addEventListener("click", more);
offerAircraft();
openFrame().then((me) => listenUploads({ canUpload: ["operator", "admin"].includes(me?.role), onTaken: () => polled.now() }));
