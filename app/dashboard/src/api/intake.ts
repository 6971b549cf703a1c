// How a project's events ended, and how many are let in.
import { request, type Result } from "./client";
import type { Outcomes, Page, ProjectLimits, UserReport } from "./schema";

const of = (project: string): string => `/projects/${encodeURIComponent(project)}`;

export function fetchOutcomes(project: string, from: string, signal?: AbortSignal): Promise<Result<Outcomes>> {
  return request(`${of(project)}/outcomes`, { query: { from }, signal });
}

export function fetchLimits(project: string, signal?: AbortSignal): Promise<Result<ProjectLimits>> {
  return request(`${of(project)}/limits`, { signal });
}

export function changeLimits(project: string, limits: ProjectLimits): Promise<Result<ProjectLimits>> {
  return request(`${of(project)}/limits`, { method: "PUT", body: limits });
}

export function fetchUserReports(project: string, signal?: AbortSignal): Promise<Result<Page<UserReport>>> {
  return request(`${of(project)}/user-reports`, { signal });
}

export function fetchIssueUserReports(issue: string, signal?: AbortSignal): Promise<Result<Page<UserReport>>> {
  return request(`/issues/${encodeURIComponent(issue)}/user-reports`, { signal });
}
