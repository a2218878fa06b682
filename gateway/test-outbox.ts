import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "@jilian/domain/clock.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import { pino } from "pino";
import { afterEach, beforeEach, expect, vi } from "vitest";
import type { StoredSample } from "./model.ts";
import { type OpenedOutbox, openOutbox } from "./outbox.ts";
import type { OutboxOptions } from "./outbox-box.ts";

let time = 1_750_000_000_000;
/** A sample later than every one before. */
export function sample(metricId: number, value: StoredSample["value"] = 1.5): StoredSample {
  time += 1;
  return { metricId, value, status: 0, sourceTimeMs: time, gatewayTimeMs: time + 3 };
}

export type OutboxBench = ReturnType<typeof outboxBench>;

/** For tests: outboxes on real files in a folder of their own, and what they logged. */
export function outboxBench() {
  const folder = mkdtempSync(join(tmpdir(), "jilian-outbox-"));
  const path = join(folder, "outbox.db");
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  let open: OpenedOutbox[] = [];
  return {
    folder,
    path,
    lines,
    codes: () => lines.map((line) => line.code),
    start(options: Partial<OutboxOptions> = {}): OpenedOutbox {
      const owner = { group: "factory-1", node: "gateway-1" };
      const outbox = openOutbox({ path, maxBytes: 1e9, fsyncMs: 20, ...owner, clock: systemClock, log, ...options });
      open.push(outbox);
      return outbox;
    },
    async stop(outbox: OpenedOutbox): Promise<void> {
      open = open.filter((o) => o !== outbox);
      await outbox.close();
    },
    /** Changes the closed file as a fault of the medium, or a later program, would. */
    tamper(sql: string): void {
      const db = new DatabaseSync(path);
      db.exec(sql);
      db.close();
    },
    async close(): Promise<void> {
      for (const outbox of open) await outbox.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The bench of the test that runs. */
export let bench: OutboxBench;

/** Gives each test of the file a bench of its own. */
export function benchPerTest(): void {
  beforeEach(() => {
    bench = outboxBench();
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await bench.close();
  });
}

/** For tests: waits until what can be read of damaged files is there. */
export async function recovered(outbox: OpenedOutbox): Promise<void> {
  await vi.waitFor(() => expect(outbox.recovering()).toBe(0), { timeout: 20_000, interval: 10 });
}

/** For tests: when the records of ranges were written, as a notice tells it. */
export function timesOf(ranges: readonly Range[], writtenAtMs: ReadonlyMap<number, number>): number[] {
  return ranges.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => writtenAtMs.get(first + i) ?? -1),
  );
}
