// The pure formats: time, counts, titles, snippets, event parts, grouping.
import { describe, expect, it } from "vitest";
import { compactCount, counted, fullCount } from "../../src/format/count";
import * as view from "../../src/format/event";
import { grouping } from "../../src/format/grouping";
import type { Json } from "../../src/format/json";
import { severity } from "../../src/format/severity";
import { parseDsn, snippets } from "../../src/format/snippets";
import { absoluteTime, clockTime, parseTime, relativeTime } from "../../src/format/time";
import { splitTitle } from "../../src/format/title";
import fixture from "../fixtures/event.json";

const event = fixture as unknown as Record<string, Json>;

describe("time", () => {
  const now = Date.parse("2026-11-21T12:00:00Z");
  const second = 1000;
  const cases: [number, string][] = [
    [0, "just now"],
    [4 * second, "just now"],
    [5 * second, "5s ago"],
    [59 * second, "59s ago"],
    [60 * second, "1m ago"],
    [3599 * second, "59m ago"],
    [3600 * second, "1h ago"],
    [24 * 3600 * second, "1d ago"],
    [14 * 24 * 3600 * second, "2w ago"],
    [365 * 24 * 3600 * second, "1y ago"],
    [-30 * second, "just now"],
    [-120 * second, "in 2m"],
  ];
  it.each(cases)("%d ms back is %s", (back, expected) => {
    expect(relativeTime(now - back, now)).toBe(expected);
  });
  it("is exact on hover, with the zone", () => {
    expect(absoluteTime(now, "en-GB", "UTC")).toBe("Sat, 21 Nov 2026, 12:00:00 UTC");
  });
  it("reads RFC 3339 and Unix seconds, and nothing else", () => {
    expect(parseTime("2026-11-21T12:00:00Z")).toBe(now);
    expect(parseTime(now / 1000)).toBe(now);
    for (const odd of ["", "yesterday-ish", null, undefined, Number.NaN, {}]) expect(parseTime(odd)).toBeNull();
  });
  it("shows milliseconds on the clock", () => {
    expect(clockTime(new Date(2026, 10, 21, 7, 3, 2, 9).getTime())).toBe("07:03:02.009");
  });
});

describe("count", () => {
  it.each([
    [0, "0"],
    [999, "999"],
    [1000, "1k"],
    [1299, "1.2k"],
    [9999, "9.9k"],
    [999_999, "999k"],
    [1_000_000, "1m"],
    [3_400_000_000, "3.4b"],
    [Number.NaN, "–"],
  ])("%d is %s", (count, expected) => {
    expect(compactCount(count)).toBe(expected);
  });
  it("has separators and a plural", () => {
    expect(fullCount(1204, "en")).toBe("1,204");
    expect(counted(1, "event", undefined, "en")).toBe("1 event");
    expect(counted(1204, "event", undefined, "en")).toBe("1,204 events");
  });
});

describe("title", () => {
  it("splits type from value", () => {
    expect(splitTitle("shop.PaymentDeclined: Card: declined")).toEqual({ head: "shop.PaymentDeclined", rest: "Card: declined" });
  });
  it("leaves a sentence alone", () => {
    expect(splitTitle("Could not connect: refused")).toEqual({ head: "Could not connect: refused", rest: "" });
  });
});

describe("severity", () => {
  it("knows the five and falls back to error", () => {
    expect(["fatal", "warning", "log", "critical", "whatever"].map(severity)).toEqual(["fatal", "warning", "info", "fatal", "error"]);
  });
});

describe("snippets", () => {
  const dsn = "https://0123456789abcdef0123456789abcdef@mesher.example:8443/7";
  it("takes a DSN apart", () => {
    expect(parseDsn(dsn)).toEqual({ origin: "https://mesher.example:8443", key: "0123456789abcdef0123456789abcdef", project: "7" });
    expect(parseDsn("not a dsn")).toBeNull();
    expect(parseDsn("https://mesher.example/7")).toBeNull();
  });
  it("names the DSN in every SDK and the key in curl", () => {
    const [python, node, curl] = snippets(dsn);
    expect(python?.steps[1]?.code).toContain(dsn);
    expect(node?.steps[1]?.code).toContain(dsn);
    expect(curl?.steps[0]?.code).toContain("https://mesher.example:8443/api/v1/events");
    expect(curl?.steps[0]?.code).toContain("Bearer 0123456789abcdef0123456789abcdef");
  });
});

describe("event", () => {
  it("reads tags from pairs and from an object", () => {
    expect(view.tags({ tags: [["a", "1"], ["b", 2], "odd"] })).toEqual([["a", "1"], ["b", "2"]]);
    expect(view.tags({ tags: { a: "1", b: null } })).toEqual([["a", "1"]]);
  });
  it("prefers the formatted message", () => {
    expect(view.message({ logentry: { message: "%s", formatted: "full" } })).toBe("full");
    expect(view.message({ message: "plain" })).toBe("plain");
    expect(view.message({})).toBeNull();
  });
  it("reads request, breadcrumbs, facts and contexts of a real event", () => {
    expect(view.request(event)).toMatchObject({ method: "POST", query: [["coupon", "SPRING"]] });
    expect(view.breadcrumbs(event).map((crumb) => crumb.category)).toEqual(["httplib", "query", "shop.payments"]);
    expect(view.facts(event)).toContainEqual(["SDK", "sentry.python.flask 2.30.0"]);
    expect(view.contexts(event).map((section) => section.title)).toEqual(["Runtime", "Operating system", "Trace"]);
    expect(view.extra(event)).toContainEqual(["attempt", "2"]);
  });
  it("survives an event that is nothing like one", () => {
    const odd: Record<string, Json> = { request: [], breadcrumbs: "no", tags: 3, user: null, contexts: [1], threads: { values: [null] }, modules: false };
    expect([view.request(odd), view.breadcrumbs(odd), view.tags(odd), view.user(odd), view.contexts(odd), view.looseFrames(odd), view.packages(odd)]).toEqual([null, [], [], [], [], [], []]);
  });
  it("takes the crashed thread's trace when nothing else has one", () => {
    const frame = (name: string): Json => ({ stacktrace: { frames: [{ function: name }] } });
    const threads = [frame("idle"), { ...(frame("crash") as Record<string, Json>), crashed: true }];
    expect(view.looseFrames({ threads: { values: threads } })[0]?.function).toBe("crash");
  });
});

describe("grouping", () => {
  it("tells what contributed from what did not", () => {
    const contributions: Json[] = [
      { part: "frame", value: "shop.payments charge", contributes: true },
      { part: "frame", value: "flask.app wsgi_app", contributes: false, reason: "not the program's own" },
    ];
    const read = grouping({ version: 1, method: "stack", summary: "grouped by the calls", fingerprint: ["{{ default }}", "x"], contributions, left_out: 2 });
    expect(read).toEqual({
      summary: "Grouped by the calls",
      version: "1",
      used: [{ name: "frame", value: "shop.payments charge", reason: "" }],
      unused: [{ name: "frame", value: "flask.app wsgi_app", reason: "not the program's own" }],
      leftOut: 2,
      client: ["{{ default }}", "x"],
    });
  });
  it("is nothing when there is none", () => {
    for (const none of [null, {}, [], "stack"]) expect(grouping(none)).toBeNull();
  });
});
