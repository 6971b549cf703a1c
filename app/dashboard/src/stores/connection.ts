// The one live connection: its state, and who listens to its frames.
import { defineStore } from "pinia";
import { ref } from "vue";
import type { LiveFrame } from "../live/frames";
import { LiveSocket, type SocketState } from "../live/socket";

export type FrameListener = (frame: LiveFrame) => void;

export const useConnection = defineStore("connection", () => {
  const state = ref<SocketState>("idle");
  const listeners = new Set<FrameListener>();
  const socket = new LiveSocket({
    onFrame: (frame) => publish(frame),
    onState: (next) => {
      state.value = next;
    },
  });
  let topic: string | null = null;

  function publish(frame: LiveFrame): void {
    for (const listener of listeners) listener(frame);
  }

  /** Follows one project, and it alone. */
  function follow(project: string): void {
    const next = `project:${project}`;
    if (topic === next) return;
    if (topic !== null) socket.unsubscribe(topic);
    topic = next;
    socket.subscribe(next);
    socket.start();
  }

  function stop(): void {
    topic = null;
    socket.stop();
  }

  /** Calls `listener` with every frame until the returned function is called. */
  function listen(listener: FrameListener): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  return { state, follow, stop, listen, publish };
});
