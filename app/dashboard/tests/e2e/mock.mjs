// A small stand-in for the server: the REST calls, ingestion and live frames the dashboard uses, all in memory.
//
// `npm run mock` serves the built dashboard with the server's own headers, prints the set-up link and the DSN, and with
// MOCK_DEMO=1 fills itself and keeps sending events. Only for developing the dashboard; no test of the product trusts it.
import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { WebSocketServer } from "ws";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = join(here, "../../dist");
const fixture = JSON.parse(readFileSync(join(here, "../fixtures/event.json"), "utf8"));
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const state = { user: null, password: "", token: "set-up-token", sessions: new Set(), issues: new Map(), events: new Map(), reports: [], limits: { rate_limit: null, key_rate_limit: null, sample_rate: 1 } };
const project = { id: randomUUID(), number: 1, slug: "default", name: "Default", platform: null, created_at: new Date().toISOString(), dsn: "" };
const key = "0123456789abcdef0123456789abcdef";

function publish(frame) {
  for (const client of live.clients) {
    if (client.topics?.size > 0) for (const topic of client.topics) client.send(JSON.stringify({ ...frame, topic }));
  }
}

/** Stores one Sentry-shaped event, groups it roughly, and tells everyone. */
function store(event, at = new Date()) {
  const values = event.exception?.values ?? (Array.isArray(event.exception) ? event.exception : []);
  const last = values.at(-1);
  const text = event.message?.formatted ?? event.message ?? event.logentry?.formatted ?? event.logentry?.message ?? "";
  const title = last ? `${last.type}: ${last.value}` : String(text || "(no message)");
  const frame = last?.stacktrace?.frames?.filter((item) => item.in_app).at(-1);
  const culprit = frame ? `${frame.module ?? frame.filename} in ${frame.function}` : (event.transaction ?? null);
  const group = createHash("sha1").update(last ? `${last.type}${culprit}` : title).digest("hex").slice(0, 32);
  const now = at.toISOString();
  let issue = state.issues.get(group);
  let kind = "counted";
  if (!issue) {
    kind = "new";
    issue = { id: randomUUID(), project_id: project.id, short_id: `DEFAULT-${state.issues.size + 1}`, title, culprit, level: event.level ?? "error", status: "unresolved", regressed: false, platform: event.platform ?? "other", event_count: 0, first_seen: now, last_seen: now, users: 0 };
    const parts = last ? [{ part: "exception type", value: last.type, contributes: true }, { part: "frame", value: culprit ?? "", contributes: true }, { part: "exception value", value: last.value, contributes: false, reason: "the frames say more" }] : [{ part: "message", value: title, contributes: true, reason: "what varies was taken out" }];
    issue.grouping = { version: 1, method: last ? "stack" : "message", summary: last ? "grouped by the calls of the program's own code and the types of the exceptions" : "grouped by the message, with what varies in it taken out", fingerprint: [], contributions: parts, left_out: 0 };
    state.issues.set(group, issue);
  }
  if (issue.status === "resolved") {
    issue.status = "unresolved";
    issue.regressed = true;
    kind = "regressed";
  }
  issue.event_count += 1;
  issue.last_seen = now;
  const id = (event.event_id ?? randomUUID()).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  const stored = { id, issue_id: issue.id, project_id: project.id, received_at: now, occurred_at: now, event: { ...event, event_id: id } };
  state.events.set(id, stored);
  const row = { ...issue, grouping: undefined };
  setTimeout(() => {
    publish({ type: "event", event: { id, issue_id: issue.id, project_id: project.id, title, level: issue.level, occurred_at: now, received_at: now, environment: event.environment ?? null, platform: issue.platform, message: String(text), culprit } });
    publish({ type: "issue", kind, issue: row });
  }, 60);
  return id;
}

const ofIssue = (id) => [...state.events.values()].filter((event) => event.issue_id === id);
const findIssue = (id) => [...state.issues.values()].find((issue) => issue.id === id);
const isProject = (name) => name === project.slug || name === project.id;

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  return request.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes;
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(value === undefined ? "" : JSON.stringify(value));
}

const fail = (response, status, code, message) => json(response, status, { error: { code, message, details: null } });

function cookie(request) {
  return /mesher_session=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
}

