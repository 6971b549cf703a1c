// How events ended: words for each end, and the hours of a chart.

export interface OutcomeHour {
  hour: string;
  outcome: string;
  reason: string;
  quantity: number;
}

export type Kind = "kept" | "let_go" | "put_aside" | "refused" | "not_sent" | "no_event";

interface Meaning {
  label: string;
  kind: Kind;
  help: string;
}

const meanings: Record<string, Meaning> = {
  stored: { label: "Stored", kind: "kept", help: "It is in the database." },
  duplicate: { label: "Duplicate", kind: "let_go", help: "The same event was sent before: a retry." },
  discarded: { label: "Discarded", kind: "let_go", help: "Its issue is discarded." },
  filtered: { label: "Filtered", kind: "let_go", help: "A filter of this project dropped it." },
  sampled: { label: "Sampled out", kind: "let_go", help: "This project's sampling left it out." },
  expired: { label: "Expired", kind: "let_go", help: "It was older than the retention when it came to be stored." },
  quarantined: { label: "In quarantine", kind: "put_aside", help: "It could not be processed or stored; an operator can try it again." },
  replayed: { label: "Tried again", kind: "no_event", help: "It left the quarantine and was counted anew." },
  lost: { label: "Lost", kind: "put_aside", help: "The disk no longer holds it." },
  rate_limited: { label: "Over the limit", kind: "refused", help: "More than the limit lets in, or no room." },
  invalid: { label: "Invalid", kind: "refused", help: "What was sent is no event." },
  too_large: { label: "Too large", kind: "refused", help: "Larger than an event may be." },
  unauthorised: { label: "Unauthorised", kind: "refused", help: "No key, an unknown one, or one of another project." },
  unsupported: { label: "Not kept", kind: "no_event", help: "Something beside events that nothing here shows, such as a session or an attachment." },
  client_dropped: { label: "Dropped by the SDK", kind: "not_sent", help: "The SDK says that it dropped this before sending." },
};

export function meaning(outcome: string): Meaning {
  return meanings[outcome] ?? { label: outcome, kind: "no_event", help: "" };
}

export interface Row extends Meaning {
  outcome: string;
  reason: string;
  quantity: number;
}

/** The rows of a table, the most first; what the SDK dropped stands apart. */
export function rows(totals: { outcome: string; reason: string; quantity: number }[]): Row[] {
  return totals
    .filter((total) => total.outcome !== "client_dropped")
    .map((total) => ({ ...meaning(total.outcome), ...total }))
    .sort((a, b) => b.quantity - a.quantity);
}

/** What the SDKs dropped: the sum of events, and each category with its reason. */
export function dropped(totals: { outcome: string; reason: string; quantity: number }[]): { events: number; parts: { category: string; reason: string; quantity: number }[] } {
  const parts = totals
    .filter((total) => total.outcome === "client_dropped")
    .map((total) => {
      const [category = "", reason = ""] = total.reason.split(":");
      return { category, reason: reason.replaceAll("_", " "), quantity: total.quantity };
    })
    .sort((a, b) => b.quantity - a.quantity);
  const events = parts.filter((part) => part.category === "error" || part.category === "default").reduce((sum, part) => sum + part.quantity, 0);
  return { events, parts };
}

export interface Column {
  fromMs: number;
  kept: number;
  other: number;
  refused: number;
}

const hourMs = 3_600_000;

/** At most `columnsMax` columns of whole hours from `fromMs` until `untilMs`; times outside are left out. */
export function columns(hours: OutcomeHour[], fromMs: number, untilMs: number, columnsMax: number): Column[] {
  const first = Math.floor(fromMs / hourMs);
  const count = Math.max(1, Math.ceil(untilMs / hourMs) - first);
  const width = Math.ceil(count / columnsMax);
  const made: Column[] = [];
  for (let at = 0; at < count; at += width) made.push({ fromMs: (first + at) * hourMs, kept: 0, other: 0, refused: 0 });
  for (const hour of hours) {
    const place = Math.floor(Date.parse(hour.hour) / hourMs) - first;
    const column = made[Math.floor(place / width)];
    if (place < 0 || column === undefined) continue;
    const { kind } = meaning(hour.outcome);
    if (kind === "kept") column.kept += hour.quantity;
    else if (kind === "let_go" || kind === "put_aside") column.other += hour.quantity;
    else if (kind === "refused") column.refused += hour.quantity;
  }
  return made;
}
