// One recorded log: what it is, whose it is, what of it is damaged, its flights, and what can be taken away.

import { get } from "./api.js";
import { byId, h, setText } from "./dom.js";
import { damageCard } from "./damage_bar.js";
import { fillSheet } from "./export_sheet.js";
import { errorState, openFrame, showLink } from "./frame.js";
import { copiesCard, factsCard, messagesCard, ownerCard, sessionsCard } from "./log_parts.js";
import { fileName, stateBadge } from "./log_words.js";
import { poll } from "./poll.js";

const name = decodeURIComponent(location.pathname.split("/").pop());
const path = `logs/${encodeURIComponent(name)}`;
const me = openFrame();
let shown = "";

function files(log) {
  const base = `/v1/logs/${encodeURIComponent(log.sha256)}`;
  const all = (format) => `${base}/export?format=${format}`;
  const known = log.format && log.state !== "failed";
  const original = ["Original", "the log, byte for byte", `${base}/original`, false];
  if (!known) return [original];
  return [
    original,
    ["Log", "in its own format, written again", all("original"), "only"],
    ["MCAP", "track, channels and every message, for Foxglove", all("mcap"), true],
    ["CSV", "channels at 10 Hz, for a spreadsheet", all("csv"), true],
    ["Parquet", "channels at 10 Hz, for analysis", all("parquet"), true],
    ["GeoJSON", "the track", all("geojson"), true],
    ["KML", "the track, for Google Earth", all("kml"), true],
    ["GPX", "the track, for maps", all("gpx"), true],
  ];
}

async function show(log) {
  const now = JSON.stringify(log);
  if (now === shown) return;
  shown = now;
  setText(byId("title"), fileName(log));
  setText(byId("crumb"), `${log.sha256.slice(0, 12)}…`);
  byId("crumb").title = `SHA-256 ${log.sha256}`;
  document.title = `${fileName(log)} · Logs · DBX Aviation`;
  byId("badges").replaceChildren(stateBadge(log));
  byId("downloads").hidden = log.whole_utc_us === null;
  fillSheet(byId("downloads"), files(log));
  const isRead = log.survey && Object.keys(log.survey).length;
  const owner = await ownerCard(log, (await me)?.role, () => polled.now());
  const cards = isRead ? [factsCard(log), owner, sessionsCard(log), damageCard(log.damage ?? [], log.size_bytes ?? 0), messagesCard(log), copiesCard(log)] : [owner, copiesCard(log)];
  byId("parts").replaceChildren(...cards);
  byId("parts").removeAttribute("aria-busy");
}

const polled = poll(path, {
  everyMs: 4000,
  async onData(log) {
    byId("trouble").replaceChildren();
    await show(log);
  },
  onError(error) {
    if (!error || shown) return showLink(error);
    const isUnknown = error.status === 404;
    const told = isUnknown ? { title: "No such log", detail: "It does not exist, or it belongs to another organisation." } : error;
    byId("trouble").replaceChildren(errorState(told, isUnknown ? null : () => polled.now()), h("p", { class: "centre" }, h("a", { class: "button", href: "/logs" }, "All logs")));
    if (isUnknown) polled.stop();
  },
});
