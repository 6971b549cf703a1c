// The copy-paste lines that send a first event, per language.

export interface Snippet {
  id: string;
  label: string;
  language: string;
  steps: { caption: string; code: string }[];
}

/** The parts of a DSN; null when it is not one. */
export function parseDsn(dsn: string): { origin: string; key: string; project: string } | null {
  try {
    const url = new URL(dsn);
    const project = url.pathname.split("/").filter(Boolean).at(-1);
    if (url.username === "" || project === undefined) return null;
    return { origin: `${url.protocol}//${url.host}`, key: url.username, project };
  } catch {
    return null;
  }
}

export function snippets(dsn: string): Snippet[] {
  const parts = parseDsn(dsn);
  return [
    {
      id: "python",
      label: "Python",
      language: "python",
      steps: [
        { caption: "Install", code: "pip install sentry-sdk" },
        {
          caption: "Start it as early as you can",
          code: `import sentry_sdk\n\nsentry_sdk.init(dsn="${dsn}")\n\n# A test: this error shows up here.\nsentry_sdk.capture_exception(RuntimeError("Hello from Python"))\nsentry_sdk.flush()`,
        },
      ],
    },
    {
      id: "node",
      label: "Node",
      language: "javascript",
      steps: [
        { caption: "Install", code: "npm install @sentry/node" },
        {
          caption: "Start it before everything else",
          code: `const Sentry = require("@sentry/node");\n\nSentry.init({ dsn: "${dsn}" });\n\n// A test: this error shows up here.\nSentry.captureException(new Error("Hello from Node"));`,
        },
      ],
    },
    {
      id: "curl",
      label: "curl",
      language: "shell",
      steps: [
        {
          caption: "No SDK at all: one event by hand",
          code: `curl ${parts?.origin ?? location.origin}/api/v1/events \\\n  -H "Authorization: Bearer ${parts?.key ?? "KEY"}" \\\n  -H "Content-Type: application/json" \\\n  -d '{"level":"error","message":"Hello from curl"}'`,
        },
      ],
    },
  ];
}
