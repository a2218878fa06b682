import { DataType } from "@jilian/domain/datatypes.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { QueuedRecord } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";
import { siftRefused } from "./sift-refused.ts";
import { random } from "./test-random.ts";

/** Nodes without an outbox: what they send cannot come again, and may not hold up everyone. */

const fault = (code: string) => new JilianError(code, { code, action: "write", remedy: "none" });

const metricOf = (node: string, n: number): BornMetric => ({
  key: { group: "f1", node, device: "press-1", metric: `m${n}` },
  definition: { name: `m${n}`, datatype: DataType.Double, simulated: false },
  ...{ seriesId: undefined, sinceMs: 0, doubtMs: 0 },
});

type Kind = { node: string; isPlain: boolean; bad: readonly boolean[] };

/** Records with one sample of each metric of their own; its value says whether it is refused. */
function recordsOf(kinds: readonly Kind[], metrics = kinds.map(({ node }, n) => [metricOf(node, n)])): QueuedRecord[] {
  return kinds.map(({ node, isPlain, bad }, n) => ({
    ...{ group: "f1", node, receivedAtMs: 0 },
    record: isPlain ? undefined : { epoch: "00000000000000e1", offset: n, writtenAtMs: 0 },
    samples: bad.map((value, i) => ({
      metric: (metrics[n]?.[i] ?? metrics[n]?.[0]) as BornMetric,
      ...{ value, status: 0, sourceTimeMs: 1000 * n + i, gatewayTimeMs: 0 },
    })),
  }));
}

async function sift(records: readonly QueuedRecord[], failsAt: (n: number) => boolean = () => false) {
  const found = {
    stored: new Set<number>(),
    refused: new Set<number>(),
    unsifted: new Set<number>(),
    /** Refused whole, by an outbox that sends it in parts. */
    givenUp: new Set<number>(),
    deferred: new Set<number>(),
    writes: 0,
  };
  const add = (to: Set<number>, samples: readonly { sourceTimeMs: number }[]) => {
    for (const { sourceTimeMs } of samples) {
      expect(found.stored.has(sourceTimeMs) || found.refused.has(sourceTimeMs)).toBe(false);
      to.add(sourceTimeMs);
    }
  };
  let calls = 0;
  const run = siftRefused(records, {
    write: async (some) => {
      calls += 1;
      if (failsAt(calls)) throw fault("STORE_UNREACHABLE");
      found.writes += 1;
      if (some.some(({ samples }) => samples.some(({ value }) => value === true))) throw fault("VALUE_MISFIT");
      for (const { samples } of some) add(found.stored, samples);
    },
    refuse: ({ record, samples: whole }, _, samples, isUnsifted) => {
      if (isUnsifted) for (const { sourceTimeMs } of samples ?? []) found.unsifted.add(sourceTimeMs);
      if (samples) add(found.refused, samples);
      else {
        expect(record).toBeDefined();
        for (const { sourceTimeMs } of whole) found.givenUp.add(sourceTimeMs);
      }
    },
    defer: ({ record, samples }) => {
      expect(record).toBeDefined();
      for (const { sourceTimeMs } of samples) found.deferred.add(sourceTimeMs);
    },
  });
  for (let done = false; !done; )
    done = await run().then(
      () => true,
      () => false,
    );
  return found;
}

/** A node with many samples, of which some are refused, among two hundred others, one sample a record or fifty. */
function beside(bad: number, perRecord: number): { records: QueuedRecord[]; others: number[] } {
  const samples = Array.from({ length: 4000 }, (_, n) => n);
  const chosen = new Set(random(bad).shuffled(samples).slice(0, bad));
  const isBad = (n: number) => chosen.has(n);
  const ofOne = Array.from({ length: 4000 / perRecord }, (_, n): Kind => {
    const kinds = Array.from({ length: perRecord }, (_, i) => isBad(n * perRecord + i));
    return { node: "bad", isPlain: true, bad: kinds };
  });
  const every = Math.max(1, Math.floor(ofOne.length / 200));
  const kinds = ofOne.flatMap((kind, n): Kind[] =>
    n % every === 0 ? [kind, { node: `gw-${n}`, isPlain: n % 3 === 0, bad: [false] }] : [kind],
  );
  const metrics = kinds.map(({ node, bad: samples }, n) => samples.map((_, i) => metricOf(node, 1000 * n + i)));
  const records = recordsOf(kinds, metrics);
  const others = records.filter(({ node }) => node !== "bad").flatMap(({ samples }) => samples);
  return { records, others: others.map(({ sourceTimeMs }) => sourceTimeMs) };
}

/** The counts of before: every sample of which any was refused was found, at two writes each. */
describe.each([
  [1, 22],
  [10, 160],
  [100, 1100],
  [1000, 5000],
  [4000, 8000],
])("one node with %d refused samples of 4,000 (it took some %d writes)", (bad) => {
  test.each([1, 50])("%d a record: no more than some 300 writes, and of others everything is stored", async (per) => {
    const { records, others } = beside(bad, per);
    const { stored, refused, unsifted, deferred, writes } = await sift(records);
    expect(writes).toBeLessThanOrEqual(310);
    expect(others.filter((ms) => !stored.has(ms))).toEqual([]);
    expect(deferred.size).toBe(0);
    expect(stored.size + refused.size).toBe(4000 + others.length);
    if (bad <= 10) expect([refused.size, unsifted.size]).toEqual([bad, 0]);
    // Of the bad node most is stored where most is good.
    if (bad === 100) expect(stored.size - others.length).toBeGreaterThan(2000);
  });
});

