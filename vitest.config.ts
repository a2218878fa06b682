import { join } from "node:path";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

// Hundreds of processes and threads are started, each of which would strip the types of the same files again (and load the stripper).
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules/.cache/node-compile");

const exclude = ["**/node_modules/**", "data/**"];
const path = "tests/e2e/path.test.ts";

type Group = { include: string[]; exclude?: string[]; maxWorkers: number };

function group(name: string, groupOrder: number, { include, exclude: more = [], maxWorkers }: Group) {
  return {
    test: {
      name,
      include,
      exclude: [...exclude, ...more],
      testTimeout: 30_000,
      hookTimeout: 60_000,
      maxWorkers,
      sequence: { groupOrder },
    },
  } satisfies TestProjectInlineConfiguration;
}

/** Three groups, one after the other: what waits more than it computes shares the machine, plants that run 60 times faster need it alone. */
export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ["default"],
    // On two busy cores a second, the library's own bound, is little.
    expect: { poll: { timeout: 15_000 } },
    projects: [
      group("rooms", 0, { include: ["*/**/*.test.ts"], exclude: ["tests/e2e/**", "tests/faults/**"], maxWorkers: 3 }),
      group("processes", 1, {
        include: ["tests/e2e/**/*.test.ts", "tests/faults/**/*.test.ts"],
        exclude: [path],
        maxWorkers: 2,
      }),
      group("path", 2, { include: [path], maxWorkers: 1 }),
    ],
  },
});