function signIn(response, status) {
  const session = randomUUID();
  state.sessions.add(session);
  json(response, status, { user: state.user }, { "set-cookie": `mesher_session=${session}; HttpOnly; SameSite=Lax; Path=/` });
}

async function api(request, response, url) {
  const path = url.pathname;
  const signedIn = state.sessions.has(cookie(request));
  const post = request.method === "POST";
  if (path === "/api/v1/events" && post) return json(response, 202, { id: store(JSON.parse(await body(request))) });
  if (/^\/api\/\d+\/envelope\/?$/.test(path) && post) {
    const lines = (await body(request)).toString().split("\n");
    if (JSON.parse(lines[1]).type === "client_report") return json(response, 200, {});
    if (JSON.parse(lines[1]).type === "user_report") {
      const report = JSON.parse(lines[2]);
      const event_id = report.event_id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
      state.reports.push({ id: event_id, event_id, issue_id: state.events.get(event_id)?.issue_id ?? null, received_at: new Date().toISOString(), name: report.name, email: report.email, message: report.comments, url: "" });
      return json(response, 200, { id: report.event_id });
    }
    const event = JSON.parse(lines[2]);
    return json(response, 200, { id: store({ ...event, event_id: event.event_id ?? JSON.parse(lines[0]).event_id }) });
  }
  if (path === "/api/v1/session") return json(response, 200, { setup_required: state.user === null, user: signedIn ? state.user : null });
  if (path === "/api/v1/setup" && post) {
    const value = JSON.parse(await body(request));
    if (state.user !== null) return fail(response, 409, "already_set_up", "this server is set up already");
    if (value.token !== state.token) return fail(response, 403, "forbidden", "this set-up link is not valid");
    state.user = { id: randomUUID(), email: value.email, name: value.name, role: "owner" };
    state.password = value.password;
    return signIn(response, 201);
  }
  if (path === "/api/v1/login" && post) {
    const value = JSON.parse(await body(request));
    if (state.user === null || value.email !== state.user.email || value.password !== state.password) return fail(response, 401, "unauthorised", "wrong e-mail or password");
    return signIn(response, 200);
  }
  if (!signedIn) return fail(response, 401, "unauthorised", "log in first");
  if (path === "/api/v1/logout" && post) {
    state.sessions.delete(cookie(request));
    return json(response, 204, undefined);
  }
  if (path === "/api/v1/projects") return json(response, 200, { data: [project], next_cursor: null });
  let match = /^\/api\/v1\/projects\/([^/]+)\/issues$/.exec(path);
  if (match && isProject(match[1])) {
    const status = url.searchParams.get("status") ?? "unresolved";
    const words = (url.searchParams.get("query") ?? "").toLowerCase();
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const limit = Number(url.searchParams.get("limit") ?? 25);
    const rows = [...state.issues.values()].filter((issue) => (status === "all" || issue.status === status) && issue.title.toLowerCase().includes(words)).sort((a, b) => b.last_seen.localeCompare(a.last_seen));
    return json(response, 200, { data: rows.slice(from, from + limit), next_cursor: rows.length > from + limit ? String(from + limit) : null });
  }
  match = /^\/api\/v1\/projects\/([^/]+)\/(outcomes|limits|user-reports)$/.exec(path);
  if (match && isProject(match[1])) {
    if (match[2] === "user-reports") return json(response, 200, { data: state.reports, next_cursor: null });
    if (match[2] === "limits") {
      if (request.method === "PUT") state.limits = JSON.parse(await body(request));
      return json(response, 200, state.limits);
    }
    const hour = `${new Date().toISOString().slice(0, 13)}:00:00Z`;
    const totals = [{ outcome: "client_dropped", reason: "error:before_send", quantity: 812 }, { outcome: "rate_limited", reason: "", quantity: 7 }, { outcome: "stored", reason: "", quantity: state.events.size }];
    const hours = totals.map((total) => ({ hour, ...total }));
    return json(response, 200, { from: url.searchParams.get("from"), until: new Date().toISOString(), accepted: state.events.size, refused: 7, client_dropped: 812, waiting: 0, totals, hours });
  }
  match = /^\/api\/v1\/issues\/([^/]+)\/user-reports$/.exec(path);
  if (match) return json(response, 200, { data: state.reports, next_cursor: null });
  match = /^\/api\/v1\/projects\/([^/]+)\/events\/([^/]+)$/.exec(path);
  if (match && isProject(match[1])) {
    const event = match[2] === "latest" ? ofIssue(url.searchParams.get("issue")).at(-1) : state.events.get(match[2]);
    if (!event) return fail(response, 404, "not_found", "no such event");
    const all = ofIssue(event.issue_id);
    const index = all.indexOf(event);
    return json(response, 200, { ...event, previous_id: all[index - 1]?.id ?? null, next_id: all[index + 1]?.id ?? null });
  }
  match = /^\/api\/v1\/issues\/([^/]+)(?:\/(resolve|unresolve|archive))?$/.exec(path);
  const issue = match && findIssue(match[1]);
  if (!issue) return fail(response, 404, "not_found", "there is nothing at this address");
  if (match[2] && post) {
    issue.status = { resolve: "resolved", unresolve: "unresolved", archive: "archived" }[match[2]];
    issue.regressed = false;
    publish({ type: "issue", kind: "changed", issue });
  }
  return json(response, 200, { ...issue, latest_event_id: ofIssue(issue.id).at(-1)?.id ?? null });
}

