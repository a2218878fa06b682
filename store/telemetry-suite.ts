import type { MessagePort } from "node:worker_threads";
import { afterEach, beforeEach, describe } from "vitest";
import type { Telemetry } from "./telemetry.ts";
import { derivedTests } from "./telemetry-suite-derived.ts";
import { modelTests } from "./telemetry-suite-model.ts";
import { portTests } from "./telemetry-suite-port.ts";
import { readTests } from "./telemetry-suite-read.ts";
import { definitionTests } from "./telemetry-suite-series.ts";
import { writeTests } from "./telemetry-suite-write.ts";

/** An empty store of one test. */
export type SuiteStore = {
  /** Opens it; again after `close` of what was opened before. */
  readonly open: () => Promise<Telemetry>;
  readonly connect: (port: MessagePort) => Telemetry;
  readonly remove: () => Promise<void>;
};

/** What the tests are given: the open store, and a way to close and open it again, as a restart does. */
export type Harness = {
  readonly store: () => Telemetry;
  readonly reopen: () => Promise<Telemetry>;
  readonly connect: (port: MessagePort) => Telemetry;
  /** Checks the open store, and again what a restart finds. */
  readonly nowAndReopened: (check: (open: Telemetry) => Promise<void>) => Promise<void>;
};

/** The tests that every implementation of `Telemetry` passes. */
export function telemetrySuite(name: string, create: () => Promise<SuiteStore>): void {
  describe(name, () => {
    let files: SuiteStore;
    let opened: Telemetry;
    beforeEach(async () => {
      files = await create();
      opened = await files.open();
    });
    afterEach(async () => {
      await opened.close();
      await files.remove();
    });
    const harness: Harness = {
      store: () => opened,
      reopen: async () => {
        await opened.close();
        opened = await files.open();
        return opened;
      },
      connect: (port) => files.connect(port),
      nowAndReopened: async (check) => {
        await check(opened);
        await check(await harness.reopen());
      },
    };
    writeTests(harness);
    describe("definitions of series over time", () => definitionTests(harness));
    readTests(harness);
    derivedTests(harness);
    portTests(harness);
    modelTests(harness);
  });
}
