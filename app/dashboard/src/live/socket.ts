// One connection to the live endpoint: reconnects with growing, jittered pauses and subscribes again by itself.
import { decodeFrame, type LiveFrame } from "./frames";

export type SocketState = "idle" | "connecting" | "open" | "waiting";

export interface SocketHandlers {
  onFrame: (frame: LiveFrame) => void;
  onState: (state: SocketState) => void;
}

/** The part of a WebSocket we use; tests bring their own. */
export interface Wire {
  send(data: string): void;
  close(): void;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
}

const pauseMinMs = 500;
const pauseMaxMs = 15_000;

function openWire(): Wire {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(`${scheme}//${location.host}/api/v1/live`) as unknown as Wire;
}

/** The pause before attempt number `attempt` (from 0): doubles to a ceiling, and `chance` in [0, 1) spreads the clients. */
export function pauseBefore(attempt: number, chance: number): number {
  const ceiling = Math.min(pauseMaxMs, pauseMinMs * 2 ** attempt);
  return Math.round(ceiling / 2 + (ceiling / 2) * chance);
}

export class LiveSocket {
  private wire: Wire | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private attempt = 0;
  private wanted = false;
  private readonly topics = new Set<string>();

  constructor(
    private readonly handlers: SocketHandlers,
    private readonly open: () => Wire = openWire,
  ) {
    if (typeof addEventListener === "function") {
      addEventListener("online", () => this.hurry());
      addEventListener("visibilitychange", () => this.hurry());
    }
  }

  /** Starts the connection; does nothing when there is one. */
  start(): void {
    this.wanted = true;
    if (this.wire === null && this.timer === null) this.connect();
  }

  /** Ends the connection and forgets every subscription. */
  stop(): void {
    this.wanted = false;
    this.topics.clear();
    this.cancelTimer();
    const wire = this.wire;
    this.wire = null;
    wire?.close();
    this.handlers.onState("idle");
  }

  subscribe(topic: string): void {
    if (this.topics.has(topic)) return;
    this.topics.add(topic);
    this.send({ subscribe: topic });
  }

  unsubscribe(topic: string): void {
    if (this.topics.delete(topic)) this.send({ unsubscribe: topic });
  }

  private ready = false;

  private send(message: object): void {
    if (this.ready) this.wire?.send(JSON.stringify(message));
  }

  private connect(): void {
    this.handlers.onState("connecting");
    const wire = this.open();
    this.wire = wire;
    this.ready = false;
    wire.onopen = () => {
      if (this.wire !== wire) return;
      this.attempt = 0;
      this.ready = true;
      this.handlers.onState("open");
      for (const topic of this.topics) this.send({ subscribe: topic });
    };
    wire.onmessage = (event) => {
      if (this.wire !== wire) return;
      const frame = decodeFrame(event.data);
      if (frame !== null) this.handlers.onFrame(frame);
    };
    wire.onclose = () => {
      if (this.wire !== wire) return;
      this.wire = null;
      this.ready = false;
      if (this.wanted) this.wait();
    };
  }

  private wait(): void {
    this.handlers.onState("waiting");
    this.timer = setTimeout(() => {
      this.timer = null;
      this.connect();
    }, pauseBefore(this.attempt, Math.random()));
    this.attempt += 1;
  }

  /** The network or the tab came back: no need to sit out the pause. */
  private hurry(): void {
    if (this.timer === null || !this.wanted) return;
    this.cancelTimer();
    this.connect();
  }

  private cancelTimer(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}
