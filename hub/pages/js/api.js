// The one place that talks to /v1. Errors are values with a status, a title for people and what to do.

/** An answer that is not a success, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(status, title, detail, retryAfterS = null) {
    super(detail ? `${title}: ${detail}` : title);
    Object.assign(this, { status, title, detail, retryAfterS });
  }
}

function toSignIn() {
  const here = location.pathname + location.search;
  location.assign(`/login?next=${encodeURIComponent(here)}`);
  return new Promise(() => {}); // the page is leaving: whoever waits here waits for nothing
}

async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // An error without a JSON body still has its status.
  }
  const title = body.title ?? `The hub answered ${response.status}`;
  const retry = Number(response.headers.get("retry-after"));
  return new ApiError(response.status, title, body.detail ?? "", Number.isFinite(retry) && retry > 0 ? retry : null);
}

/**
 * GET below /v1. `query` entries that are null, undefined or "" are left out.
 * Returns {data, etag, isUnchanged}; with `etag` given and nothing new: {data: null, isUnchanged: true}.
 */
export async function get(path, { query = {}, etag = null, signal } = {}) {
  const wanted = Object.entries(query).filter(([, v]) => v !== null && v !== undefined && v !== "");
  const tail = wanted.length ? `?${new URLSearchParams(wanted)}` : "";
  const headers = { accept: "application/json" };
  if (etag) headers["if-none-match"] = etag;
  let response;
  try {
    response = await fetch(`/v1/${path}${tail}`, { headers, signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "No answer from the hub", "Check the connection; this page tries again by itself.");
  }
  if (response.status === 304) return { data: null, etag, isUnchanged: true };
  if (response.status === 401) return toSignIn();
  if (!response.ok) throw await problemOf(response);
  return { data: await response.json(), etag: response.headers.get("etag"), isUnchanged: false };
}

async function change(path, options) {
  let response;
  try {
    response = await fetch(`/v1/${path}`, { credentials: "same-origin", ...options });
  } catch {
    throw new ApiError(0, "No answer from the hub", "Nothing was changed; check the connection and try again.");
  }
  if (response.status === 401) return toSignIn();
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

function withBody(method, body) {
  if (body === undefined) return { method, headers: { accept: "application/json" } };
  return { method, headers: { accept: "application/json", "content-type": "application/json" }, body: JSON.stringify(body) };
}

/** POST below /v1, with or without a JSON body. */
export const post = (path, body) => change(path, withBody("POST", body));

/** PATCH with a JSON body, below /v1. */
export const patch = (path, body) => change(path, withBody("PATCH", body));

/**
 * POST a file as it is, below /v1. onProgress(share 0..1) while it goes. Gives the answer; throws ApiError. `signal` stops it.
 * XMLHttpRequest, because fetch does not say how much has gone.
 */
export function upload(path, file, { query = {}, onProgress = () => {}, signal } = {}) {
  const wanted = Object.entries(query).filter(([, v]) => v !== null && v !== undefined && v !== "");
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/v1/${path}?${new URLSearchParams(wanted)}`);
    request.setRequestHeader("accept", "application/json");
    request.setRequestHeader("content-type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (e) => e.lengthComputable && onProgress(e.loaded / e.total);
    request.onload = () => {
      if (request.status === 401) return void toSignIn();
      const body = request.response ?? {};
      if (request.status >= 200 && request.status < 300) return done(body);
      failed(new ApiError(request.status, body.title ?? `The hub answered ${request.status}`, body.detail ?? ""));
    };
    request.onerror = () => failed(new ApiError(0, "No answer from the hub", "The file was not taken; try it again."));
    request.onabort = () => failed(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** All items of a list, page by page, up to `most`. */
export async function getAll(path, { query = {}, signal, most = 1000 } = {}) {
  const { data } = await get(path, { query: { limit: 200, ...query }, signal });
  return follow(path, data, query, signal, most);
}

async function follow(path, first, query, signal, most) {
  const items = [...first.items];
  let cursor = first.next_cursor;
  while (cursor && items.length < most) {
    const { data } = await get(path, { query: { limit: 200, ...query, cursor }, signal });
    items.push(...data.items);
    cursor = data.next_cursor;
  }
  return items;
}

/** A list that is asked for again and again: load() gives all items, or null when nothing changed (a longer list is read again). */
export class Feed {
  constructor(path) {
    this.path = path;
    this.etag = null;
  }

  async load() {
    const answer = await get(this.path, { query: { limit: 200 }, etag: this.etag });
    if (answer.isUnchanged) return null;
    this.etag = answer.data.next_cursor ? null : answer.etag;
    return follow(this.path, answer.data, {}, undefined, 2000);
  }
}
