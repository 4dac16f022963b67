// What every page shows beside its own content: whose data this is, and whether the hub answers.

import { get } from "./api.js";
import { byId, h, setText } from "./dom.js";

/** Fill the top bar; gives who is asking ({org_name, role, ...}), or null. Without a session the API's 401 leads to the sign-in page. */
export async function openFrame() {
  try {
    const { data } = await get("me");
    setText(byId("who"), data.org_name ?? "");
    byId("who").title = `${data.org_name ?? ""} · ${data.role ?? ""}`;
    return data;
  } catch (error) {
    showLink(error);
    return null;
  }
}

/** Say in the top bar that the hub does not answer; null takes it back. */
export function showLink(error) {
  setText(byId("link-state"), error ? `${error.title ?? "No answer"} · retrying` : "");
}

/** The place of a list or panel that has nothing to show, with what to do about it. */
export function emptyState(title, text, ...actions) {
  return h("div", { class: "state" }, h("strong", null, title), text && h("p", null, text), ...actions);
}

/** The place of something that failed, with a way to try again. */
export function errorState(error, retry) {
  const button = retry && h("button", { class: "plain", type: "button", onclick: retry }, "Try again");
  return h("div", { class: "state", role: "alert" }, h("strong", null, error.title ?? "Something went wrong on this page"), h("p", null, error.detail || error.message), button);
}
