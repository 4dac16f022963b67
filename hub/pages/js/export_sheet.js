// The sheet of downloads: one line per file, and a switch that asks for all of them without what tells the place.

import { h, icon } from "./dom.js";

/**
 * Fill a download menu. files: [name, what it is, address, hasPrivate (false, true, "only")]; extra: what stands below.
 * With the switch on, those that have no private form are hidden.
 */
export function fillSheet(menu, files, ...extra) {
  const links = files.map(([name, what, href, hasPrivate]) => ({ href, hasPrivate, element: h("a", { href, download: "" }, h("b", null, name), h("span", null, what)) }));
  const box = h("input", { type: "checkbox", onchange: () => apply() });
  const apply = () =>
    links.forEach(({ element, href, hasPrivate }) => {
      element.hidden = box.checked ? !hasPrivate : hasPrivate === "only";
      element.setAttribute("href", box.checked ? `${href}${href.includes("?") ? "&" : "?"}private=true` : href);
    });
  apply();
  const choice = h("label", { class: "private" }, box, h("span", null, h("b", null, "Private"), h("span", null, " moved elsewhere, without home and what tells the place")));
  menu.querySelector(".sheet").replaceChildren(...(links.some((l) => l.hasPrivate) ? [choice] : []), ...links.map((l) => l.element), ...extra);
  menu.querySelector("summary").replaceChildren(icon("down"), "Download");
  document.addEventListener("click", (e) => menu.contains(e.target) || (menu.open = false));
  menu.addEventListener("keydown", (e) => e.key === "Escape" && ((menu.open = false), menu.querySelector("summary").focus()));
}
