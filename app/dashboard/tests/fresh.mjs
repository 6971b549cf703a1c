// Builds the dashboard into a temporary directory and fails when that differs from the committed `dist`.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const distBytesMax = 1024 * 1024;

/** The files under `folder`, by their relative names. */
function files(folder, from = folder) {
  const list = new Map();
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) for (const [name, content] of files(path, from)) list.set(name, content);
    else list.set(relative(from, path), readFileSync(path));
  }
  return list;
}

const fresh = mkdtempSync(join(tmpdir(), "mesher-dist-"));
const complaints = [];
try {
  await build({ root, logLevel: "warn", build: { outDir: fresh, emptyOutDir: true } });
  const wanted = files(fresh);
  const committed = statSync(join(root, "dist"), { throwIfNoEntry: false }) ? files(join(root, "dist")) : new Map();
  for (const name of wanted.keys()) if (!committed.has(name)) complaints.push(`missing: ${name}`);
  for (const [name, content] of committed) {
    if (!wanted.has(name)) complaints.push(`left over: ${name}`);
    else if (!content.equals(wanted.get(name))) complaints.push(`differs: ${name}`);
  }
  const page = committed.get("index.html")?.toString() ?? "";
  if (!/<script type="module"[^>]* src="\/assets\/index-/.test(page)) complaints.push("index.html is a placeholder: it loads no built script");
  const size = [...committed.values()].reduce((sum, content) => sum + content.length, 0);
  if (size > distBytesMax) complaints.push(`dist has grown to ${size} bytes, the bound is ${distBytesMax}`);
  if (complaints.length === 0) console.log(`dist is fresh: ${committed.size} files, ${size} bytes`);
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
if (complaints.length > 0) {
  console.error(`app/dashboard/dist is not what its sources build; run \`npm run build\` and commit it:\n  ${complaints.join("\n  ")}`);
  process.exitCode = 1;
}
