// Reads the server's explanation of why events were put together (processing/fingerprint writes it).
import { array, numeric, record, text, type Json } from "./json";
import { displayValue } from "./stacktrace";

export interface GroupingPart {
  name: string;
  value: string;
  reason: string;
}

export interface GroupingView {
  summary: string;
  version: string | null;
  /** What went into the hash, in order. */
  used: GroupingPart[];
  /** What was looked at and left out, each with the reason. */
  unused: GroupingPart[];
  /** How many more parts the explanation does not name. */
  leftOut: number;
  /** The fingerprint the client asked for. */
  client: string[];
}

function part(value: Json): GroupingPart {
  const raw = record(value);
  return { name: text(raw["part"]) ?? "part", value: displayValue(raw["value"]), reason: text(raw["reason"]) ?? "" };
}

/** The explanation as the page shows it; null when there is none. */
export function grouping(value: Json | undefined): GroupingView | null {
  const raw = record(value);
  const summary = text(raw["summary"]) ?? text(raw["method"]);
  if (summary === null) return null;
  const contributions = array(raw["contributions"]);
  const contributes = (item: Json) => record(item)["contributes"] !== false;
  return {
    summary: summary.charAt(0).toUpperCase() + summary.slice(1),
    version: raw["version"] === undefined ? null : displayValue(raw["version"]),
    used: contributions.filter(contributes).map(part),
    unused: contributions.filter((item) => !contributes(item)).map(part),
    leftOut: numeric(raw["left_out"]) ?? 0,
    client: array(raw["fingerprint"]).map(displayValue),
  };
}
