import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { closingLine } from "./tests/closing-line.ts";
import { bundlePackages } from "./tests/packages/bundle.ts";

// Hundreds of processes and threads are started, each of which would strip the types of the same files again (and load the stripper).
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules/.cache/node-compile");
process.env.NODE_OPTIONS = [process.env.NODE_OPTIONS, await bundlePackages(import.meta.dirname)].join(" ").trim();

const exclude = ["**/node_modules/**", "data/**"];
/** What has the machine to itself: plants that run faster than time, and how long a start takes. */
const alone = ["tests/e2e/path.test.ts", "tests/e2e/start.test.ts"];
/** What waits for programs of its own more than it computes. */
const processes = ["tests/e2e/**/*.test.ts", "tests/faults/**/*.test.ts", "deploy/**/*.test.ts"];

/** Files that draw at random: what fails there with one seed is a fault, though it passes with the next. */
const here = { cwd: import.meta.dirname, exclude: (name: string) => name.endsWith("node_modules") || name === "data" };
const drawn = globSync("*/**/*.test.ts", here).filter((file) =>
  readFileSync(join(import.meta.dirname, file), "utf8").includes('from "fast-check"'),
);

/** Files of functions without servers, threads and spies: a process of its own for each would take longer than their tests. */
const pure = ["domain/**/*.test.ts", "dashboards/**/*.test.ts", "store/*.test.ts"];

/** What takes a minute or more. Where it came last, one core would wait for it. */
const longest = ["tests/faults/mutations", "tests/faults/faults.test.ts", "ingest/kpi/redefine.test.ts"];

function rank({ moduleId }: TestSpecification): number {
  const at = longest.findIndex((name) => moduleId.includes(name));
  return at < 0 ? longest.length : at;
}

/** The order of test files: vitest knows of a fresh clone only how large each is. (A class, as vitest wants it.) */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    // Projects stay as they come.
    const places = new Map<string, number>();
    for (const { project } of sorted) if (!places.has(project.name)) places.set(project.name, places.size);
    const place = ({ project }: TestSpecification) => places.get(project.name) as number;
    return sorted.toSorted((a, b) => place(a) - place(b) || rank(a) - rank(b));
  }
}

type Group = { include: string[]; exclude?: string[]; maxWorkers: number; retry: number; isolate?: boolean };

function group(name: string, groupOrder: number, { include, exclude: more = [], ...setting }: Group) {
  return {
    test: {
      name,
      include,
      exclude: [...exclude, ...more],
      testTimeout: 30_000,
      hookTimeout: 60_000,
      ...setting,
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
    reporters: ["default", closingLine],
    sequence: { sequencer: LongestFirst },
    // On two busy cores a second, the library's own bound, is little.
    expect: { poll: { timeout: 15_000 } },
    projects: [
      group("rooms", 0, {
        include: ["*/**/*.test.ts"],
        exclude: [...processes, ...pure, ...drawn],
        maxWorkers: 3,
        retry: 1,
        isolate: false,
      }),
      group("pure", 0, { include: pure, exclude: drawn, maxWorkers: 3, retry: 1, isolate: false }),
      group("drawn", 0, { include: drawn, maxWorkers: 3, retry: 0 }),
      group("processes", 1, {
        include: processes,
        exclude: [...alone, ...drawn],
        maxWorkers: 3,
        retry: 1,
      }),
      group("alone", 2, { include: alone, maxWorkers: 1, retry: 1 }),
    ],
  },
});
