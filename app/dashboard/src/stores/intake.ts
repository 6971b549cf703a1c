// What came into a project and how it ended; its limits; what its users wrote.
import { defineStore } from "pinia";
import { ref } from "vue";
import { isAborted, type ApiError } from "../api/client";
import * as api from "../api/intake";
import type { Outcomes, ProjectLimits, UserReport } from "../api/schema";

const hourMs = 3_600_000;

export const useIntake = defineStore("intake", () => {
  const outcomes = ref<Outcomes | null>(null);
  const limits = ref<ProjectLimits | null>(null);
  const reports = ref<UserReport[]>([]);
  const error = ref<ApiError | null>(null);
  let abort: AbortController | null = null;
  let opened = 0;

  /** Loads everything of a project for the last `hours`. */
  async function open(project: string, hours: number): Promise<void> {
    opened += 1;
    const mine = opened;
    const [, bounds] = await Promise.all([refresh(project, hours), api.fetchLimits(project)]);
    // Another project, or none, is looked at by now.
    if (opened !== mine) return;
    if (bounds.ok) limits.value = bounds.value;
    else error.value = bounds.error;
  }

  /** Loads what changes by itself; the limits stay as they are, for somebody may be editing them. */
  async function refresh(project: string, hours: number): Promise<void> {
    abort?.abort();
    const mine = new AbortController();
    abort = mine;
    const from = new Date(Date.now() - hours * hourMs).toISOString();
    const [ends, words] = await Promise.all([api.fetchOutcomes(project, from, mine.signal), api.fetchUserReports(project, mine.signal)]);
    if (abort !== mine) return;
    abort = null;
    for (const result of [ends, words]) {
      if (!result.ok) {
        if (!isAborted(result.error)) error.value = result.error;
        return;
      }
    }
    error.value = null;
    if (ends.ok) outcomes.value = ends.value;
    if (words.ok) reports.value = words.value.data;
  }

  async function change(project: string, wanted: ProjectLimits): Promise<ApiError | null> {
    const result = await api.changeLimits(project, wanted);
    if (!result.ok) return result.error;
    limits.value = result.value;
    return null;
  }

  function close(): void {
    opened += 1;
    abort?.abort();
    abort = null;
    outcomes.value = null;
    limits.value = null;
    reports.value = [];
    error.value = null;
  }

  return { outcomes, limits, reports, error, open, refresh, change, close };
});
