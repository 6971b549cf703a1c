// The severities, and how each is called.

export type Severity = "fatal" | "error" | "warning" | "info" | "debug";

const known: readonly string[] = ["fatal", "error", "warning", "info", "debug"];

/** The severity a level names; what we do not know counts as an error. */
export function severity(level: string): Severity {
  if (level === "log") return "info";
  if (level === "critical") return "fatal";
  return known.includes(level) ? (level as Severity) : "error";
}
