// Project calls.
import { request, type Result } from "./client";
import type { Page, Project } from "./schema";

export function fetchProjects(): Promise<Result<Page<Project>>> {
  return request("/projects");
}
