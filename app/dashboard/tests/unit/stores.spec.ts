// The stores against a fake server.
import { createPinia, setActivePinia } from "pinia";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { request } from "../../src/api/client";
import type { Issue } from "../../src/api/schema";
import { useConnection } from "../../src/stores/connection";
import { useIssueDetail } from "../../src/stores/issueDetail";
import { placed, renewed, useIssueList } from "../../src/stores/issueList";
import { useLiveEvents } from "../../src/stores/liveEvents";
import { useProject } from "../../src/stores/project";
import { useSession } from "../../src/stores/session";

type Answer = { status: number; body?: unknown } | Promise<{ status: number; body?: unknown }>;

function issue(id: string, count: number, seen: number, change: Partial<Issue> = {}): Issue {
  const at = new Date(Date.parse("2026-11-21T12:00:00Z") + seen * 1000).toISOString();
  return { id, project_id: "p", short_id: id.toUpperCase(), title: id, culprit: null, level: "error", status: "unresolved", regressed: false, platform: null, event_count: count, first_seen: at, last_seen: at, ...change };
}

const ids = (list: Issue[]) => list.map((row) => row.id);
const user = { id: "u", email: "a@b.c", name: "Ada", role: "owner" };

let answers: Record<string, Answer | (() => Answer)> = {};
const asked: string[] = [];

