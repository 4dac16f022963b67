// Sign-in: the form works without this module; with it, a wrong key is said in place and `next` is honoured.

import { byId } from "./dom.js";

const WRONG = "This key is not known here, or it has been revoked.";

/** Only a path of this site: "//elsewhere" and "/\elsewhere" are other sites to a browser. */
function target() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  const url = new URL(next, location.origin);
  return next.startsWith("/") && url.origin === location.origin && url.pathname !== "/login" ? url.pathname + url.search : "/";
}

async function signIn(key) {
  const answer = await fetch("/login", { method: "POST", body: new URLSearchParams({ key }), redirect: "manual", credentials: "same-origin" });
  if (answer.status === 429) return "Too many attempts. Wait a minute, then try again.";
  if (answer.status >= 500) return "The hub has a problem at the moment. Try again shortly.";
  if (answer.status >= 400) return WRONG;
  const me = await fetch("/v1/me", { credentials: "same-origin", cache: "no-store" });
  return me.ok ? "" : WRONG;
}

const form = byId("login");
const field = byId("key");
const button = form.querySelector("button");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  byId("key-error").textContent = "";
  let fault = "The hub does not answer. Check the connection and try again.";
  try {
    fault = await signIn(field.value.trim());
  } catch {
    // No answer: said below.
  }
  if (!fault) return location.replace(target());
  byId("key-error").textContent = fault;
  field.setAttribute("aria-invalid", "true");
  button.disabled = false;
  field.select();
});
