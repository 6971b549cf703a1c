// The events as they arrive, newest first, with a pause.
import { defineStore } from "pinia";
import { ref } from "vue";
import type { Issue, LiveEvent } from "../api/schema";
import type { LiveFrame } from "../live/frames";
import { useConnection } from "./connection";

const eventsMax = 200;

export const useLiveEvents = defineStore("liveEvents", () => {
  const connection = useConnection();
  const events = ref<LiveEvent[]>([]);
  const held = ref<LiveEvent[]>([]);
  const paused = ref(false);
  const received = ref(0);
  const missed = ref(0);
  /** The newest issue that stood there before the first event came. */
  const before = ref<Issue | null>(null);
  let stopListening: (() => void) | null = null;
  let project: string | null = null;

  function open(name: string): void {
    if (project !== name) clear();
    project = name;
    stopListening ??= connection.listen(receive);
    connection.follow(name);
  }

  function close(): void {
    stopListening?.();
    stopListening = null;
  }

  function receive(frame: LiveFrame): void {
    if (frame.type === "snapshot") before.value = frame.issues[0] ?? null;
    if (frame.type === "missed") missed.value += frame.count;
    if (frame.type !== "event") return;
    received.value += 1;
    const target = paused.value ? held : events;
    if (events.value.some((event) => event.id === frame.event.id) || held.value.some((event) => event.id === frame.event.id)) return;
    target.value = [frame.event, ...target.value].slice(0, eventsMax);
  }

  function pause(): void {
    paused.value = true;
  }

  /** Shows what came during the pause and goes on. */
  function resume(): void {
    paused.value = false;
    events.value = [...held.value, ...events.value].slice(0, eventsMax);
    held.value = [];
  }

  function clear(): void {
    events.value = [];
    held.value = [];
    received.value = 0;
    missed.value = 0;
    before.value = null;
    paused.value = false;
  }

  return { events, before, held, paused, received, missed, open, close, pause, resume, clear, receive };
});
