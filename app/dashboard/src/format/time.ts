// Times for people: relative for reading, absolute for certainty.

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** The time of an RFC 3339 string or of a Unix time in seconds, in milliseconds; null when it is neither. */
export function parseTime(value: unknown): number | null {
  if (typeof value === "number" && Number.isFinite(value)) return value * 1000;
  if (typeof value !== "string" || value === "") return null;
  const parsed = Date.parse(value);
  if (!Number.isNaN(parsed)) return parsed;
  const seconds = Number(value);
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

/** "just now", "42s ago", "5m ago", "3h ago", "2d ago", "6w ago", "1y ago"; a little ahead of `nowMs` counts as now. */
export function relativeTime(timeMs: number, nowMs: number): string {
  const seconds = Math.floor((nowMs - timeMs) / 1000);
  if (seconds < -minute) return `in ${span(-seconds)}`;
  if (seconds < 5) return "just now";
  return `${span(seconds)} ago`;
}

function span(seconds: number): string {
  if (seconds < minute) return `${seconds}s`;
  if (seconds < hour) return `${Math.floor(seconds / minute)}m`;
  if (seconds < day) return `${Math.floor(seconds / hour)}h`;
  if (seconds < 14 * day) return `${Math.floor(seconds / day)}d`;
  if (seconds < 365 * day) return `${Math.floor(seconds / (7 * day))}w`;
  return `${Math.floor(seconds / (365 * day))}y`;
}

/** The full local date and time with its zone, for a tooltip. */
export function absoluteTime(timeMs: number, locale?: string, timeZone?: string): string {
  return new Intl.DateTimeFormat(locale, {
    weekday: "short",
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
    timeZone,
  }).format(timeMs);
}

/** The local wall clock as "14:03:22.120", for rows that lie close together. */
export function clockTime(timeMs: number): string {
  const date = new Date(timeMs);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
