import { DataType } from "@jilian/domain/datatypes.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { QueuedRecord } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";
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

test("what no outbox sends again is sifted on when the rest comes again", async () => {
  const { stored, refused, deferred } = await run(
    recordsOf(480, (n) => n % 12 === 0),
    (n) => n % 2 === 0,
  );
  expect(deferred.every((n) => n % 12 !== 0)).toBe(true);
  expect(deferred.length).toBeGreaterThan(10);
  expect(sorted([...stored, ...refused, ...deferred])).toEqual(all(480));
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

describe("a record of many samples", () => {
  const metricOf = (name: string): BornMetric => ({
    key: { group: "f1", node: "gw-1", device: "press-1", metric: name },
    definition: { name, datatype: DataType.Double, simulated: false },
    ...{ seriesId: undefined, sinceMs: 0, doubtMs: 0 },
  });

  /** Records of which each sample says whether it is refused: by its value. */
  function recordsWith(
    kinds: readonly (readonly boolean[])[],
    metrics: readonly BornMetric[],
    isForeign = (_: number) => false,
  ) {
    return kinds.map(
      (bad, offset): QueuedRecord => ({
        group: "f1",
        node: "gw-1",
        record: isForeign(offset) ? undefined : { epoch: "00000000000000e1", offset, writtenAtMs: 0 },
        samples: bad.map((value, i) => ({
          metric: metrics[i % metrics.length] as BornMetric,
          ...{ value, status: 0, sourceTimeMs: 1000 * offset + i, gatewayTimeMs: 0 },
        })),
        receivedAtMs: 0,
      }),
    );
  }

  /** The first record of a device as its n-th one, of another number and time. */
  const renumbered = ({ record, samples, ...rest }: QueuedRecord, n: number): QueuedRecord => ({
    ...rest,
    record: record && { ...record, offset: n },
    samples: samples.map((sample) => ({ ...sample, sourceTimeMs: sample.sourceTimeMs + 1000 * n })),
  });

  type Failing = { failsAt?: (n: number) => boolean; code?: string };
  async function sift(
    records: readonly QueuedRecord[],
    { failsAt = () => false, code = "VALUE_MISFIT" }: Failing = {},
  ) {
    const found = {
      stored: [] as number[],
      committed: [] as number[],
      refused: new Map<number, number[] | undefined>(),
      deferred: [] as number[],
      writes: 0,
      /** The write after which no other sample was stored. */
      storedBy: 0,
    };
    const timesOf = (samples: QueuedRecord["samples"]) => samples.map(({ sourceTimeMs }) => sourceTimeMs);
    const run = siftRefused(records, {
      write: async (some) => {
        found.writes += 1;
        if (failsAt(found.writes)) throw fault("STORE_UNREACHABLE");
        if (some.some(({ samples }) => samples.some(({ value }) => value === true))) throw fault(code);
        const times = some.flatMap(({ samples }) => timesOf(samples));
        found.stored.push(...times);
        if (times.length > 0) found.storedBy = found.writes;
        for (const { record } of some) if (record) found.committed.push(record.offset);
      },
      refuse: ({ record, samples: all }, _, samples) => {
        const offset = record?.offset ?? Math.floor((all[0]?.sourceTimeMs ?? 0) / 1000);
        expect(found.refused.has(offset)).toBe(false);
        found.refused.set(offset, samples && timesOf(samples as QueuedRecord["samples"]));
      },
      defer: ({ record }) => found.deferred.push(record?.offset ?? -1),
    });
    for (let done = false; !done; )
      done = await run().then(
        () => true,
        () => false,
      );
    return found;
  }

  const eight = (bad: readonly number[]) => Array.from({ length: 8 }, (_, i) => bad.includes(i));

  test("is stored but for the one that is refused, and is not committed", async () => {
    const records = recordsWith(
      [eight([]), eight([3]), eight([])],
      Array.from({ length: 8 }, (_, i) => metricOf(`m${i}`)),
    );
    const { stored, committed, refused, writes } = await sift(records);
    expect(sorted(committed)).toEqual([0, 2]);
    expect(refused).toEqual(new Map([[1, [1003]]]));
    expect(stored).toHaveLength(23);
    expect(writes).toBeLessThan(14);
  });

  test("with a metric that was refused before: all others first, in two writes, then one write each; until it is taken", async () => {
    const metrics = Array.from({ length: 8 }, (_, i) => metricOf(`m${i}`));
    const healthy = Array.from({ length: 8 }, (_, i) => metricOf(`h${i}`));
    await sift(recordsWith([eight([3])], metrics));
    expect(metrics.map((m) => m.wasRefused === true)).toEqual(eight([3]));
    const records = [
      ...recordsWith(
        Array.from({ length: 20 }, () => eight([3])),
        metrics,
      ),
      ...recordsWith([eight([])], healthy),
    ];
    const again = await sift(records);
    expect(again.stored[0]).toBe(0);
    expect(again.stored).toHaveLength(8 + 20 * 7);
    expect(again.refused.size).toBe(20);
    expect(again.writes).toBe(2 + 20);
    // Repaired: the parts are taken, the record is committed, and the next one goes as a whole.
    expect(await sift(recordsWith([eight([])], metrics))).toMatchObject({
      committed: [0],
      writes: 3,
      refused: new Map(),
    });
    expect(await sift(recordsWith([eight([])], metrics))).toMatchObject({ committed: [0], writes: 1 });
  });

  test("in a fleet of which every device has a metric that is refused: all that is good is stored before the effort begins", async () => {
    const fleet = Array.from({ length: 200 }, (_, n) =>
      Array.from({ length: 8 }, (_, i) => ({ ...metricOf(`m${n}.${i}`), wasRefused: i === 3 })),
    );
    const records = fleet.flatMap((metrics, n) =>
      recordsWith([eight([3])], metrics).map((record) => renumbered(record, n)),
    );
    const { stored, storedBy, refused, deferred, writes } = await sift(records);
    expect(stored).toHaveLength(200 * 7);
    expect(storedBy).toBe(1);
    expect(sorted([...refused.keys(), ...deferred])).toEqual(all(200));
    expect(writes).toBe(1 + refused.size);
  });

  test("of which nothing is taken ends the effort: it has to come in parts", async () => {
    const [record] = recordsWith([Array.from({ length: 1000 }, () => true)], [metricOf("a")]);
    const { stored, refused, writes } = await sift([record as QueuedRecord]);
    expect([stored, refused]).toEqual([[], new Map([[0, undefined]])]);
    expect(writes).toBeLessThan(200);
  });

  test("that the store refuses for something else is not told apart, nor are its metrics suspected", async () => {
    const metric = metricOf("a");
    const { refused, stored } = await sift(recordsWith([eight([3])], [metric]), { code: "SERIES_UNKNOWN" });
    expect([stored, refused]).toEqual([[], new Map([[0, undefined]])]);
    expect(metric.wasRefused).toBeUndefined();
  });

  test("each sample is stored or refused, once told, whatever is bad, suspected before, and whenever the store fails", async () => {
    const kind = fc.record({ bad: fc.array(fc.boolean(), { maxLength: 6 }), isForeign: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(kind, { maxLength: 60 }),
        fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 20 }),
        async (kinds, suspected, failing) => {
          const metrics = suspected.map((wasRefused, i) => ({ ...metricOf(`m${i}`), wasRefused }));
          const fails = new Set(failing);
          const records = recordsWith(
            kinds.map(({ bad }) => bad),
            metrics,
            (n) => kinds[n]?.isForeign === true,
          );
          const { stored, committed, refused, deferred } = await sift(records, { failsAt: (n) => fails.has(n) });
          expect(new Set(stored).size).toBe(stored.length);
          const badOf = ({ samples }: QueuedRecord) =>
            samples.filter(({ value }) => value === true).map(({ sourceTimeMs }) => sourceTimeMs);
          for (const [offset, record] of records.entries()) {
            const times = record.samples.map(({ sourceTimeMs }) => sourceTimeMs);
            const bad = badOf(record);
            const named = refused.get(offset);
            expect(times.filter((t) => stored.includes(t) && bad.includes(t))).toEqual([]);
            if (deferred.includes(offset) || (refused.has(offset) && named === undefined)) {
              expect(record.record).toBeDefined();
              continue;
            }
            // Told apart to the last sample, or all of it stored, and committed where it has an id.
            expect(sorted(named ?? [])).toEqual(bad);
            expect(times.filter((t) => !stored.includes(t))).toEqual(bad);
            if (record.record) expect(committed.includes(offset)).toBe(bad.length === 0);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
