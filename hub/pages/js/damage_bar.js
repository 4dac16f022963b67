// Where in a file the damage is: one bar for the whole file, and each lost range in words.

import { h, svg } from "./dom.js";
import { bytes, count, number, words } from "./format.js";

const LISTED = 50;
const REASONS = {
  torn_end: "the file ends within a message",
  no_magic: "bytes that are no message",
  bad_crc: "the checksum does not fit",
  bad_header: "a header that cannot be",
  bad_length: "a length that cannot be",
  unknown_type: "a message that nothing describes",
  zeros: "filled with zeros",
  dropout: "the logger could not keep up",
  bad_text: "a line that cannot be read",
};

const reasonText = (d) => [REASONS[d.reason] ?? words(d.reason).toLowerCase(), d.detail].filter(Boolean).join(": ");

function row(d) {
  return h("li", null, h("span", { class: "num" }, `${number(d.offset)} – ${number(d.offset + d.size)}`), h("span", { class: "num" }, d.size ? bytes(d.size) : "–"), h("span", null, reasonText(d)));
}

/** A card about the damage of a log. size: of the log, bytes. */
export function damageCard(damage, size) {
  const lost = damage.reduce((n, d) => n + d.size, 0);
  const title = damage.length ? `${bytes(lost)} of ${bytes(size)} could not be read, in ${count(damage.length, "place")}` : `All ${bytes(size)} were read`;
  const marks = damage.map((d) => svg("rect", { x: (1000 * d.offset) / Math.max(size, 1), y: 0, width: Math.max(2, (1000 * d.size) / Math.max(size, 1)), height: 20, class: "lost" }, svg("title", null, reasonText(d))));
  const bar = svg("svg", { class: "damage-bar", viewBox: "0 0 1000 20", preserveAspectRatio: "none", role: "img", "aria-label": title }, svg("rect", { x: 0, y: 0, width: 1000, height: 20, class: "sound" }), ...marks);
  const list = damage.length > 0 && h("details", { open: damage.length < 6 }, h("summary", null, "Which bytes, and why"), h("ul", { class: "damage" }, damage.slice(0, LISTED).map(row)), damage.length > LISTED && h("p", { class: "hint" }, `and ${count(damage.length - LISTED, "more place")}`));
  return h("section", { class: "card part", id: "damage" }, h("div", { class: "card-head" }, h("h2", null, "Damage"), h("span", { class: "count" }, title)), h("div", { class: "damage-body" }, bar, list));
}
