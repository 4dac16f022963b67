// Telemetry as tables of columns: raw samples when few enough, min/mean/max buckets otherwise. The hub chooses nothing;
// the page asks for as many points as it has pixels.

import { get } from "./api.js";

const GRID_HZ = 10;
/** A longer step between samples is a hole in the record; a shorter one is a channel that is sent seldom. */
export const HOLE_S = 2;

/**
 * Load channels for [from, to] seconds. Returns a table {time: number[] (s), columns: Map name → {unit, mean, min, max}, isRaw};
 * raw tables share one array for all three. Absent samples are null.
 */
export async function loadTable(flightId, channels, { from, to, points, signal }) {
  const isRaw = points === null || (to - from) * GRID_HZ <= points;
  const query = {
    channels: channels.join(","),
    from_utc_us: Math.floor(from * 1e6),
    to_utc_us: Math.ceil(to * 1e6),
    resolution: isRaw ? "raw" : Math.round(points),
    format: "json",
  };
  const { data } = await get(`flights/${encodeURIComponent(flightId)}/telemetry`, { query, signal });
  return toTable(data);
}

/**
 * The API's answer as a table. A bucket's values stand at its middle. Where moments are missing, a row of nulls breaks
 * the lines: a plot must not draw across what nobody recorded.
 */
export function toTable(data) {
  const half = (data.bucket_us ?? 0) / 2e6;
  const pauseS = Math.max(HOLE_S, (2.5 * (data.bucket_us ?? 0)) / 1e6);
  const plain = data.time_utc_us.map((us) => us / 1e6 + half);
  const breaks = plain.flatMap((t, i) => (i && t - plain[i - 1] > pauseS ? [i] : []));
  const widen = (values, fill) => (breaks.length ? withBreaks(values, breaks, fill) : values);
  const columns = new Map();
  for (const [name, c] of Object.entries(data.channels)) {
    const mean = widen(c.mean ?? c.values, () => null);
    columns.set(name, { unit: c.unit, mean, min: c.min ? widen(c.min, () => null) : mean, max: c.max ? widen(c.max, () => null) : mean });
  }
  const time = widen(plain, (i) => (plain[i - 1] + plain[i]) / 2);
  return { time, columns, isRaw: !data.bucket_us };
}

/** A copy with fill(i) put in before each index of `breaks`. */
function withBreaks(values, breaks, fill) {
  const parts = [0, ...breaks].map((start, k) => [...(k ? [fill(start)] : []), ...values.slice(start, breaks[k])]);
  return parts.flat();
}

/** Append `tail` to `table` in place, without repeating moments that it has. Channels new in the tail are filled up. */
export function appendTable(table, tail) {
  const last = table.time.at(-1) ?? -Infinity;
  const start = tail.time.findIndex((t) => t > last + 0.001);
  if (start < 0) return;
  const before = table.time.length;
  const added = tail.time.length - start;
  table.time.push(...tail.time.slice(start));
  for (const [name, c] of tail.columns) {
    if (!table.columns.has(name)) {
      const blank = new Array(before).fill(null);
      table.columns.set(name, { unit: c.unit, mean: [...blank], min: [...blank], max: [...blank] });
    }
  }
  for (const [name, c] of table.columns) {
    const more = tail.columns.get(name);
    for (const part of new Set([c.mean, c.min, c.max])) {
      const source = more && (part === c.min ? more.min : part === c.max ? more.max : more.mean);
      part.push(...(source ? source.slice(start) : new Array(added).fill(null)));
    }
  }
}

/** Columns of a channel: itself, or its elements "name[0]", "name[1]" … that carry any value. */
export function columnsOf(table, channel) {
  if (table.columns.has(channel)) return [[channel, table.columns.get(channel)]];
  return [...table.columns].filter(([name, c]) => name.startsWith(`${channel}[`) && c.mean.some((v) => v !== null));
}

/** Index of the sample nearest to `time`; -1 in an empty list. */
export function nearest(times, time) {
  let low = 0;
  let high = times.length - 1;
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle;
    else high = middle;
  }
  return time - times[low] <= times[high] - time ? low : high;
}
