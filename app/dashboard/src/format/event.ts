// The parts of a Sentry event besides its stack trace, as rows the page can show.
import { array, record, text, type Json } from "./json";
import { displayValue, frames, type Frame } from "./stacktrace";
import { parseTime } from "./time";

export type Row = [string, string];

export interface Breadcrumb {
  key: string;
  timeMs: number | null;
  category: string;
  level: string;
  message: string;
  data: Row[];
}

export interface Section {
  title: string;
  rows: Row[];
}

export interface RequestView {
  method: string;
  url: string;
  query: Row[];
  headers: Row[];
  cookies: Row[];
  environment: Row[];
  body: string | null;
}

type Event = Record<string, Json>;

function rows(value: Json | undefined, skip: string[] = []): Row[] {
  if (Array.isArray(value)) {
    return value.flatMap((pair): Row[] => (Array.isArray(pair) && pair.length >= 2 ? [[displayValue(pair[0]), displayValue(pair[1])]] : []));
  }
  return Object.entries(record(value))
    .filter(([name, item]) => !skip.includes(name) && item !== null && item !== "")
    .map(([name, item]) => [name, displayValue(item)]);
}

/** Tags, from either shape Sentry knows: an object or a list of pairs. */
export function tags(event: Event): Row[] {
  return rows(event["tags"]).filter(([name]) => name !== "");
}

/** The message of an event without exception; the formatted one when there are both. */
export function message(event: Event): string | null {
  const entry = record(event["logentry"]);
  return text(entry["formatted"]) ?? text(entry["message"]) ?? text(event["message"]) ?? text(record(event["message"])["formatted"]);
}

export function user(event: Event): Row[] {
  return rows(event["user"]);
}

export function breadcrumbs(event: Event): Breadcrumb[] {
  const raw = event["breadcrumbs"];
  const values = Array.isArray(raw) ? raw : array(record(raw)["values"]);
  return values.map((value, index) => {
    const crumb = record(value);
    return {
      key: `crumb.${index}`,
      timeMs: parseTime(crumb["timestamp"]),
      category: text(crumb["category"]) ?? text(crumb["type"]) ?? "default",
      level: text(crumb["level"]) ?? "info",
      message: displayValue(crumb["message"] ?? ""),
      data: rows(crumb["data"]),
    };
  });
}

export function request(event: Event): RequestView | null {
  const raw = record(event["request"]);
  const url = text(raw["url"]);
  if (url === null && Object.keys(raw).length === 0) return null;
  const query = raw["query_string"];
  const data = raw["data"];
  return {
    method: text(raw["method"]) ?? "",
    url: url ?? "",
    query: typeof query === "string" ? [...new URLSearchParams(query)] : rows(query),
    headers: rows(raw["headers"]),
    cookies: typeof raw["cookies"] === "string" ? [["cookie", raw["cookies"]]] : rows(raw["cookies"]),
    environment: rows(raw["env"]),
    body: data === undefined || data === null || data === "" ? null : displayValue(data),
  };
}

const contextTitles: Record<string, string> = { os: "Operating system", runtime: "Runtime", browser: "Browser", device: "Device", trace: "Trace", app: "App", gpu: "GPU", culture: "Culture" };

/** The contexts: runtime, operating system, device, trace, … each a titled list. */
export function contexts(event: Event): Section[] {
  const list = Object.entries(record(event["contexts"])).map(([name, context]) => ({
    title: contextTitles[name] ?? name,
    rows: rows(context, ["type"]),
  }));
  return list.filter((section) => section.rows.length > 0);
}

export function extra(event: Event): Row[] {
  return rows(event["extra"]);
}

export function packages(event: Event): Row[] {
  return rows(event["modules"]);
}

/** The frames of an event that has a stack trace but no exception (a message with a trace, or a thread). */
export function looseFrames(event: Event): Frame[] {
  const own = frames(event["stacktrace"], "stacktrace");
  if (own.length > 0) return own;
  const raw = event["threads"];
  const threads = (Array.isArray(raw) ? raw : array(record(raw)["values"])).map(record);
  const chosen = threads.find((thread) => thread["crashed"] === true) ?? threads.find((thread) => thread["current"] === true) ?? threads[0];
  return frames(chosen?.["stacktrace"], "thread");
}

/** The facts in the event's headline: where and what it ran on. */
export function facts(event: Event): Row[] {
  const sdk = record(event["sdk"]);
  const candidates: [string, string | null][] = [
    ["Environment", text(event["environment"])],
    ["Release", text(event["release"])],
    ["Transaction", text(event["transaction"])],
    ["Server", text(event["server_name"])],
    ["Logger", text(event["logger"])],
    ["SDK", text(sdk["name"]) === null ? null : `${text(sdk["name"])} ${text(sdk["version"]) ?? ""}`.trim()],
  ];
  return candidates.filter((row): row is Row => row[1] !== null);
}
