import { join } from "node:path";
import { defineConfig } from "vitest/config";

// Hundreds of processes and threads are started, each of which would strip the types of the same files again (and load the stripper).
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules/.cache/node-compile");

const exclude = ["**/node_modules/**", "data/**"];

/** Two groups, one after the other: plants that run 60 times faster need the machine for themselves. */
export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ["default"],
    // On two busy cores a second, the library's own bound, is little.
    expect: { poll: { timeout: 15_000 } },
    projects: [
      {
        test: {
          name: "rooms",
          include: ["*/**/*.test.ts"],
          exclude: [...exclude, "tests/e2e/**", "tests/faults/**"],
          testTimeout: 30_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "end to end",
          include: ["tests/e2e/**/*.test.ts", "tests/faults/**/*.test.ts"],
          exclude,
          hookTimeout: 60_000,
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
