// How events ended: words, sums and the chart's columns.
import { describe, expect, it } from "vitest";
import { columns, dropped, meaning, rows } from "../../src/format/outcomes";

const total = (outcome: string, reason: string, quantity: number) => ({ outcome, reason, quantity });

describe("rows", () => {
  it("puts the most first and leaves out what was never sent", () => {
    const made = rows([total("client_dropped", "error:before_send", 812), total("invalid", "", 2), total("stored", "", 9)]);
    expect(made.map((row) => [row.label, row.kind, row.quantity])).toEqual([
      ["Stored", "kept", 9],
      ["Invalid", "refused", 2],
    ]);
  });
  it("shows an end it does not know by its own name", () => {
    expect(meaning("from_the_future")).toMatchObject({ label: "from_the_future", kind: "no_event" });
  });
});

describe("dropped", () => {
  it("sums events alone and reads the reasons", () => {
    const made = dropped([total("client_dropped", "transaction:sample_rate", 3), total("client_dropped", "error:before_send", 812), total("stored", "", 1)]);
    expect(made).toEqual({
      events: 812,
      parts: [
        { category: "error", reason: "before send", quantity: 812 },
        { category: "transaction", reason: "sample rate", quantity: 3 },
      ],
    });
  });
});

describe("columns", () => {
  const hour = (at: string, outcome: string, quantity: number) => ({ hour: `2026-11-22T${at}:00:00Z`, outcome, reason: "", quantity });
  const [from, until] = [Date.parse("2026-11-22T01:30:00Z"), Date.parse("2026-11-22T04:30:00Z")];
  it("has one for each hour and stacks what came in it", () => {
    const made = columns([hour("01", "stored", 5), hour("01", "duplicate", 1), hour("04", "rate_limited", 2), hour("09", "stored", 7), hour("01", "client_dropped", 9)], from, until, 48);
    expect(made.map((column) => [column.kept, column.other, column.refused])).toEqual([
      [5, 1, 0],
      [0, 0, 0],
      [0, 0, 0],
      [0, 0, 2],
    ]);
  });
  it("joins hours when there are too many", () => {
    const made = columns([hour("01", "stored", 5), hour("02", "stored", 1), hour("04", "stored", 2)], from, until, 2);
    expect(made.map((column) => column.kept)).toEqual([6, 2]);
  });
});
