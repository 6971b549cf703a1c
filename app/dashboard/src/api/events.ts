// Event calls.
import { request, type Result } from "./client";
import type { EventDetail } from "./schema";

/** One event; `id` may be "latest", then `issue` says of which issue. */
export function fetchEvent(project: string, id: string, issue?: string, signal?: AbortSignal): Promise<Result<EventDetail>> {
  return request(`/projects/${encodeURIComponent(project)}/events/${encodeURIComponent(id)}`, { query: { issue }, signal });
}
