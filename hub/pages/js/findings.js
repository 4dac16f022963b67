// What the model or a rule says of a span of flight: score against threshold, the features that stand out, and why.

import { h } from "./dom.js";
import { emptyState } from "./frame.js";
import { duration, measured, number, words } from "./format.js";
import { verdicts } from "./verdicts.js";
import { total, waterfall } from "./waterfall.js";

const TONES = { critical: "crit", warning: "warn", info: "accent" };

/** A feature's name as words with its unit last: "vibe_z_p95_mps2" → "vibe z p95 (m/s²)". */
export function featureName(name) {
  const units = { mps2: "m/s²", mps: "m/s", radps: "rad/s", rad: "rad", us: "µs", deg: "°", pct: "%", ut: "µT", pa: "Pa", v: "V", a: "A", m: "m", s: "s", ohm: "Ω" };
  const parts = String(name).split("_");
  const unit = parts.length > 1 && units[parts.at(-1)];
  return unit ? `${parts.slice(0, -1).join(" ")} (${unit})` : parts.join(" ");
}

/** Score on a scale that has the threshold marked. Scores may be of any size: the scale ends a little above both. */
function scoreBar(finding) {
  const top = Math.max(finding.score, finding.threshold) * 1.12 || 1;
  const share = (v) => `${Math.min(100, Math.max(0, (v / top) * 100)).toFixed(1)}%`;
  return h("div", { class: "score", title: `score ${measured(finding.score)}, threshold ${measured(finding.threshold)}` }, h("span", { class: "score-bar", vars: { "--at": share(finding.score), "--limit": share(finding.threshold) } }), h("span", { class: "num" }, `${measured(finding.score)} · limit ${measured(finding.threshold)}`));
}

/** How far a feature is from normal; its weight counts how far healthy flights go. */
function deviation(e) {
  const far = `${measured(Math.abs(e.weight ?? 0))} times as far ${e.weight < 0 ? "below" : "above"} normal as healthy flights go`;
  return e.weight ? `${e.feature}: ${far}` : e.feature;
}

/** The features that stand out: each a bar of its weight, its value and what is normal. */
function evidence(items) {
  const most = Math.max(...items.map((e) => Math.abs(e.weight ?? 0)), 1e-9);
  const rows = items.map((e) =>
    h("tr", { title: deviation(e) }, h("th", { scope: "row" }, featureName(e.feature), h("span", { class: "weight", vars: { "--w": `${((Math.abs(e.weight ?? 0) / most) * 100).toFixed(1)}%` } })), h("td", { class: "num" }, measured(e.value)), h("td", { class: "num muted" }, measured(e.nominal))),
  );
  return h("table", { class: "evidence" }, h("thead", null, h("tr", null, h("th", { scope: "col" }, "Stands out"), h("th", { scope: "col" }, "Value"), h("th", { scope: "col" }, "Normal"))), h("tbody", null, rows));
}

/** The analysis in words: lines that begin with "- " are items of a list. */
function report(analysis, isOpen) {
  const blocks = [];
  for (const line of analysis.report.split("\n").filter((l) => l.trim())) {
    const item = line.startsWith("- ") && h("li", null, line.slice(2));
    if (item && blocks.at(-1)?.tagName === "UL") blocks.at(-1).append(item);
    else blocks.push(item ? h("ul", null, item) : h("p", null, line));
  }
  const risk = `risk ${measured(analysis.risk_score)}, ${String(analysis.risk_level ?? "").toLowerCase()}`;
  return h("details", { class: "report", open: isOpen }, h("summary", null, h("b", null, "Analysis of the whole flight"), h("span", { class: "muted" }, risk)), h("div", null, blocks, h("p", { class: "hint" }, `${analysis.model ?? ""}`)));
}

export class FindingList {
  constructor(host, { view, axis }) {
    Object.assign(this, { host, view, axis, items: [], verdicts: [], me: null, open: new Set() });
    axis.addEventListener("change", () => this.show());
  }

  /** items as from the API; flight gives the analysis in words. */
  set(items, flight) {
    const now = JSON.stringify([items, flight.analysis, flight.state]);
    if (now === this.seen) return;
    this.seen = now;
    this.items = items;
    this.flight = flight;
    if (!this.open.size && items.length) this.open.add(items[0].id);
    this.show();
  }

  /** verdicts of people as from the API; me: who is asking. */
  setVerdicts(items, me) {
    const now = JSON.stringify([items, me]);
    if (now === this.heard) return;
    Object.assign(this, { verdicts: items, me, heard: now });
    this.show();
  }

  /** A verdict that was just given, in the place of that person's one before. */
  #onVerdict(v) {
    const before = this.verdicts.map((s) => (s.key_id === v.key_id && s.finding_id === v.finding_id ? { ...s, is_current: false } : s));
    this.setVerdicts([v, ...before], this.me);
  }

  #card(finding) {
    const [from, to] = [finding.start_utc_us / 1e6, finding.end_utc_us / 1e6];
    const tone = TONES[finding.severity] ?? "";
    const details = h("details", { class: `finding ${tone}`, open: this.open.has(finding.id) });
    details.addEventListener("toggle", () => (details.open ? this.open.add(finding.id) : this.open.delete(finding.id)));
    const likely = finding.shap?.length ? ` · probability ${number(total(finding.shap), 2)}` : "";
    const who = finding.source === "aircraft" ? "aircraft" : "hub";
    details.append(
      h("summary", null, h("span", { class: `badge ${tone}` }, words(finding.severity)), h("b", null, words(finding.kind)), h("time", { class: "num muted" }, `${who} · ${this.axis.full(from)} · ${duration(to - from)}${likely}`)),
      h("div", { class: "finding-body" }, scoreBar(finding), finding.evidence?.length ? evidence(finding.evidence) : "", finding.shap?.length ? waterfall(finding.shap, featureName) : "", h("p", { class: "hint" }, `Found ${who === "hub" ? "in the hub" : "on the aircraft"} by ${finding.model || "a rule"}.`), h("button", { class: "plain", type: "button", onclick: () => this.view.show(from, to) }, "Show in the plots"), verdicts(finding, this.verdicts, this.me, (v) => this.#onVerdict(v))),
    );
    return details;
  }

  show() {
    if (!this.flight) return;
    const said = this.flight.analysis?.report && report(this.flight.analysis, !this.items.length);
    if (this.items.length) return this.host.replaceChildren(...[...this.items.map((f) => this.#card(f)), said].filter(Boolean));
    const isDone = this.flight.analysis !== null && this.flight.analysis !== undefined;
    const text = this.flight.state === "live" ? "The aircraft scores its last seconds once a second; what it finds appears here." : isDone ? "The model found nothing out of the ordinary in this flight." : "The analysis runs shortly after the flight is closed.";
    this.host.replaceChildren(...[emptyState(isDone ? "Nothing found" : "No findings so far", text), said].filter(Boolean));
  }
}
