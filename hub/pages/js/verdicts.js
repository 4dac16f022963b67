// What people say of a finding: confirm, reject, not sure. The newest verdict of a person counts.

import { post } from "./api.js";
import { h } from "./dom.js";
import { count } from "./format.js";

const CHOICES = [["confirmed", "Confirm"], ["rejected", "Reject"], ["unsure", "Not sure"]];

/** A row of buttons for a finding; said: its verdicts as from the API; me: who is asking. onSaid(verdict row): after one. */
export function verdicts(finding, said, me, onSaid) {
  const current = said.filter((v) => v.finding_id === finding.id && v.is_current);
  const own = current.find((v) => v.key_id === me?.key_id)?.verdict;
  const others = current.filter((v) => v.key_id !== me?.key_id);
  const canSay = ["operator", "admin"].includes(me?.role);
  const fault = h("span", { class: "field-error", role: "alert" });
  const press = (verdict) => async (event) => {
    event.target.disabled = true;
    try {
      onSaid(await post(`findings/${encodeURIComponent(finding.id)}/feedback`, { verdict }));
    } catch (error) {
      fault.textContent = error.message;
      event.target.disabled = false;
    }
  };
  const buttons = CHOICES.map(([verdict, text]) => h("button", { type: "button", "aria-pressed": String(own === verdict), onclick: press(verdict) }, text));
  const tally = CHOICES.map(([verdict]) => [verdict, others.filter((v) => v.verdict === verdict).length]).filter(([, n]) => n);
  const words = tally.map(([verdict, n]) => `${verdict} by ${count(n, "other")}`).join(", ");
  if (!canSay && !words) return "";
  return h("div", { class: "verdicts" }, canSay && h("span", { class: "segmented", role: "group", "aria-label": "Is this finding right?" }, buttons), words && h("small", { class: "muted" }, words), fault);
}
