// The shapes the REST API and the live socket speak (mesher.md §7, §9).

export type IssueStatus = "unresolved" | "resolved" | "archived" | "discarded";
export type StatusFilter = "unresolved" | "resolved" | "archived" | "all";
export type IssueAction = "resolve" | "unresolve" | "archive";

export interface User {
  id: string;
  email: string;
  name: string;
  role: string;
}

export interface Session {
  setup_required: boolean;
  user: User | null;
}

export interface Project {
  id: string;
  number: number;
  slug: string;
  name: string;
  platform: string | null;
  created_at: string;
  dsn: string | null;
  event_count?: number;
}

/** One row of the issue list, and of every live `issue` frame. */
export interface Issue {
  id: string;
  project_id: string;
  short_id: string;
  title: string;
  culprit: string | null;
  level: string;
  status: IssueStatus;
  regressed: boolean;
  platform: string | null;
  event_count: number;
  first_seen: string;
  last_seen: string;
  users?: number | null;
}

export interface IssueDetail extends Issue {
  type?: string | null;
  value?: string | null;
  fingerprint?: unknown;
  grouping?: unknown;
  latest_event_id?: string | null;
}

/** One event as its stored JSON, with its neighbours in the issue. */
export interface EventDetail {
  id: string;
  issue_id: string;
  project_id: string;
  received_at: string;
  occurred_at: string;
  previous_id: string | null;
  next_id: string | null;
  event: Record<string, unknown>;
}

/** An event as the live stream tells it. */
export interface LiveEvent {
  id: string;
  issue_id: string | null;
  project_id: string;
  title: string;
  level: string;
  occurred_at: string;
  received_at: string;
  environment: string | null;
  platform: string | null;
  message: string | null;
  culprit: string | null;
}

/** How a project's events ended. */
export interface Outcomes {
  from: string;
  until: string;
  accepted: number;
  refused: number;
  client_dropped: number;
  /** Accepted and not yet stored, of all projects of this server; null while that is not known. */
  waiting: number | null;
  totals: { outcome: string; reason: string; quantity: number }[];
  hours: { hour: string; outcome: string; reason: string; quantity: number }[];
}

/** Events a second, of a project and of each of its keys, and the share that is kept. */
export interface ProjectLimits {
  rate_limit: number | null;
  key_rate_limit: number | null;
  sample_rate: number;
}

/** What a user wrote about what went wrong. */
export interface UserReport {
  id: string;
  event_id: string | null;
  issue_id: string | null;
  received_at: string;
  name: string;
  email: string;
  message: string;
  url: string;
}

export interface Page<T> {
  data: T[];
  next_cursor: string | null;
}
