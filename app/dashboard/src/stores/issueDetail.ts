// One issue and the event of it that is shown.
import { defineStore } from "pinia";
import { ref } from "vue";
import { isAborted, type ApiError } from "../api/client";
import { fetchEvent } from "../api/events";
import * as api from "../api/issues";
import { fetchIssueUserReports } from "../api/intake";
import type { EventDetail, IssueAction, IssueDetail, UserReport } from "../api/schema";
import type { LiveFrame } from "../live/frames";
import { useConnection } from "./connection";

export const useIssueDetail = defineStore("issueDetail", () => {
  const connection = useConnection();
  const issue = ref<IssueDetail | null>(null);
  const event = ref<EventDetail | null>(null);
  /** What users wrote about it; an extra, so that a failure to load it says nothing. */
  const reports = ref<UserReport[]>([]);
  const loading = ref(false);
  const eventLoading = ref(false);
  const error = ref<ApiError | null>(null);
  const eventError = ref<ApiError | null>(null);
  /** How many events came since the shown one was loaded. */
  const arrived = ref(0);

  let abort: AbortController | null = null;
  let eventAbort: AbortController | null = null;
  let stopListening: (() => void) | null = null;

  async function open(project: string, issueId: string, eventId: string): Promise<void> {
    stopListening ??= connection.listen(receive);
    connection.follow(project);
    if (issue.value?.id !== issueId) {
      issue.value = null;
      event.value = null;
      reports.value = [];
    }
    await Promise.all([loadIssue(issueId), loadEvent(project, issueId, eventId), loadReports(issueId)]);
  }

  async function loadReports(issueId: string): Promise<void> {
    const result = await fetchIssueUserReports(issueId);
    if (result.ok && (issue.value === null || issue.value.id === issueId)) reports.value = result.value.data;
  }

  async function loadIssue(issueId: string): Promise<void> {
    abort?.abort();
    const mine = new AbortController();
    abort = mine;
    loading.value = issue.value === null;
    const result = await api.fetchIssue(issueId, mine.signal);
    if (abort !== mine) return;
    abort = null;
    loading.value = false;
    if (result.ok) {
      error.value = null;
      issue.value = result.value;
    } else if (!isAborted(result.error)) error.value = result.error;
  }

  async function loadEvent(project: string, issueId: string, eventId: string): Promise<void> {
    eventAbort?.abort();
    const mine = new AbortController();
    eventAbort = mine;
    eventLoading.value = true;
    const result = await fetchEvent(project, eventId, issueId, mine.signal);
    if (eventAbort !== mine) return;
    eventAbort = null;
    eventLoading.value = false;
    if (result.ok) {
      eventError.value = null;
      event.value = result.value;
      if (result.value.next_id === null) arrived.value = 0;
    } else if (!isAborted(result.error)) eventError.value = result.error;
  }

  function close(): void {
    stopListening?.();
    stopListening = null;
    abort?.abort();
    eventAbort?.abort();
    abort = null;
    eventAbort = null;
    issue.value = null;
    event.value = null;
    reports.value = [];
    error.value = null;
    eventError.value = null;
    arrived.value = 0;
  }

  function receive(frame: LiveFrame): void {
    const known = issue.value;
    if (known === null) return;
    if (frame.type === "snapshot") {
      const row = frame.issues.find((item) => item.id === known.id);
      if (row !== undefined) merge(row);
      else void loadIssue(known.id);
    }
    if (frame.type === "issue" && frame.issue.id === known.id) merge(frame.issue);
    if (frame.type === "missed") void loadIssue(known.id);
  }

  function merge(row: Partial<IssueDetail> & { event_count: number }): void {
    const known = issue.value;
    if (known === null) return;
    arrived.value += Math.max(0, row.event_count - known.event_count);
    if (arrived.value > 0 && event.value !== null && event.value.next_id === null) {
      // The neighbour exists now, though we do not know its id: "newer" leads to the latest.
      event.value = { ...event.value, next_id: "latest" };
    }
    issue.value = { ...known, ...row };
  }

  async function change(action: IssueAction): Promise<ApiError | null> {
    const known = issue.value;
    if (known === null) return null;
    const result = await api.changeIssue(known.id, action);
    if (!result.ok) return result.error;
    merge(result.value);
    return null;
  }

  return { issue, event, reports, loading, eventLoading, error, eventError, arrived, open, close, change, receive };
});
