import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";
import { bundlePackages } from "./tests/packages/bundle.ts";

// Hundreds of processes and threads are started, each of which would strip the types of the same files again (and load the stripper).
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules/.cache/node-compile");
process.env.NODE_OPTIONS = [process.env.NODE_OPTIONS, await bundlePackages(import.meta.dirname)].join(" ").trim();

const exclude = ["**/node_modules/**", "data/**"];
/** What has the machine to itself: plants that run faster than time, and how long a start takes. */
const alone = ["tests/e2e/path.test.ts", "tests/e2e/start.test.ts"];

/** Files that draw at random: what fails there with one seed is a fault, though it passes with the next. */
const here = { cwd: import.meta.dirname, exclude: (name: string) => name.endsWith("node_modules") || name === "data" };
const drawn = globSync("*/**/*.test.ts", here).filter((file) =>
  readFileSync(join(import.meta.dirname, file), "utf8").includes('from "fast-check"'),
);

type Group = { include: string[]; exclude?: string[]; maxWorkers: number; retry: number };

function group(name: string, groupOrder: number, { include, exclude: more = [], maxWorkers, retry }: Group) {
  return {
    test: {
      name,
      include,
      exclude: [...exclude, ...more],
      testTimeout: 30_000,
      hookTimeout: 60_000,
      maxWorkers,
      retry,
      // The oracles hold much and make more: with the usual young generation a sixth of their time went into collecting it.
      execArgv: ["--max-semi-space-size=64"],
      sequence: { groupOrder },
    },
  } satisfies TestProjectInlineConfiguration;
}

/**
 * Groups one after the other: what waits more than it computes shares the machine, plants that run 20 times faster need it alone. Where a
 * test holds real time to a bound, two cores that others use too may miss it once: it is tried once more, and the report says so.
 */
export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ["default"],
    // On two busy cores a second, the library's own bound, is little.
    expect: { poll: { timeout: 15_000 } },
    projects: [
      group("rooms", 0, {
        include: ["*/**/*.test.ts"],
        exclude: ["tests/e2e/**", "tests/faults/**", ...drawn],
        maxWorkers: 3,
        retry: 1,
      }),
      group("drawn", 0, { include: drawn, maxWorkers: 3, retry: 0 }),
      group("processes", 1, {
        include: ["tests/e2e/**/*.test.ts", "tests/faults/**/*.test.ts"],
        exclude: alone,
        maxWorkers: 2,
        retry: 1,
      }),
      group("alone", 2, { include: alone, maxWorkers: 1, retry: 1 }),
    ],
  },
});
