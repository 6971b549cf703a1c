// Turns the exceptions of a Sentry event into what the page shows. Tolerant: every field may be absent or odd.
import { array, numeric, record, text, type Json } from "./json";

export interface SourceLine {
  number: number | null;
  code: string;
  current: boolean;
}

export interface Frame {
  key: string;
  function: string;
  location: string;
  module: string | null;
  path: string | null;
  line: number | null;
  column: number | null;
  inApp: boolean;
  source: SourceLine[];
  locals: [string, string][];
}

/** Either one frame, or a run of neighbouring frames that are not the application's. */
export type FrameGroup = { kind: "frame"; frame: Frame } | { kind: "library"; key: string; frames: Frame[] };

export interface ExceptionView {
  key: string;
  type: string;
  value: string;
  module: string | null;
  mechanism: string | null;
  handled: boolean | null;
  frames: Frame[];
}

/** A local variable as one readable text: strings as they are, the rest as JSON. */
export function displayValue(value: Json | undefined): string {
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  return JSON.stringify(value, null, typeof value === "object" ? 2 : 0);
}

function sourceLines(raw: Record<string, Json>, line: number | null): SourceLine[] {
  const current = text(raw["context_line"]);
  if (current === null) return [];
  const before = array(raw["pre_context"]).map((code) => text(code) ?? "");
  const after = array(raw["post_context"]).map((code) => text(code) ?? "");
  const first = line === null ? null : line - before.length;
  return [...before, current, ...after].map((code, index) => ({
    number: first === null ? null : first + index,
    code,
    current: index === before.length,
  }));
}

function frame(value: Json, key: string): Frame {
  const raw = record(value);
  const line = numeric(raw["lineno"]);
  const path = text(raw["abs_path"]) ?? text(raw["filename"]);
  const module = text(raw["module"]);
  return {
    key,
    function: text(raw["function"]) ?? "<anonymous>",
    location: text(raw["filename"]) ?? module ?? text(raw["abs_path"]) ?? text(raw["package"]) ?? "<unknown>",
    module,
    path,
    line,
    column: numeric(raw["colno"]),
    inApp: raw["in_app"] === true,
    source: sourceLines(raw, line),
    locals: Object.entries(record(raw["vars"])).map(([name, local]) => [name, displayValue(local)]),
  };
}

/** The frames of a `stacktrace` object, most recent call first. */
export function frames(stacktrace: Json | undefined, key: string): Frame[] {
  return array(record(stacktrace)["frames"])
    .map((value, index) => frame(value, `${key}.${index}`))
    .reverse();
}

/** The exceptions of an event, the one that was reported first, then what caused it. */
export function exceptions(event: Record<string, Json>): ExceptionView[] {
  const raw = event["exception"];
  const values = Array.isArray(raw) ? raw : array(record(raw)["values"]);
  return values
    .map((value, index) => {
      const exception = record(value);
      const mechanism = record(exception["mechanism"]);
      return {
        key: `exception.${index}`,
        type: text(exception["type"]) ?? "Error",
        value: displayValue(exception["value"] ?? ""),
        module: text(exception["module"]),
        mechanism: text(mechanism["type"]),
        handled: typeof mechanism["handled"] === "boolean" ? mechanism["handled"] : null,
        frames: frames(exception["stacktrace"], `exception.${index}`),
      };
    })
    .reverse();
}

/** Folds each run of library frames into one group, unless nothing is the application's. */
export function groupFrames(list: Frame[]): FrameGroup[] {
  if (!list.some((item) => item.inApp)) return list.map((item) => ({ kind: "frame", frame: item }));
  const groups: FrameGroup[] = [];
  for (const item of list) {
    const last = groups.at(-1);
    if (item.inApp) groups.push({ kind: "frame", frame: item });
    else if (last?.kind === "library") last.frames.push(item);
    else groups.push({ kind: "library", key: `library.${item.key}`, frames: [item] });
  }
  return groups;
}

/** The exceptions as plain text, to paste into a ticket. */
export function traceAsText(list: ExceptionView[]): string {
  return list
    .map((exception, index) => {
      const head = `${index === 0 ? "" : "Caused by: "}${exception.type}: ${exception.value}`;
      const rows = exception.frames.map((item) => `    at ${item.function} (${item.location}${item.line === null ? "" : `:${item.line}`})`);
      return [head, ...rows].join("\n");
    })
    .join("\n\n");
}
