// Decodes the frames of the live socket; what it does not know it ignores, so that a newer server does no harm.
import type { Issue, LiveEvent } from "../api/schema";

export type IssueChangeKind = "new" | "regressed" | "counted" | "changed";

export type LiveFrame =
  | { type: "snapshot"; topic: string; issues: Issue[] }
  | { type: "event"; topic: string; event: LiveEvent }
  | { type: "issue"; topic: string; kind: IssueChangeKind; issue: Issue }
  | { type: "missed"; count: number }
  | { type: "error"; message: string };

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasId(value: unknown): value is Record<string, unknown> & { id: string } {
  return isRecord(value) && typeof value["id"] === "string";
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function issue(value: unknown): Issue | null {
  if (!hasId(value) || typeof value["event_count"] !== "number" || typeof value["last_seen"] !== "string") return null;
  return value as unknown as Issue;
}

function liveEvent(value: unknown): LiveEvent | null {
  if (!hasId(value)) return null;
  const received = text(value["received_at"]) ?? text(value["occurred_at"]);
  if (received === null) return null;
  return {
    id: value.id,
    issue_id: text(value["issue_id"]),
    project_id: text(value["project_id"]) ?? "",
    title: text(value["title"]) ?? text(value["message"]) ?? "(no title)",
    level: text(value["level"]) ?? "error",
    occurred_at: text(value["occurred_at"]) ?? received,
    received_at: received,
    environment: text(value["environment"]),
    platform: text(value["platform"]),
    message: text(value["message"]),
    culprit: text(value["culprit"]),
  };
}

const kinds = ["new", "regressed", "counted", "changed"];

/** The frame in `data`, or null when it is not one we understand. */
export function decodeFrame(data: unknown): LiveFrame | null {
  if (typeof data !== "string") return null;
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  if (!isRecord(value)) return null;
  // A connection that fell behind is told by a bare {"missed": n}.
  if (value["type"] === undefined && typeof value["missed"] === "number") return { type: "missed", count: value["missed"] };
  const topic = text(value["topic"]) ?? "";
  switch (value["type"]) {
    case "snapshot": {
      const rows = Array.isArray(value["issues"]) ? value["issues"] : [];
      return { type: "snapshot", topic, issues: rows.map(issue).filter((row) => row !== null) };
    }
    case "event": {
      const event = liveEvent(value["event"]);
      return event === null ? null : { type: "event", topic, event };
    }
    case "issue": {
      const row = issue(value["issue"]);
      const kind = kinds.includes(String(value["kind"])) ? (value["kind"] as IssueChangeKind) : "changed";
      return row === null ? null : { type: "issue", topic, kind, issue: row };
    }
    case "missed":
      return { type: "missed", count: typeof value["count"] === "number" ? value["count"] : 0 };
    case "error":
      return { type: "error", message: text(value["message"]) ?? "unknown error" };
    default:
      return null;
  }
}
