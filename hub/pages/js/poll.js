// Ask again and again, politely: only while the page is seen, with ETag, slower while the hub does not answer.

import { get } from "./api.js";

const SLOWEST_MS = 30000;

/**
 * GET `path` every `everyMs`. onData(data) for each new answer; onError(error) for a failure, onError(null) once it
 * works again. `query` is a function, asked each time. Returns {now(), stop()}.
 */
export function poll(path, { everyMs = 2000, query = () => ({}), onData, onError = () => {} }) {
  let etag = null;
  let asked = "";
  let timer = 0;
  let failures = 0;
  let isStopped = false;
  let running = null;

  async function ask() {
    clearTimeout(timer);
    running?.abort();
    const mine = (running = new AbortController());
    const wanted = query();
    const key = JSON.stringify(wanted);
    if (key !== asked) etag = null; // another question: the old tag says nothing about it
    try {
      const answer = await get(path, { query: wanted, etag, signal: mine.signal });
      if (isStopped || mine !== running) return;
      if (failures) onError(null);
      failures = 0;
      if (!answer.isUnchanged) {
        asked = key;
        etag = answer.etag;
        await onData(answer.data);
      }
    } catch (error) {
      if (error.name === "AbortError" || isStopped || mine !== running) return;
      failures += 1;
      onError(error);
      plan(error.retryAfterS ? error.retryAfterS * 1000 : Math.min(SLOWEST_MS, everyMs * 2 ** Math.min(failures, 5)));
      return;
    }
    plan(everyMs);
  }

  function plan(ms) {
    clearTimeout(timer);
    if (!isStopped && !document.hidden) timer = setTimeout(ask, ms);
  }

  const onSeen = () => (document.hidden ? clearTimeout(timer) : ask());
  document.addEventListener("visibilitychange", onSeen);
  ask();
  return {
    now: ask,
    stop() {
      isStopped = true;
      clearTimeout(timer);
      running?.abort();
      document.removeEventListener("visibilitychange", onSeen);
    },
  };
}
