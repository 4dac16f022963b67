// SHAP values as a waterfall. The model gives each kind of fault a probability (hub/worker/explain.py), to which every
// quantity adds or from which it takes: from that of a nominal second, step by step, to that of this one.

import { h, svg } from "./dom.js";
import { measured, number } from "./format.js";

const MOST = 9;
const ROW = 22;
const WIDE = 360;
const LABEL = 158;
const VALUE = 52;
const BASE = "base";
const OTHERS = "others";

/** The largest contributions, the rest summed up in one. */
function steps(shap) {
  const named = shap.filter((s) => s.feature !== BASE && s.feature !== OTHERS).sort((a, b) => Math.abs(b.shap) - Math.abs(a.shap));
  const rest = [...named.slice(MOST), ...shap.filter((s) => s.feature === OTHERS)];
  if (!rest.length) return named;
  return [...named.slice(0, MOST), { feature: "others", value: null, shap: rest.reduce((n, r) => n + r.shap, 0), isRest: true }];
}

const signed = (v) => `${v < 0 ? "\u2212" : "+"}${number(Math.abs(v), 2)}`;

/** The probability that the values add up to, and that of a nominal second. */
export const total = (shap) => shap.reduce((n, s) => n + s.shap, 0);
export const nominal = (shap) => shap.find((s) => s.feature === BASE)?.shap ?? 0;

/** A figure for [{feature, value, shap}]; nameOf makes words of a feature's name. */
export function waterfall(shap, nameOf) {
  const all = steps(shap);
  const [first, last] = [nominal(shap), total(shap)];
  const ends = all.reduce((list, s) => [...list, list.at(-1) + s.shap], [first]);
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
      svg("text", { class: "wf-value", x: WIDE, y: y + 14, "text-anchor": "end" }, signed(s.shap)),
    ];
  });
  const end = ROW * (all.length + 1);
  const marks = [
    svg("text", { class: "wf-name", x: LABEL - 8, y: 14, "text-anchor": "end" }, "nominal"),
    svg("line", { class: "wf-link", x1: x(ends[0]), x2: x(ends[0]), y1: 4, y2: ROW + 4 }),
    svg("text", { class: "wf-value", x: WIDE, y: 14, "text-anchor": "end" }, number(first, 2)),
    svg("text", { class: "wf-name wf-end", x: LABEL - 8, y: end + 14, "text-anchor": "end" }, "probability"),
    svg("text", { class: "wf-value wf-end", x: WIDE, y: end + 14, "text-anchor": "end" }, number(last, 2)),
  ];
  const said = `From ${number(first, 2)} to ${number(last, 2)}: ${all.map((s) => `${s.isRest ? s.feature : nameOf(s.feature)} ${signed(s.shap)}`).join(", ")}.`;
  const drawing = svg("svg", { class: "waterfall", viewBox: `0 0 ${WIDE} ${end + ROW}`, role: "img", "aria-label": said }, marks, rows);
  return h("figure", null, h("figcaption", null, "Why it looks like this kind of fault (SHAP): what each quantity adds to its probability"), drawing);
}
