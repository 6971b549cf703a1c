// The fetch wrapper: one base path, errors as values, abortable.

const base = "/api/v1";

/** What went wrong with a request. `status` is 0 when the server could not be reached. */
export interface ApiError {
  status: number;
  code: string;
  message: string;
}

export type Result<T> = { ok: true; value: T } | { ok: false; error: ApiError };

export interface RequestOptions {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  signal?: AbortSignal;
}

const listeners = new Set<() => void>();

/** Calls `listener` whenever the server answers 401: the session is over. */
export function onUnauthorised(listener: () => void): void {
  listeners.add(listener);
}

/** True for the error of a request that its own caller cancelled. */
export function isAborted(error: ApiError): boolean {
  return error.code === "aborted";
}

function address(path: string, query: RequestOptions["query"]): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== "") parameters.set(key, String(value));
  }
  const text = parameters.toString();
  return base + path + (text === "" ? "" : `?${text}`);
}

async function failure(response: Response): Promise<ApiError> {
  const fallback: ApiError = {
    status: response.status,
    code: `http_${response.status}`,
    message: response.status >= 500 ? "The server could not answer. Try again in a moment." : `The server answered ${response.status}.`,
  };
  try {
    const body = (await response.json()) as { error?: { code?: unknown; message?: unknown } };
    if (typeof body.error?.message === "string") fallback.message = body.error.message;
    if (typeof body.error?.code === "string") fallback.code = body.error.code;
  } catch {
    // Not our JSON, a proxy's page perhaps: the fallback says enough.
  }
  return fallback;
}

/** Sends one request. Never throws: a failure is `{ ok: false, error }`. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<Result<T>> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  try {
    const response = await fetch(address(path, options.query), {
      method: options.method ?? "GET",
      headers,
      body: options.body === undefined ? null : JSON.stringify(options.body),
      signal: options.signal ?? null,
      credentials: "same-origin",
    });
    if (!response.ok) {
      if (response.status === 401) for (const listener of listeners) listener();
      return { ok: false, error: await failure(response) };
    }
    if (response.status === 204) return { ok: true, value: undefined as T };
    return { ok: true, value: (await response.json()) as T };
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") {
      return { ok: false, error: { status: 0, code: "aborted", message: "cancelled" } };
    }
    return { ok: false, error: { status: 0, code: "unreachable", message: "Mesher cannot be reached. Check that the server is running." } };
  }
}