beforeEach(() => {
  setActivePinia(createPinia());
  asked.length = 0;
  answers = {};
  vi.stubGlobal("fetch", async (address: string, options: { method: string }) => {
    const call = `${options.method} ${address}`;
    asked.push(call);
    const entry = answers[call];
    if (entry === undefined) throw new TypeError("unreachable");
    const { status, body } = await (typeof entry === "function" ? entry() : entry);
    return new Response(body === undefined ? null : JSON.stringify(body), { status });
  });
  vi.stubGlobal(
    "WebSocket",
    class {
      send() {}
      close() {}
    },
  );
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("request", () => {
  it("turns every failure into a value", async () => {
    answers["GET /api/v1/a"] = { status: 404, body: { error: { code: "not_found", message: "no such issue", details: null } } };
    answers["GET /api/v1/b"] = { status: 502, body: "a proxy's page" };
    expect(await request("/a")).toEqual({ ok: false, error: { status: 404, code: "not_found", message: "no such issue" } });
    expect(await request("/b")).toMatchObject({ ok: false, error: { status: 502, code: "http_502" } });
    expect(await request("/c")).toMatchObject({ ok: false, error: { status: 0, code: "unreachable" } });
  });
});

describe("session", () => {
  it("knows whether set-up is needed, then who is signed in, and forgets on 401", async () => {
    const session = useSession();
    answers["GET /api/v1/session"] = { status: 200, body: { setup_required: true, user: null } };
    await session.load();
    expect([session.setupRequired, session.user]).toEqual([true, null]);
    answers["POST /api/v1/setup"] = { status: 201, body: { user } };
    expect(await session.setUp({ token: "t", email: "a@b.c", name: "Ada", password: "x" })).toBeNull();
    expect([session.setupRequired, session.user]).toEqual([false, user]);
    answers["GET /api/v1/projects"] = { status: 401, body: {} };
    await useProject().load();
    expect(session.user).toBeNull();
  });
  it("keeps the reason when logging in fails", async () => {
    answers["POST /api/v1/login"] = { status: 401, body: { error: { code: "unauthorised", message: "wrong" } } };
    expect(await useSession().logIn("a", "b")).toMatchObject({ status: 401, message: "wrong" });
  });
});

describe("placed", () => {
  const rows = [issue("a", 1, 30), issue("b", 1, 20), issue("c", 1, 10)];
  it("keeps the order by last seen", () => {
    expect(ids(placed(rows, issue("c", 2, 40), "unresolved"))).toEqual(["c", "a", "b"]);
    expect(ids(placed(rows, issue("d", 1, 15), "unresolved"))).toEqual(["a", "b", "d", "c"]);
  });
  it("takes out what left the filter, and never shows discarded ones", () => {
    expect(ids(placed(rows, issue("b", 1, 20, { status: "resolved" }), "unresolved"))).toEqual(["a", "c"]);
    expect(ids(placed(rows, issue("b", 1, 20, { status: "resolved" }), "all"))).toEqual(["a", "b", "c"]);
    expect(ids(placed(rows, issue("b", 1, 20, { status: "discarded" }), "all"))).toEqual(["a", "c"]);
  });
});

describe("renewed", () => {
  it("keeps the older rows that were loaded before, and nothing twice", () => {
    const shown = [issue("a", 1, 30), issue("b", 1, 20), issue("c", 1, 10)];
    expect(renewed([issue("b", 2, 40), issue("a", 1, 30)], shown, "next")).toMatchObject({ rows: [{ id: "b" }, { id: "a" }, { id: "c" }], kept: 1 });
    expect(renewed([issue("b", 2, 40)], shown, null)).toMatchObject({ rows: [{ id: "b" }], kept: 0 });
    expect(renewed([], shown, null)).toEqual({ rows: [], kept: 0 });
  });
});

describe("issueList", () => {
  const first = "GET /api/v1/projects/web/issues?status=unresolved&limit=50";
  const page = (data: Issue[], next: string | null = null) => ({ status: 200, body: { data, next_cursor: next } });

  it("loads, then follows the frames", async () => {
    answers[first] = page([issue("a", 1, 10)]);
    const list = useIssueList();
    await list.open("web", "p", "unresolved", "");
    const connection = useConnection();
    connection.publish({ type: "issue", topic: "t", kind: "new", issue: issue("b", 1, 20) });
    expect(ids(list.issues)).toEqual(["b", "a"]);
    expect(list.announcement).toBe("New issue: b");
    connection.publish({ type: "issue", topic: "t", kind: "counted", issue: issue("a", 2, 30) });
    expect(ids(list.issues)).toEqual(["a", "b"]);
    expect(list.pulses["a"]).toBe(1);
    connection.publish({ type: "issue", topic: "t", kind: "changed", issue: issue("a", 2, 30, { status: "resolved" }) });
    expect(ids(list.issues)).toEqual(["b"]);
  });
  it("ignores issues of another project", async () => {
    answers[first] = page([]);
    const list = useIssueList();
    await list.open("web", "p", "unresolved", "");
    list.receive({ type: "issue", topic: "t", kind: "new", issue: issue("x", 1, 1, { project_id: "other" }) });
    expect(list.empty).toBe(true);
  });
  it("loses no frame that arrives while the page loads, and is not set back by an old one", async () => {
    let deliver: (answer: { status: number; body: unknown }) => void = () => {};
    answers[first] = new Promise((resolve) => {
      deliver = resolve;
    });
    const list = useIssueList();
    const opened = list.open("web", "p", "unresolved", "");
    list.receive({ type: "issue", topic: "t", kind: "new", issue: issue("b", 1, 20) });
    list.receive({ type: "issue", topic: "t", kind: "counted", issue: issue("a", 4, 8) });
    deliver(page([issue("a", 5, 10)]));
    await opened;
    expect(list.issues.map((row) => [row.id, row.event_count])).toEqual([["b", 1], ["a", 5]]);
  });
  it("takes a snapshot as it is, and after a second one asks the server again", async () => {
    vi.useFakeTimers();
    answers[first] = page([issue("b", 1, 20)], "next");
    const list = useIssueList();
    await list.open("web", "p", "unresolved", "");
    list.receive({ type: "snapshot", topic: "t", issues: [issue("c", 1, 30), issue("a", 1, 10)] });
    expect(ids(list.issues)).toEqual(["c", "b"]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(asked).toHaveLength(1);
    list.receive({ type: "snapshot", topic: "t", issues: [] });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(asked).toHaveLength(2);
  });
  it("keeps the newer row when a frame has overtaken the snapshot", async () => {
    answers[first] = page([issue("a", 5, 10)]);
    const list = useIssueList();
    await list.open("web", "p", "unresolved", "");
    list.receive({ type: "issue", topic: "t", kind: "counted", issue: issue("a", 7, 12) });
    list.receive({ type: "snapshot", topic: "t", issues: [issue("a", 6, 11)] });
    expect(list.issues[0]?.event_count).toBe(7);
  });
  it("asks the server again after missed frames", async () => {
    vi.useFakeTimers();
    answers[first] = page([issue("a", 1, 10)]);
    const list = useIssueList();
    await list.open("web", "p", "unresolved", "");
    answers[first] = page([issue("a", 9, 10)]);
    list.receive({ type: "missed", count: 8 });
    list.receive({ type: "missed", count: 1 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(list.issues[0]?.event_count).toBe(9);
    expect(asked.filter((call) => call === first)).toHaveLength(2);
  });
  it("goes on where the page ended", async () => {
    answers[first] = page([issue("a", 1, 10)], "next");
    answers["GET /api/v1/projects/web/issues?status=unresolved&cursor=next&limit=50"] = page([issue("a", 1, 10), issue("b", 1, 5)]);
    const list = useIssueList();
    await list.open("web", "p", "unresolved", "");
    await list.loadMore();
    expect([ids(list.issues), list.nextCursor]).toEqual([["a", "b"], null]);
  });
  it("keeps the error, and changes a status", async () => {
    const list = useIssueList();
    await list.open("web", "p", "unresolved", "");
    expect(list.error?.code).toBe("unreachable");
    answers[first] = page([issue("a", 1, 10)]);
    await list.load();
    expect(list.error).toBeNull();
    answers["POST /api/v1/issues/a/resolve"] = { status: 200, body: issue("a", 1, 10, { status: "resolved" }) };
    expect(await list.change("a", "resolve")).toBeNull();
    expect(list.issues).toEqual([]);
  });
});

describe("issueDetail", () => {
  it("counts what arrives and knows that there is a newer event", async () => {
    answers["GET /api/v1/issues/a"] = { status: 200, body: issue("a", 1, 10) };
    answers["GET /api/v1/projects/web/events/latest?issue=a"] = { status: 200, body: { id: "e1", issue_id: "a", project_id: "p", received_at: "", occurred_at: "", previous_id: null, next_id: null, event: {} } };
    const store = useIssueDetail();
    await store.open("web", "a", "latest");
    expect(store.event?.next_id).toBeNull();
    store.receive({ type: "issue", topic: "t", kind: "counted", issue: issue("a", 3, 20) });
    store.receive({ type: "issue", topic: "t", kind: "counted", issue: issue("other", 9, 20) });
    expect([store.issue?.event_count, store.arrived, store.event?.next_id]).toEqual([3, 2, "latest"]);
    await store.open("web", "a", "latest");
    expect(store.arrived).toBe(0);
  });
});

describe("liveEvents", () => {
  const event = (id: string) => ({ type: "event" as const, topic: "t", event: { id, issue_id: null, project_id: "p", title: id, level: "info", occurred_at: "", received_at: "", environment: null, platform: null, message: null, culprit: null } });
  it("holds back while paused and shows each event once", () => {
    const live = useLiveEvents();
    live.open("web");
    live.receive(event("a"));
    live.receive(event("a"));
    live.pause();
    live.receive(event("b"));
    expect(live.events.map((item) => item.id)).toEqual(["a"]);
    expect(live.held).toHaveLength(1);
    live.resume();
    expect(live.events.map((item) => item.id)).toEqual(["b", "a"]);
  });
  it("knows that something was there before", () => {
    const live = useLiveEvents();
    live.receive({ type: "snapshot", topic: "t", issues: [issue("a", 1, 1)] });
    expect(live.before?.id).toBe("a");
  });
  it("keeps a bounded number and tells what was missed", () => {
    const live = useLiveEvents();
    for (let index = 0; index < 250; index += 1) live.receive(event(String(index)));
    live.receive({ type: "missed", count: 7 });
    expect([live.events.length, live.events[0]?.id, live.missed]).toEqual([200, "249", 7]);
  });
});
