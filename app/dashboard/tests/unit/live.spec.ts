// Frames and the connection that carries them.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { decodeFrame } from "../../src/live/frames";
import { LiveSocket, pauseBefore, type Wire } from "../../src/live/socket";

const issue = { id: "i1", event_count: 2, last_seen: "2026-11-21T12:00:00Z" };

describe("decodeFrame", () => {
  it("decodes each kind", () => {
    expect(decodeFrame(JSON.stringify({ type: "issue", topic: "project:a", kind: "new", issue }))).toMatchObject({ type: "issue", kind: "new", issue: { id: "i1" } });
    expect(decodeFrame(JSON.stringify({ type: "snapshot", topic: "project:a", issues: [issue, { id: 3 }, null] }))).toMatchObject({ type: "snapshot", issues: [{ id: "i1" }] });
    expect(decodeFrame(JSON.stringify({ type: "event", topic: "t", event: { id: "e", message: "hi", received_at: "2026-11-21T12:00:00Z" } }))).toMatchObject({ type: "event", event: { title: "hi", level: "error", issue_id: null } });
    expect(decodeFrame('{"type":"missed","count":4}')).toEqual({ type: "missed", count: 4 });
    expect(decodeFrame('{"missed":4}')).toEqual({ type: "missed", count: 4 });
    expect(decodeFrame('{"type":"error","message":"no"}')).toEqual({ type: "error", message: "no" });
  });
  it("takes an unknown kind of change as a change", () => {
    expect(decodeFrame(JSON.stringify({ type: "issue", kind: "merged", issue }))).toMatchObject({ kind: "changed" });
  });
  it("ignores what it does not understand", () => {
    for (const odd of ["", "[]", "null", "{", '{"type":"weather"}', '{"type":"issue","issue":{}}', '{"type":"event","event":{"id":"x"}}', 3]) expect(decodeFrame(odd)).toBeNull();
  });
});

class FakeWire implements Wire {
  sent: string[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  send(data: string): void {
    this.sent.push(data);
  }
  close(): void {
    this.onclose?.();
  }
}

describe("LiveSocket", () => {
  let wires: FakeWire[] = [];
  const states: string[] = [];
  const onFrame = vi.fn();
  function socket(): LiveSocket {
    return new LiveSocket({ onFrame, onState: (state) => states.push(state) }, () => {
      const wire = new FakeWire();
      wires.push(wire);
      return wire;
    });
  }
  beforeEach(() => {
    vi.useFakeTimers();
    wires = [];
    states.length = 0;
    onFrame.mockClear();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("subscribes when open, and again after a reconnect", () => {
    const live = socket();
    live.subscribe("project:a");
    live.start();
    expect(wires[0]?.sent).toEqual([]);
    wires[0]?.onopen?.();
    expect(wires[0]?.sent).toEqual(['{"subscribe":"project:a"}']);
    wires[0]?.onclose?.();
    expect(states.at(-1)).toBe("waiting");
    vi.advanceTimersByTime(500);
    wires[1]?.onopen?.();
    expect(wires[1]?.sent).toEqual(['{"subscribe":"project:a"}']);
    expect(states.at(-1)).toBe("open");
  });
  it("does not come back once stopped", () => {
    const live = socket();
    live.start();
    wires[0]?.onopen?.();
    live.stop();
    vi.advanceTimersByTime(60_000);
    expect(wires).toHaveLength(1);
    expect(states.at(-1)).toBe("idle");
  });
  it("passes on decoded frames only", () => {
    socket().start();
    wires[0]?.onmessage?.({ data: '{"type":"missed","count":1}' });
    wires[0]?.onmessage?.({ data: "rubbish" });
    expect(onFrame).toHaveBeenCalledTimes(1);
  });
  it("waits longer each time, up to a ceiling, never less than half of it", () => {
    expect(pauseBefore(0, 0)).toBe(250);
    expect(pauseBefore(0, 0.999)).toBeLessThanOrEqual(500);
    expect(pauseBefore(3, 0)).toBe(2000);
    expect(pauseBefore(40, 0.999)).toBeLessThanOrEqual(15_000);
  });
});
