import { cpSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { accountMetric, hourOf } from "@jilian/domain/account.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { accountBook } from "./account-book.ts";
import type { StoredSample } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { bench, device, pass, type Run, setUp, start, tearDown, time, told } from "./test-accounts.ts";

/** A failure prints seed and path; JILIAN_TEST_SEED runs that seed again, JILIAN_TEST_RUNS more runs than a test has time for. */
const seed = process.env.JILIAN_TEST_SEED;
const settings = {
  numRuns: Number(process.env.JILIAN_TEST_RUNS ?? 15),
  interruptAfterTimeLimit: 50_000,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
};

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant("read"),
      ages: fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom("poll", "tick", "kill", "end", "countAndKill") }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom("commit", "split", "setAside"), at: fc.nat({ max: 20 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom("replay", "fail", "hour", "five minutes") }) },
);
type Step = { op: string; ages?: number[]; at?: number };
type ByHour = Map<number, number>;

function add(to: ByHour, hours: readonly number[], by = 1): void {
  for (const hour of hours) to.set(hour, (to.get(hour) ?? 0) + by);
}
const sorted = (of: ByHour): [number, number][] => [...of].filter(([, n]) => n !== 0).sort(([a], [b]) => a - b);

/** A gateway that is killed again and again, beside the plainest count of what it did. */
function run(maxBytes: number) {
  const queued: ByHour = new Map();
  const committed: ByHour = new Map();
  let polls = 0;
  /** Polls whose count is in a transaction already. */
  let keptPolls = 0;
  let kills = 0;
  let path = bench.path;
  let lastMs = 0;
  let gateway: Run = start({ path, maxBytes });
  const ownHours = (samples: readonly StoredSample[]): number[] =>
    samples.filter(({ metricId }) => metricId === gateway.ids[0]).map(({ sourceTimeMs }) => hourOf(sourceTimeMs));
  const pending = () => gateway.outbox.pending(0, 10_000).map(({ record }) => record);

  /** Source times strictly increase but for those that come late: each is given once. */
  function times(ages: readonly number[]): number[] {
    return ages.map((age) => {
      lastMs = Math.max(lastMs + 1, time.clockMs);
      return lastMs - age * hourMs;
    });
  }

  function poll(): void {
    gateway.accounts.polls.answered(device, { polled: 1, suppressed: 1, bad: 0 });
    polls += 1;
    pass(1000);
  }

  function read(ages: readonly number[]): void {
    poll();
    const at = times(ages);
    gateway.write(...at);
    add(queued, at.map(hourOf));
    // Counts of polls go with the record of the same hour; those of another one wait for the next look.
    gateway.accounts.tick();
  }

  /** The next process finds the files as they are now. */
  async function kill(): Promise<void> {
    kills += 1;
    const next = join(mkdtempSync(join(bench.folder, `killed-${kills}-`)), "outbox.db");
    for (const end of ["", "-wal"]) cpSync(`${path}${end}`, `${next}${end}`);
    await bench.stop(gateway.outbox);
    path = next;
    gateway = start({ path, maxBytes });
  }

  async function act({ op, ages = [], at = 0 }: Step): Promise<void> {
    const record = pending()[at % Math.max(1, pending().length)];
    if (op === "read") read(ages);
    if (op === "poll") poll();
    if (op === "tick") gateway.accounts.tick();
    if (op === "fail") {
      gateway.accounts.polls.failed(device, "MODBUS_TIMEOUT", time.clockMs, 0);
      pass(3000);
    }
    if (op === "hour") pass(hourMs);
    if (op === "five minutes") pass(5 * minuteMs);
    if (op === "commit" && record) {
      add(committed, ownHours(record.samples));
      gateway.outbox.commit(record.epoch, [[record.offset, record.offset]]);
    }
    if (op === "split" && record) gateway.outbox.split(record);
    if (op === "setAside" && record) gateway.outbox.setAside(record, "a test");
    if (op === "replay") gateway.outbox.replayAsides("all");
    if (op === "kill") await kill();
    if (op === "countAndKill") {
      // Counted, and killed before its record is written.
      poll();
      gateway.accounts.queued(
        device,
        times([0, 1]).map((sourceTimeMs) => ({ value: 1, status: 0, sourceTimeMs, gatewayTimeMs: 1 })),
      );
      await kill();
    }
    if (op === "end") {
      gateway.accounts.close();
      await bench.stop(gateway.outbox);
      gateway = start({ path, maxBytes });
    }
  }

  /** What the platform would come to: the last account of each part, or what the book of a file has that is newer. */
  function counts(outbox: OpenedOutbox): { queued: ByHour; dropped: ByHour; answered: number } {
    const parts = new Map(told().map((account) => [`${account.hourMs}/${account.part}`, account]));
    for (const { account } of accountBook(outbox, [device]).changed(device))
      parts.set(`${account.hourMs}/${account.part}`, account);
    const found = { queued: new Map(), dropped: new Map(), answered: 0 };
    for (const account of parts.values()) {
      add(found.queued, [account.hourMs], account.queued);
      add(found.dropped, [account.hourMs], account.droppedFull);
      found.answered += account.answered;
    }
    return found;
  }

  /** A killed process's files are opened beside it, as often as wanted. */
  async function compare(): Promise<void> {
    kills += 1;
    const copy = join(mkdtempSync(join(bench.folder, `look-${kills}-`)), "outbox.db");
    for (const end of ["", "-wal"]) cpSync(`${path}${end}`, `${copy}${end}`);
    const clock = { now: () => time.clockMs, rate: 1 };
    const outbox = bench.start({ path: copy, clock, maxBytes });
    const found = counts(outbox);
    const here: ByHour = new Map(committed);
    const names = new Map(outbox.metrics().map(({ id, definition }) => [id, definition.name]));
    for (const { record } of outbox.pending(0, 10_000)) add(here, ownHours(record.samples));
    for (const { samples } of outbox.asides(10_000))
      add(here, ownHours(samples.filter(({ metricId }) => names.get(metricId) !== accountMetric)));
    await bench.stop(outbox);
    expect(sorted(found.queued)).toEqual(sorted(queued));
    for (const [hour, n] of found.dropped) add(here, [hour], n);
    expect(sorted(here)).toEqual(sorted(queued));
    expect(found.answered).toBeLessThanOrEqual(polls);
    expect(found.answered).toBeGreaterThanOrEqual(keptPolls);
    keptPolls = found.answered;
  }

  return { act, compare };
}

test("whatever a gateway does and wherever it is killed, its accounts are what its outbox took, dropped and holds", {
  timeout: 60_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 30, size: "max" }),
      fc.constantFrom(1e9, 1500),
      async (steps, maxBytes) => {
        setUp();
        try {
          const gateway = run(maxBytes);
          for (const one of steps) {
            await gateway.act(one);
            await gateway.compare();
          }
        } finally {
          await tearDown();
        }
      },
    ),
    settings,
  );
});
