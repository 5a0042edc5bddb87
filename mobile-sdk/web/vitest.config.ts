import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["src/**/*.test.ts"] } },
      {
        test: {
          name: "browser",
          include: ["browser/**/*.test.ts"],
          globalSetup: "browser/setup.ts",
          fileParallelism: false,
          isolate: false, // the files share what they import
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
