// Reads the server's explanation of why events were put together.
import { array, record, text, type Json } from "./json";
import { displayValue } from "./stacktrace";

export interface GroupingPart {
  contributes: boolean;
  name: string;
  value: string;
  reason: string;
}

export interface GroupingView {
  /** What decided: "in-app frames", "exception type and value", … */
  method: string | null;
  version: string | null;
  parts: GroupingPart[];
  /** Whatever else the server said, as names and values. */
  rest: [string, string][];
}

const methodKeys = ["method", "strategy", "kind", "rule"];
const partKeys = ["parts", "components", "contributions", "steps"];

function part(value: Json): GroupingPart {
  const raw = record(value);
  if (typeof value === "string") return { contributes: true, name: value, value: "", reason: "" };
  return {
    contributes: raw["contributes"] !== false,
    name: text(raw["name"]) ?? text(raw["id"]) ?? text(raw["kind"]) ?? "part",
    value: displayValue(raw["value"] ?? raw["values"] ?? ""),
    reason: text(raw["reason"]) ?? text(raw["hint"]) ?? text(raw["why"]) ?? "",
  };
}

/** The explanation as the page shows it; null when there is none. */
export function grouping(value: Json | undefined): GroupingView | null {
  const raw = record(value);
  const names = Object.keys(raw);
  if (names.length === 0) return null;
  const methodKey = methodKeys.find((key) => text(raw[key]) !== null);
  const partKey = partKeys.find((key) => Array.isArray(raw[key]));
  return {
    method: methodKey === undefined ? null : text(raw[methodKey]),
    version: raw["version"] === undefined ? null : displayValue(raw["version"]),
    parts: partKey === undefined ? [] : array(raw[partKey]).map(part),
    rest: names.filter((name) => name !== methodKey && name !== partKey && name !== "version").map((name) => [name.replaceAll("_", " "), displayValue(raw[name])]),
  };
}
