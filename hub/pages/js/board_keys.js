// Keys and wheel over the plots, the buttons above them, and the window and chosen channels in the address.

import { byId, setText } from "./dom.js";

const KEY_STEP = 0.01;

/** Keys on the focused plots; `speak` says the moment for those who do not see it. */
export function listenKeys(host, view, axis) {
  const step = (e, sign) => {
    const { from, to } = view.window;
    view.pin(Math.min(Math.max((view.cursor ?? (from + to) / 2) + sign * (to - from) * KEY_STEP * (e.shiftKey ? 10 : 1), view.extent.from), view.extent.to));
    setText(byId("spoken"), axis.full(view.cursor));
  };
  const acts = {
    ArrowLeft: (e) => step(e, -1), ArrowRight: (e) => step(e, 1),
    "+": () => view.zoom(0.6), "=": () => view.zoom(0.6), "-": () => view.zoom(1 / 0.6),
    0: () => view.showAll(), Escape: () => (view.pinned !== null ? view.pin(null) : view.showAll()),
  };
  host.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || !acts[e.key]) return;
    acts[e.key](e);
    e.preventDefault();
  });
}

/** Ctrl or Meta with the wheel zooms about the pointer; a sideways wheel pans. A plain wheel scrolls the page. */
export function listenWheel(host, view) {
  host.addEventListener("wheel", (e) => {
    if (e.ctrlKey || e.metaKey) view.zoom(Math.exp(e.deltaY * 0.003), view.cursor ?? undefined);
    else if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) view.pan(e.deltaX / Math.max(300, host.clientWidth));
    else if (e.shiftKey) view.pan(e.deltaY / Math.max(300, host.clientWidth));
    else return;
    e.preventDefault();
  }, { passive: false });
}

/** Local, UTC or T+. Without a time of day only T+ is possible. */
export function listenTimeMode(group, axis) {
  const buttons = [...group.querySelectorAll("button")];
  const show = () => buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.mode === axis.mode)));
  for (const b of buttons) {
    b.disabled = !axis.hasClock && b.dataset.mode !== "elapsed";
    b.addEventListener("click", () => (axis.setMode(b.dataset.mode), show()));
  }
  show();
}

const read = () => new URLSearchParams(location.search);

/** The window and channels that the address asks for, in seconds since the start, so that a link shows the same. */
export function readAddress(view) {
  const from = Number.parseFloat(read().get("from"));
  const to = Number.parseFloat(read().get("to"));
  const start = view.extent.from;
  if (Number.isFinite(from) && Number.isFinite(to) && to > from) view.setWindow(start + from, start + to);
  return (read().get("channels") ?? "").split(",").filter(Boolean);
}

/** Keep the address true to what is shown. */
export function writeAddress(view, extras) {
  const query = new URLSearchParams();
  if (!view.isWhole) {
    query.set("from", (view.window.from - view.extent.from).toFixed(1));
    query.set("to", (view.window.to - view.extent.from).toFixed(1));
  }
  if (extras.length) query.set("channels", extras.join(","));
  const text = query.toString().replaceAll("%2C", ",");
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}
