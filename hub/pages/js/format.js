// Values as people read them. Units are separated by a narrow no-break space; an absent value is an en dash.

export const NONE = "–";
const NARROW = "\u202f";
const absent = (v) => v === null || v === undefined || Number.isNaN(v);

/** A number with at most `digits` decimals, grouped by the reader's locale. */
export function number(value, digits = 0) {
  if (absent(value)) return NONE;
  if (Math.abs(value) < 0.5 / 10 ** digits) value = 0; // no "-0"
  return value.toLocaleString(undefined, { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

/** A number with its unit: quantity(12.3, "m", 1). */
export const quantity = (value, unit, digits = 0) => (absent(value) ? NONE : `${number(value, digits)}${NARROW}${unit}`);

/** Metres, or kilometres from 1 km. */
export function distance(metres) {
  if (absent(metres)) return NONE;
  if (Math.abs(metres) < 1000) return quantity(metres, "m");
  return quantity(metres / 1000, "km", Math.abs(metres) < 10000 ? 2 : 1);
}

/** Seconds as "45 s", "4 min 05 s", "2 h 03 min". */
export function duration(seconds) {
  if (absent(seconds)) return NONE;
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}${NARROW}s`;
  const two = (n) => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)}${NARROW}min ${two(s % 60)}${NARROW}s`;
  return `${Math.floor(s / 3600)}${NARROW}h ${two(Math.floor((s % 3600) / 60))}${NARROW}min`;
}

/** Bytes in decimal units. */
export function bytes(size) {
  if (absent(size)) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; Math.abs(size) >= 1000 && i < units.length - 1; i++) size /= 1000;
  return quantity(size, units[i], i && size < 100 ? 1 : 0);
}

const DATE = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const SHORT_CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** Before this moment a stamp is a recorder's own clock, not a time of day (2000-01-01). */
const FIRST_REAL_US = 946684800e6;

/** Whether microseconds since 1970 are a real time of day. */
export const isRealTime = (us) => !absent(us) && us >= FIRST_REAL_US;

/** Local date and time; stamps of an unset clock say so. */
export function dateTime(us) {
  if (absent(us)) return NONE;
  if (!isRealTime(us)) return "clock not set";
  const at = new Date(us / 1000);
  return `${DATE.format(at)} ${SHORT_CLOCK.format(at)}`;
}

/** Local time of day to the second. */
export const clock = (us) => (absent(us) ? NONE : CLOCK.format(new Date(us / 1000)));

/** The same moment in UTC, to the second, for titles and for the record. */
export function utc(us) {
  if (absent(us)) return NONE;
  if (!isRealTime(us)) return "no time of day: the recorder's clock was not set";
  return `${new Date(us / 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Seconds since the flight began, signed: "T+1:23.4". */
export function elapsed(seconds, digits = 1) {
  if (absent(seconds)) return NONE;
  const steps = 10 ** digits;
  const all = Math.round(Math.abs(seconds) * steps);
  const s = Math.floor(all / steps);
  const rest = digits ? `.${String(all % steps).padStart(digits, "0")}` : "";
  const hours = s >= 3600 ? `${Math.floor(s / 3600)}:` : "";
  const minutes = String(Math.floor((s % 3600) / 60)).padStart(hours ? 2 : 1, "0");
  return `T${seconds < 0 ? "−" : "+"}${hours}${minutes}:${String(s % 60).padStart(2, "0")}${rest}`;
}

/** How long ago, in one unit. */
export function ago(us, now = Date.now()) {
  if (absent(us)) return "never";
  const s = Math.round((now - us / 1000) / 1000);
  if (s < 5) return "now";
  if (s < 60) return `${s}${NARROW}s ago`;
  if (s < 3600) return `${Math.floor(s / 60)}${NARROW}min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)}${NARROW}h ago`;
  return `${Math.floor(s / 86400)}${NARROW}d ago`;
}

/** "1 batch", "3 batches". */
export const count = (n, one, many = `${one}s`) => `${number(n)}${"\u00a0"}${n === 1 ? one : many}`;

/** snake_case and CODE names as words: "gps_lost" → "Gps lost". */
export function words(name) {
  const text = String(name ?? "").replaceAll("_", " ").trim();
  return text ? text[0].toUpperCase() + text.slice(1) : NONE;
}

/** A measured value with as many digits as it deserves (3 significant). */
export function measured(value) {
  if (absent(value)) return NONE;
  const size = Math.abs(value);
  if (size && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  return number(value, size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}
