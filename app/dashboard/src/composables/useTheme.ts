// Light, dark, or as the system has it; remembered.
import { computed, ref, watch } from "vue";

export type Theme = "system" | "light" | "dark";

const key = "mesher.theme";

function stored(): Theme {
  try {
    const value = localStorage.getItem(key);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}

const theme = ref<Theme>(stored());
const media = typeof matchMedia === "function" ? matchMedia("(prefers-color-scheme: dark)") : null;
const systemDark = ref(media?.matches ?? false);
media?.addEventListener("change", (event) => {
  systemDark.value = event.matches;
});

const dark = computed(() => theme.value === "dark" || (theme.value === "system" && systemDark.value));

watch(
  dark,
  (isDark) => {
    document.documentElement.dataset["theme"] = isDark ? "dark" : "light";
  },
  { immediate: true },
);

export function useTheme() {
  function set(next: Theme): void {
    theme.value = next;
    try {
      if (next === "system") localStorage.removeItem(key);
      else localStorage.setItem(key, next);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
  }

  /** Switches to the other one; back to "system" when that is the same. */
  function toggle(): void {
    const wanted = dark.value ? "light" : "dark";
    set((wanted === "dark") === systemDark.value ? "system" : wanted);
  }

  return { theme, dark, set, toggle };
}
