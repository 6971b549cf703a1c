// The issues of one project under one filter, kept current by the live frames.
import { defineStore } from "pinia";
import { computed, ref } from "vue";
import { isAborted, type ApiError } from "../api/client";
import * as api from "../api/issues";
import type { Issue, IssueAction, StatusFilter } from "../api/schema";
import type { LiveFrame } from "../live/frames";
import { useConnection } from "./connection";

const pageSize = 50;
/** Live frames may add rows without end; beyond this the oldest leave and the next page brings them back. */
const rowsMax = 500;
const reloadPauseMs = 1_000;

/** True when an issue belongs under the filter. */
export function belongs(issue: Issue, filter: StatusFilter): boolean {
  if (issue.status === "discarded") return false;
  return filter === "all" || issue.status === filter;
}

/** `rows` with `issue` put in its place by last seen, or taken out when it left the filter. */
export function placed(rows: Issue[], issue: Issue, filter: StatusFilter): Issue[] {
  const rest = rows.filter((row) => row.id !== issue.id);
  if (!belongs(issue, filter)) return rest;
  const seen = Date.parse(issue.last_seen);
  const index = rest.findIndex((row) => Date.parse(row.last_seen) <= seen);
  rest.splice(index === -1 ? rest.length : index, 0, issue);
  return rest.slice(0, rowsMax);
}

/** A renewed first page in front of the older rows that "show more" had brought; `next` is null when the page is all there is. */
export function renewed(page: Issue[], shown: Issue[], next: string | null): { rows: Issue[]; kept: number } {
  const last = page.at(-1);
  if (last === undefined || next === null) return { rows: page, kept: 0 };
  const end = Date.parse(last.last_seen);
  const known = new Set(page.map((row) => row.id));
  const older = shown.filter((row) => !known.has(row.id) && Date.parse(row.last_seen) < end);
  return { rows: [...page, ...older], kept: older.length };
}

export const useIssueList = defineStore("issueList", () => {
  const connection = useConnection();
  const issues = ref<Issue[]>([]);
  const filter = ref<StatusFilter>("unresolved");
  const query = ref("");
  const nextCursor = ref<string | null>(null);
  const loading = ref(false);
  const loadingMore = ref(false);
  const loaded = ref(false);
  const error = ref<ApiError | null>(null);
  /** Ids that have just changed, for a short highlight; each value is how often. */
  const pulses = ref<Record<string, number>>({});
  const announcement = ref("");

  let project: string | null = null;
  let projectId: string | null = null;
  let abort: AbortController | null = null;
  let pending: Issue[] = [];
  let reloadTimer: ReturnType<typeof setTimeout> | null = null;
  let stopListening: (() => void) | null = null;
  /** A snapshot came since the list was opened: a second one means that the connection was lost in between. */
  let synced = false;

  const empty = computed(() => loaded.value && issues.value.length === 0);

  /** Loads the first page. Live frames that arrive meanwhile are laid over it, so that none is lost. */
  async function load(quiet = false): Promise<void> {
    if (project === null) return;
    abort?.abort();
    const mine = new AbortController();
    abort = mine;
    pending = [];
    if (!quiet) {
      loading.value = true;
      loaded.value = false;
      issues.value = [];
    }
    const result = await api.fetchIssues(project, { status: filter.value, query: query.value, limit: pageSize }, mine.signal);
    if (abort !== mine) return;
    abort = null;
    loading.value = false;
    if (!result.ok) {
      if (!isAborted(result.error)) error.value = result.error;
      return;
    }
    error.value = null;
    let rows = result.value.data;
    for (const issue of pending) {
      const row = rows.find((known) => known.id === issue.id);
      if (row === undefined || issue.event_count >= row.event_count) rows = placed(rows, issue, filter.value);
    }
    pending = [];
    const merged = renewed(rows, issues.value, result.value.next_cursor);
    issues.value = merged.rows;
    if (merged.kept === 0) nextCursor.value = result.value.next_cursor;
    loaded.value = true;
  }

  async function loadMore(): Promise<void> {
    if (project === null || nextCursor.value === null || loadingMore.value) return;
    loadingMore.value = true;
    const result = await api.fetchIssues(project, { status: filter.value, query: query.value, cursor: nextCursor.value, limit: pageSize });
    loadingMore.value = false;
    if (!result.ok) {
      error.value = result.error;
      return;
    }
    const known = new Set(issues.value.map((issue) => issue.id));
    issues.value = [...issues.value, ...result.value.data.filter((issue) => !known.has(issue.id))];
    nextCursor.value = result.value.next_cursor;
  }

  /** Opens a project under a filter and follows it live. */
  function open(name: string, id: string | null, status: StatusFilter, text: string): Promise<void> {
    const same = project === name && filter.value === status && query.value === text && loaded.value;
    project = name;
    projectId = id;
    filter.value = status;
    query.value = text;
    stopListening ??= connection.listen(receive);
    connection.follow(name);
    return load(same);
  }

  function close(): void {
    stopListening?.();
    stopListening = null;
    synced = false;
    if (reloadTimer !== null) clearTimeout(reloadTimer);
    reloadTimer = null;
    abort?.abort();
    abort = null;
  }

  function reloadSoon(): void {
    if (reloadTimer !== null) return;
    reloadTimer = setTimeout(() => {
      reloadTimer = null;
      void load(true);
    }, reloadPauseMs);
  }

  function apply(issue: Issue, highlight: boolean): void {
    if (projectId !== null && issue.project_id !== projectId) return;
    // While a page is on its way we cannot know which is newer, so the page is overlaid when it comes.
    if (abort !== null) pending.push(issue);
    const known = issues.value.find((row) => row.id === issue.id);
    // Whether an unknown issue matches the words only the server can say.
    if (known === undefined && query.value !== "") {
      reloadSoon();
      return;
    }
    if (!loaded.value) return;
    // Counts only grow: a row with fewer events was read before a frame that has overtaken it.
    if (known !== undefined && issue.event_count < known.event_count) return;
    // What is older than everything shown belongs to a page that was not asked for yet.
    const last = issues.value.at(-1);
    if (known === undefined && nextCursor.value !== null && last !== undefined && Date.parse(issue.last_seen) < Date.parse(last.last_seen)) return;
    if (highlight && known?.event_count !== issue.event_count) pulses.value = { ...pulses.value, [issue.id]: (pulses.value[issue.id] ?? 0) + 1 };
    issues.value = placed(issues.value, issue, filter.value);
  }

  function receive(frame: LiveFrame): void {
    switch (frame.type) {
      case "snapshot":
        // After a gap the page itself may be stale beyond what the snapshot holds.
        if (loaded.value && synced) reloadSoon();
        synced = true;
        for (const issue of frame.issues) apply(issue, false);
        break;
      case "issue":
        apply(frame.issue, true);
        if (frame.kind === "new" && belongs(frame.issue, filter.value)) announcement.value = `New issue: ${frame.issue.title}`;
        if (frame.kind === "regressed") announcement.value = `Regressed: ${frame.issue.title}`;
        break;
      case "missed":
        reloadSoon();
        break;
      default:
        break;
    }
  }

  /** Changes the status of an issue; the error, if any. */
  async function change(id: string, action: IssueAction): Promise<ApiError | null> {
    const result = await api.changeIssue(id, action);
    if (!result.ok) return result.error;
    issues.value = placed(issues.value, result.value, filter.value);
    announcement.value = `${result.value.short_id} is ${result.value.status}`;
    return null;
  }

  return { issues, filter, query, nextCursor, loading, loadingMore, loaded, empty, error, pulses, announcement, open, close, load, loadMore, change, receive };
});
