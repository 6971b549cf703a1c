// Issue calls.
import { request, type Result } from "./client";
import type { Issue, IssueAction, IssueDetail, Page, StatusFilter } from "./schema";

export interface IssueQuery {
  status: StatusFilter;
  query?: string;
  cursor?: string;
  limit?: number;
}

export function fetchIssues(project: string, query: IssueQuery, signal?: AbortSignal): Promise<Result<Page<Issue>>> {
  return request(`/projects/${encodeURIComponent(project)}/issues`, { query: { ...query }, signal });
}

export function fetchIssue(id: string, signal?: AbortSignal): Promise<Result<IssueDetail>> {
  return request(`/issues/${encodeURIComponent(id)}`, { signal });
}

export function changeIssue(id: string, action: IssueAction): Promise<Result<Issue>> {
  return request(`/issues/${encodeURIComponent(id)}/${action}`, { method: "POST" });
}
