import type { Reporter } from "vitest/node";

/**
 * Prints as the last line, alone, what came of all tests: how a run ended is read there by programs that do not know who ran it. A file that
 * could not be run, and an error outside of tests, count as a failure each.
 */
export const closingLine: Reporter = {
  onTestRunEnd: (modules, unhandledErrors) => {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      count.failed += module.errors().length;
      for (const test of module.children.allTests()) count[test.result().state] += 1;
    }
    const { passed, failed, skipped } = count;
    process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  },
};
