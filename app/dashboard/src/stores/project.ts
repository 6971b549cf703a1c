// The projects, and which one is looked at.
import { defineStore } from "pinia";
import { computed, ref } from "vue";
import type { ApiError } from "../api/client";
import { fetchProjects } from "../api/projects";
import type { Project } from "../api/schema";

const rememberedKey = "mesher.project";

function remembered(): string | null {
  try {
    return localStorage.getItem(rememberedKey);
  } catch {
    return null;
  }
}

export const useProject = defineStore("project", () => {
  const projects = ref<Project[]>([]);
  const slug = ref<string | null>(null);
  const loaded = ref(false);
  const error = ref<ApiError | null>(null);

  const current = computed(() => projects.value.find((project) => project.slug === slug.value || project.id === slug.value) ?? null);
  /** The project to open when the address names none: the last one used, else the first. */
  const preferred = computed(() => projects.value.find((project) => project.slug === remembered()) ?? projects.value[0] ?? null);

  async function load(): Promise<void> {
    const result = await fetchProjects();
    if (!result.ok) {
      error.value = result.error;
      return;
    }
    error.value = null;
    projects.value = result.value.data;
    loaded.value = true;
  }

  function select(name: string): void {
    slug.value = name;
    try {
      localStorage.setItem(rememberedKey, name);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
  }

  function reset(): void {
    projects.value = [];
    loaded.value = false;
    slug.value = null;
  }

  return { projects, slug, current, preferred, loaded, error, load, select, reset };
});
