// From Sentry's exceptions to what the page shows.
import { describe, expect, it } from "vitest";
import type { Json } from "../../src/format/json";
import { displayValue, exceptions, frames, groupFrames, traceAsText } from "../../src/format/stacktrace";
import fixture from "../fixtures/event.json";

const read = exceptions(fixture as unknown as Record<string, Json>);

describe("exceptions", () => {
  it("puts the reported one first and its cause after it", () => {
    expect(read.map((exception) => exception.type)).toEqual(["PaymentDeclined", "ConnectionResetError"]);
    expect(read[0]).toMatchObject({ handled: false, mechanism: "flask" });
  });
  it("puts the most recent call first, with its code and locals", () => {
    const first = read[0]?.frames[0];
    expect(first).toMatchObject({ function: "charge", location: "shop/payments.py", line: 67, inApp: true });
    expect(first?.source.find((line) => line.current)).toMatchObject({ number: 67, code: expect.stringContaining("raise PaymentDeclined") });
    expect(first?.source[0]?.number).toBe(63);
    expect(first?.locals.map(([name]) => name)).toContain("charge");
  });
  it("accepts a bare list and odd values", () => {
    expect(exceptions({ exception: [{ type: "E", value: { code: 3 } }] })[0]).toMatchObject({ type: "E", value: '{\n  "code": 3\n}', frames: [] });
    expect(exceptions({ exception: { values: [null, 7] } })).toHaveLength(2);
    expect(exceptions({})).toEqual([]);
  });
});

describe("frames", () => {
  it("has no line numbers in the source when the frame has none", () => {
    const [only] = frames({ frames: [{ context_line: "x", pre_context: ["w"] }] }, "key");
    expect(only?.source).toEqual([
      { number: null, code: "w", current: false },
      { number: null, code: "x", current: true },
    ]);
    expect(only?.function).toBe("<anonymous>");
  });
  it("shows strings as they are and the rest as JSON", () => {
    expect(displayValue("a")).toBe("a");
    expect(displayValue(3)).toBe("3");
    expect(displayValue(null)).toBe("null");
  });
});

describe("groupFrames", () => {
  it("folds runs of library frames between the application's", () => {
    const groups = groupFrames(read[0]?.frames ?? []);
    expect(groups.map((group) => (group.kind === "frame" ? group.frame.function : group.frames.length))).toEqual(["charge", "checkout", 2]);
  });
  it("folds nothing when there is no application frame", () => {
    const list = frames({ frames: [{ function: "a" }, { function: "b" }] }, "key");
    expect(groupFrames(list).map((group) => group.kind)).toEqual(["frame", "frame"]);
  });
});

describe("traceAsText", () => {
  it("reads like a trace", () => {
    const text = traceAsText(read);
    expect(text.startsWith("PaymentDeclined: Card declined for order 8841: gateway unreachable\n    at charge (shop/payments.py:67)")).toBe(true);
    expect(text).toContain("\n\nCaused by: ConnectionResetError: ");
  });
});
