// How the dashboard is built, served while developing, and unit-tested.
//
// The build is a pure function of this folder: names carry a hash of the content, nothing carries a time.
// `dist` is committed, so that the server builds without Node; see docs/decisions/0002-dashboard-assets.md.
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

// The Rust server (or `npm run mock`) that `npm run dev` talks to.
const server = process.env["MESHER_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [vue()],
  build: {
    target: "es2022",
    sourcemap: false,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      "/api": { target: server, ws: true, changeOrigin: true },
    },
  },
  test: {
    environment: "happy-dom",
    include: ["tests/unit/**/*.spec.ts"],
  },
});
