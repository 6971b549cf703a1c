// Single-key commands, silent while the user types or holds a modifier.
import { onMounted, onUnmounted } from "vue";

export type KeyBindings = Record<string, (event: KeyboardEvent) => void>;

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** Binds keys (as in `KeyboardEvent.key`) while the component is mounted. */
export function useKeyboard(bindings: KeyBindings): void {
  function onKey(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    // On a link or a button Enter belongs to it.
    if (event.key === "Enter" && event.target instanceof HTMLElement && /^(A|BUTTON|SUMMARY)$/.test(event.target.tagName)) return;
    const binding = bindings[event.key];
    if (binding === undefined) return;
    event.preventDefault();
    binding(event);
  }
  onMounted(() => addEventListener("keydown", onKey));
  onUnmounted(() => removeEventListener("keydown", onKey));
}
