import { JilianError } from "@jilian/domain/errors.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { QueuedRecord } from "./queue.ts";
import { siftRefused } from "./sift-refused.ts";

const fault = (code: string) => new JilianError(code, { code, action: "write", remedy: "none" });

function recordsOf(count: number, isForeign: (n: number) => boolean = () => false): QueuedRecord[] {
  return Array.from({ length: count }, (_, offset) => ({
    group: "f1",
    node: "gw-1",
    record: isForeign(offset) ? undefined : { epoch: "00000000000000e1", offset, writtenAtMs: 0 },
    samples: [],
    receivedAtMs: 0,
  }));
}

/** Sifts records of which the store refuses some, and now and then fails by itself. */
async function run(
  records: readonly QueuedRecord[],
  isBad: (n: number) => boolean,
  failsAt: (n: number) => boolean = () => false,
) {
  const at = new Map(records.map((record, n) => [record, n]));
  const numbers = (some: readonly QueuedRecord[]) => some.map((record) => at.get(record) as number);
  const found = { stored: [] as number[], refused: [] as number[], deferred: [] as number[], writes: 0, failures: 0 };
  const sift = siftRefused(records, {
    write: async (some) => {
      found.writes += 1;
      if (failsAt(found.writes)) throw fault("STORE_UNREACHABLE");
      if (numbers(some).some(isBad)) throw fault("VALUE_MISFIT");
      found.stored.push(...numbers(some));
    },
    refuse: (record) => found.refused.push(...numbers([record])),
    defer: (record) => found.deferred.push(...numbers([record])),
  });
  for (let done = false; !done; ) {
    done = await sift().then(
      () => true,
      (error) => {
        expect(error).toMatchObject({ code: "STORE_UNREACHABLE" });
        found.failures += 1;
        return false;
      },
    );
  }
  return found;
}

const all = (count: number) => Array.from({ length: count }, (_, n) => n);
const sorted = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b);

test("records of which none is bad are one write", async () => {
  expect(await run(recordsOf(2000), () => false)).toMatchObject({ writes: 1, refused: [], deferred: [] });
  expect(await run([], () => true)).toMatchObject({ writes: 0 });
});

test.each([0, 1, 999, 1000, 1366, 1999])(
  "one bad record among 2,000, number %d: all others are stored, in some 20 writes",
  async (bad) => {
    const { stored, refused, deferred, writes } = await run(recordsOf(2000), (n) => n === bad);
    expect([refused, deferred]).toEqual([[bad], []]);
    expect(sorted(stored)).toEqual(all(2000).filter((n) => n !== bad));
    expect(writes).toBeLessThanOrEqual(24);
  },
);

test("every record bad: the effort ends, and what was not looked at comes again", async () => {
  const { stored, refused, deferred, writes } = await run(recordsOf(2000), () => true);
  expect(stored).toEqual([]);
  expect(refused.length).toBeGreaterThan(20);
  expect(sorted([...refused, ...deferred])).toEqual(all(2000));
  expect(writes).toBeLessThan(250);
});

test("what no outbox sends again is sifted to the end, however many are bad", async () => {
  const { stored, refused, deferred } = await run(
    recordsOf(600, (n) => n % 3 === 0),
    (n) => n % 2 === 0,
  );
  expect(deferred.every((n) => n % 3 !== 0)).toBe(true);
  expect(sorted([...stored, ...refused, ...deferred])).toEqual(all(600));
  expect(refused.every((n) => n % 2 === 0) && stored.every((n) => n % 2 === 1)).toBe(true);
});

test("each record is stored, refused or deferred once, good ones never refused, whatever is bad and whenever the store fails", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ isBad: fc.boolean(), isForeign: fc.boolean() }), { maxLength: 300 }),
      fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 20 }),
      async (kinds, failing) => {
        const fails = new Set(failing);
        const { stored, refused, deferred } = await run(
          recordsOf(kinds.length, (n) => kinds[n]?.isForeign === true),
          (n) => kinds[n]?.isBad === true,
          (n) => fails.has(n),
        );
        expect(sorted([...stored, ...refused, ...deferred])).toEqual(all(kinds.length));
        expect(refused.every((n) => kinds[n]?.isBad)).toBe(true);
        expect(stored.every((n) => !kinds[n]?.isBad)).toBe(true);
        expect(deferred.every((n) => !kinds[n]?.isForeign)).toBe(true);
      },
    ),
    { numRuns: 200 },
  );
});
