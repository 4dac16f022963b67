// Add a plot of any channel: a button that opens a searchable list, grouped as the registry groups.

import { get } from "./api.js";
import { h, icon } from "./dom.js";
import { words } from "./format.js";
import { channelTitle, shownUnit } from "./plot_groups.js";

/** The registry's channels; the API may give a bare list or a page of items. */
export async function loadChannels() {
  const { data } = await get("channels");
  return Array.isArray(data) ? data : (data.items ?? data.channels);
}

/** Fill `host`; onPick(channel) adds a plot. */
export function channelPicker(host, onPick) {
  const search = h("input", { type: "search", placeholder: "Search channels", "aria-label": "Search channels", autocomplete: "off" });
  const list = h("div", { class: "channel-list", role: "group", "aria-label": "Channels" });
  const menu = h("details", { class: "menu" }, h("summary", { class: "button" }, icon("plus"), "Channel"), h("div", { class: "sheet" }, search, list));
  let channels = null;

  const pick = (channel) => {
    menu.open = false;
    onPick(channel);
  };

  function show() {
    const word = search.value.trim().toLowerCase();
    const fits = channels.filter((c) => `${c.name} ${c.meaning} ${c.group}`.toLowerCase().includes(word));
    const groups = Map.groupBy ? Map.groupBy(fits, (c) => c.group) : fits.reduce((m, c) => m.set(c.group, [...(m.get(c.group) ?? []), c]), new Map());
    const blocks = [...groups].map(([name, items]) => [h("h3", null, words(name)), items.map((c) => h("button", { type: "button", onclick: () => pick(c), title: c.name }, h("b", null, channelTitle(c.name)), h("span", null, shownUnit(c.unit)[0]), h("small", null, c.meaning)))]);
    list.replaceChildren(...(fits.length ? blocks.flat(2) : [h("p", { class: "hint" }, `No channel matches “${search.value}”.`)]));
  }

  menu.addEventListener("toggle", async () => {
    if (!menu.open) return;
    try {
      channels ??= await loadChannels();
      show();
    } catch (error) {
      list.replaceChildren(h("p", { class: "hint" }, `${error.title}. Close and open this list to try again.`));
    }
    search.focus();
  });
  search.addEventListener("input", () => channels && show());
  search.addEventListener("keydown", (e) => e.key === "Enter" && list.querySelector("button")?.click());
  menu.addEventListener("keydown", (e) => e.key === "Escape" && ((menu.open = false), menu.querySelector("summary").focus()));
  document.addEventListener("click", (e) => menu.contains(e.target) || (menu.open = false));
  host.replaceChildren(menu);
}
