// SHAP values as a waterfall: from the model's base value to the score, the largest contributions first.

import { h, svg } from "./dom.js";
import { measured } from "./format.js";

const MOST = 9;
const ROW = 22;
const WIDE = 360;
const LABEL = 158;
const VALUE = 52;

/** The largest contributions, the rest summed up in one. */
function steps(shap) {
  const sorted = [...shap].sort((a, b) => Math.abs(b.shap) - Math.abs(a.shap));
  const rest = sorted.slice(MOST);
  if (!rest.length) return sorted;
  return [...sorted.slice(0, MOST), { feature: `${rest.length} others`, value: null, shap: rest.reduce((n, r) => n + r.shap, 0), isRest: true }];
}

const signed = (v) => `${v < 0 ? "−" : "+"}${measured(Math.abs(v))}`;

/** A figure for [{feature, value, shap}] that ends at `score`; nameOf makes words of a feature's name. */
export function waterfall(shap, score, nameOf) {
  const all = steps(shap);
  const base = score - shap.reduce((n, s) => n + s.shap, 0);
  const ends = all.reduce((list, s) => [...list, list.at(-1) + s.shap], [base]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = WIDE - LABEL - VALUE;
  const x = (v) => LABEL + ((v - low) / (high - low || 1)) * room;
  const rows = all.flatMap((s, i) => {
    const [a, b] = [x(ends[i]), x(ends[i + 1])];
    const y = ROW * (i + 1);
    return [
      svg("text", { class: "wf-name", x: LABEL - 8, y: y + 14, "text-anchor": "end" }, s.isRest ? s.feature : nameOf(s.feature)),
      svg("rect", { class: s.shap >= 0 ? "wf-up" : "wf-down", x: Math.min(a, b), y: y + 4, width: Math.max(1.5, Math.abs(b - a)), height: ROW - 8, rx: 2 }),
      svg("line", { class: "wf-link", x1: b, x2: b, y1: y + 4, y2: y + ROW + 4 }),
      svg("text", { class: "wf-value", x: WIDE, y: y + 14, "text-anchor": "end" }, signed(s.shap)),
      s.isRest ? null : svg("title", null, `${s.feature} = ${measured(s.value)}`),
    ];
  });
  const last = ROW * (all.length + 1);
  const marks = [
    svg("text", { class: "wf-name", x: LABEL - 8, y: 14, "text-anchor": "end" }, "usual score"),
    svg("line", { class: "wf-link", x1: x(base), x2: x(base), y1: 4, y2: ROW + 4 }),
    svg("text", { class: "wf-value", x: WIDE, y: 14, "text-anchor": "end" }, measured(base)),
    svg("text", { class: "wf-name wf-end", x: LABEL - 8, y: last + 14, "text-anchor": "end" }, "this score"),
    svg("text", { class: "wf-value wf-end", x: WIDE, y: last + 14, "text-anchor": "end" }, measured(score)),
  ];
  const said = `From ${measured(base)} to ${measured(score)}: ${all.map((s) => `${s.isRest ? s.feature : nameOf(s.feature)} ${signed(s.shap)}`).join(", ")}.`;
  const drawing = svg("svg", { class: "waterfall", viewBox: `0 0 ${WIDE} ${last + ROW}`, role: "img", "aria-label": said }, marks, rows);
  return h("figure", null, h("figcaption", null, "What raised and lowered the score (SHAP)"), drawing);
}
