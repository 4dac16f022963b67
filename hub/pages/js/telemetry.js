// Telemetry as tables of columns: raw samples when few enough, min/mean/max buckets otherwise. The hub chooses nothing;
// the page asks for as many points as it has pixels.

import { get } from "./api.js";

const GRID_HZ = 10;

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

/** The API's answer as a table. A bucket's values stand at its middle. */
export function toTable(data) {
  const half = (data.bucket_us ?? 0) / 2e6;
  const columns = new Map();
  for (const [name, c] of Object.entries(data.channels)) {
    const mean = c.mean ?? c.values;
    columns.set(name, { unit: c.unit, mean, min: c.min ?? mean, max: c.max ?? mean });
  }
  return { time: data.time_utc_us.map((us) => us / 1e6 + half), columns, isRaw: !data.bucket_us };
}

/** Append `tail` to `table` in place, without repeating moments that it has. Channels new in the tail are filled up. */
export function appendTable(table, tail) {
  const last = table.time.at(-1) ?? -Infinity;
  const start = tail.time.findIndex((t) => t > last + 0.001);
  if (start < 0) return 0;
  const before = table.time.length;
  table.time.push(...tail.time.slice(start));
  for (const [name, c] of tail.columns) {
    if (!table.columns.has(name)) {
      const blank = new Array(before).fill(null);
      table.columns.set(name, { unit: c.unit, mean: [...blank], min: [...blank], max: [...blank] });
    }
  }
  for (const [name, c] of table.columns) {
    const more = tail.columns.get(name);
    const added = tail.time.length - start;
    for (const part of new Set([c.mean, c.min, c.max])) {
      const source = more && (part === c.min ? more.min : part === c.max ? more.max : more.mean);
      part.push(...(source ? source.slice(start) : new Array(added).fill(null)));
    }
  }
  return tail.time.length - start;
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
