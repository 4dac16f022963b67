// SHAP values as a waterfall. The model explains the base-2 logarithm of its score (hub/worker/explain.py), so every
// feature multiplies the score: from what the model says of a usual window, step by step, to what it says of this one.

import { h, svg } from "./dom.js";
import { measured, number } from "./format.js";

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

const factor = (v) => `×\u202f${number(2 ** v, 2)}`;

/** The score of a usual window: what remains when all contributions are taken back. */
export const usualScore = (shap, score) => score / 2 ** shap.reduce((n, s) => n + s.shap, 0);

/** A figure for [{feature, value, shap}] that ends at `score`; nameOf makes words of a feature's name. */
export function waterfall(shap, score, nameOf) {
  const all = steps(shap);
  const usual = usualScore(shap, score);
  const ends = all.reduce((list, s) => [...list, list.at(-1) + s.shap], [Math.log2(usual)]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = WIDE - LABEL - VALUE;
  const x = (v) => LABEL + ((v - low) / (high - low || 1)) * room;
  const rows = all.flatMap((s, i) => {
    const [a, b] = [x(ends[i]), x(ends[i + 1])];
    const y = ROW * (i + 1);
    const name = s.isRest ? s.feature : nameOf(s.feature);
    const about = s.isRest ? [] : [svg("title", null, `${s.feature} = ${measured(s.value)}`)];
    return [
      svg("text", { class: "wf-name", x: LABEL - 8, y: y + 14, "text-anchor": "end" }, name.length > 26 ? `${name.slice(0, 25)}…` : name, about),
      svg("rect", { class: s.shap >= 0 ? "wf-up" : "wf-down", x: Math.min(a, b), y: y + 4, width: Math.max(1.5, Math.abs(b - a)), height: ROW - 8, rx: 2 }, s.isRest ? [] : [svg("title", null, `${s.feature} = ${measured(s.value)}`)]),
      svg("line", { class: "wf-link", x1: b, x2: b, y1: y + 4, y2: y + ROW + 4 }),
      svg("text", { class: "wf-value", x: WIDE, y: y + 14, "text-anchor": "end" }, factor(s.shap)),
    ];
  });
  const last = ROW * (all.length + 1);
  const marks = [
    svg("text", { class: "wf-name", x: LABEL - 8, y: 14, "text-anchor": "end" }, "usual score"),
    svg("line", { class: "wf-link", x1: x(ends[0]), x2: x(ends[0]), y1: 4, y2: ROW + 4 }),
    svg("text", { class: "wf-value", x: WIDE, y: 14, "text-anchor": "end" }, measured(usual)),
    svg("text", { class: "wf-name wf-end", x: LABEL - 8, y: last + 14, "text-anchor": "end" }, "this score"),
    svg("text", { class: "wf-value wf-end", x: WIDE, y: last + 14, "text-anchor": "end" }, measured(score)),
  ];
  const said = `From ${measured(usual)} to ${measured(score)}: ${all.map((s) => `${s.isRest ? s.feature : nameOf(s.feature)} ${factor(s.shap)}`).join(", ")}.`;
  const drawing = svg("svg", { class: "waterfall", viewBox: `0 0 ${WIDE} ${last + ROW}`, role: "img", "aria-label": said }, marks, rows);
  return h("figure", null, h("figcaption", null, "What raised and lowered the score (SHAP); each feature multiplies it"), drawing);
}