function page(response, path) {
  const wanted = normalize(path).replace(/^[/\\]+/, "");
  const name = extname(wanted) === "" ? "index.html" : wanted;
  try {
    const content = readFileSync(join(dist, name));
    response.writeHead(200, { "content-type": `${types[extname(name)] ?? "application/octet-stream"}; charset=utf-8`, "content-security-policy": policy, "cache-control": "no-cache" });
    response.end(content);
  } catch {
    response.writeHead(404).end();
  }
}

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://mock");
  if (!url.pathname.startsWith("/api")) return page(response, url.pathname);
  api(request, response, url).catch((error) => fail(response, 400, "invalid", String(error)));
});

const live = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  if (!state.sessions.has(cookie(request))) return socket.end("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
  live.handleUpgrade(request, socket, head, (client) => {
    client.topics = new Set();
    client.on("message", (data) => {
      const message = JSON.parse(data);
      if (message.unsubscribe) client.topics.delete(message.unsubscribe);
      if (!message.subscribe) return;
      client.topics.add(message.subscribe);
      client.send(JSON.stringify({ type: "snapshot", topic: message.subscribe, issues: [...state.issues.values()] }));
    });
  });
});

/** Fills the server with something to look at. */
function demo() {
  const back = (minutes) => new Date(Date.now() - minutes * 60_000);
  const simple = (type, value, level, module, fn, platform) => ({ level, platform, environment: "production", exception: { values: [{ type, value, stacktrace: { frames: [{ filename: `${module.replaceAll(".", "/")}.py`, module, function: fn, lineno: 42, in_app: true, context_line: "    return self.load(key)", pre_context: [], post_context: [] }] } }] } });
  const samples = [
    [simple("TypeError", "Cannot read properties of undefined (reading 'items')", "error", "web.cart", "renderCart", "javascript"), 240, 128],
    [simple("IntegrityError", "duplicate key value violates unique constraint \"orders_pkey\"", "fatal", "shop.orders", "insert", "python"), 2000, 17],
    [{ level: "warning", platform: "python", message: "Stock for item 17 is below the threshold", environment: "staging" }, 90, 1432],
    [{ level: "info", platform: "node", message: "Cache warmed in 3.2 s" }, 30, 3],
    [simple("TimeoutError", "The operation timed out after 30000 ms", "error", "mail.smtp", "deliver", "node"), 9000, 56],
    [{ level: "debug", platform: "rust", message: "retrying connection to replica" }, 600, 9],
    [fixture, 12, 41],
  ];
  for (const [event, minutes, count] of samples) for (let index = 0; index < count; index += 1) store(event, back(minutes - (minutes * index) / (count + 1)));
}

const port = Number(process.env.MOCK_PORT ?? 8089);
server.listen(port, "127.0.0.1", () => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  project.dsn = `http://${key}@127.0.0.1:${server.address().port}/1`;
  if (process.env.MOCK_DEMO === "1") {
    demo();
    setInterval(() => store(fixture), 4_000);
  }
  console.log(JSON.stringify({ url: origin, setup: `${origin}/setup?token=${state.token}`, dsn: project.dsn }));
});
