import { defineConfig } from "vitest/config";

const entries = ["base", "duplicates", "gallery", "photo", "scenes", "space"].map(
  (page) => `src/pages/${page}.ts`,
);

export default defineConfig({
  // Python serves ../static at /static and reads dist/.vite/manifest.json
  base: "/static/dist/",
  publicDir: false,
  build: {
    outDir: "../static/dist",
    emptyOutDir: true,
    manifest: true,
    // the first versions with light-dark() in CSS
    target: ["chrome123", "firefox128", "safari17.5"],
    // the content security policy refuses data: addresses
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800,
    rolldownOptions: { input: entries },
  },
  worker: { format: "es" },
  test: {
    include: ["tests/**/*.test.ts"],
  },
});