test("a node that sends the same metrics again loses the refused ones alone after some batches", async () => {
  const metrics = Array.from({ length: 2000 }, (_, n) => metricOf("bad", n));
  const kinds = metrics.map((_, n): Kind => ({ node: "bad", isPlain: true, bad: [n % 25 === 0] }));
  const lost: number[] = [];
  for (let batch = 0; batch < 12; batch += 1) {
    const { refused, writes } = await sift(
      recordsOf(
        kinds,
        metrics.map((metric) => [metric]),
      ),
    );
    expect(writes).toBeLessThanOrEqual(310);
    lost.push(refused.size);
  }
  expect(lost[0]).toBeGreaterThan(200);
  expect(lost.at(-1)).toBe(80);
});

/** Samples of one plain metric, a record each, and what else is in the batch. */
function noisy(bad: readonly boolean[], metric: BornMetric): { kinds: Kind[]; metrics: BornMetric[][] } {
  return {
    kinds: bad.map((value) => ({ node: "bad", isPlain: true, bad: [value] })),
    metrics: bad.map(() => [metric]),
  };
}

test("a noisy plain node does not keep an outbox's metric that was refused once from being tried", async () => {
  const { kinds, metrics } = noisy(new Array(2000).fill(true), { ...metricOf("bad", 1), wasRefused: true });
  for (const place of [0, 700, 1300, 2000]) {
    const suspect = [metricOf("gw-1", 1), { ...metricOf("gw-1", 2), wasRefused: true }];
    const records = recordsOf(
      kinds.toSpliced(place, 0, { node: "gw-1", isPlain: false, bad: [false, false] }),
      metrics.toSpliced(place, 0, suspect),
    );
    const { stored, deferred } = await sift(records);
    expect([stored.size, deferred.size]).toEqual([2, 0]);
  }
});

test("one bad sample of a gateway is found beside a plain node whose metric is refused by half", async () => {
  const seed = random(7);
  const half = Array.from({ length: 1500 }, () => seed.next() < 0.5);
  const { kinds, metrics } = noisy(half, metricOf("bad", 1));
  const own = Array.from({ length: 200 }, (_, n): Kind => ({ node: "gw-1", isPlain: false, bad: [n === 77] }));
  const ownMetrics = own.map((_, n) => [metricOf("gw-1", n)]);
  const { stored, refused, deferred, writes } = await sift(recordsOf([...own, ...kinds], [...ownMetrics, ...metrics]));
  expect(own.filter((_, n) => stored.has(1000 * n))).toHaveLength(199);
  expect([refused.has(77_000), deferred.size]).toEqual([true, 0]);
  expect(writes).toBeLessThan(500);
});

test("suspects beyond the bound are tried together: repaired, all are taken; else they are refused unseen", async () => {
  const metrics = Array.from({ length: 1500 }, (_, n) => ({ ...metricOf("bad", n), wasRefused: true }));
  const send = (isBad: (n: number) => boolean) =>
    sift(
      recordsOf(
        metrics.map((_, n): Kind => ({ node: "bad", isPlain: true, bad: [isBad(n)] })),
        metrics.map((metric) => [metric]),
      ),
    );
  const bad = await send(() => true);
  expect([bad.refused.size, bad.writes, bad.unsifted.size]).toEqual([1500, 301, 1200]);
  const repaired = await send(() => false);
  expect([repaired.stored.size, repaired.writes]).toEqual([1500, 301]);
  expect((await send(() => false)).writes).toBe(1);
});

test("good samples are refused only unsifted and of a node without an outbox, each is decided once, whenever the store fails", async () => {
  const kind = fc.record({
    node: fc.constantFrom("a", "b", "c", "d"),
    isPlain: fc.boolean(),
    bad: fc.array(fc.boolean(), { maxLength: 6 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(kind, { minLength: 100, maxLength: 400 }),
      fc.uniqueArray(fc.integer({ min: 1, max: 300 }), { maxLength: 20 }),
      async (kinds, failing) => {
        const fails = new Set(failing);
        const records = recordsOf(kinds);
        const found = await sift(records, (n) => fails.has(n));
        expect(found.writes).toBeLessThan(800);
        for (const { record, samples } of records)
          for (const { sourceTimeMs: ms, value } of samples) {
            if (found.stored.has(ms)) expect(value).toBe(false);
            else if (found.refused.has(ms)) expect(value === true || (found.unsifted.has(ms) && !record)).toBe(true);
            else expect(found.givenUp.has(ms) || found.deferred.has(ms)).toBe(true);
          }
      },
    ),
    { numRuns: 100 },
  );
});
