import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { pause } from "./pause.ts";
import { type QueuedRecord, type QueuedSample, recordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";

let nextOffset = 0;
function record(samples: number, outbox = true): QueuedRecord {
  const own = outbox ? { epoch: "e", offset: nextOffset++, writtenAtMs: 0 } : undefined;
  const sample = {} as QueuedSample;
  return { group: "f1", node: "gw-1", record: own, samples: Array(samples).fill(sample), receivedAtMs: 0 };
}

test("first in, first out, in whole records", () => {
  const queue = recordQueue(100);
  const records = [record(3), record(4), record(5), record(50)];
  for (const one of records) expect(queue.push(one)).toBe(true);
  expect(queue.samples()).toBe(62);
  expect(queue.take(8)).toEqual(records.slice(0, 2));
  expect(queue.take(1)).toEqual([records[2]]);
  expect(queue.samples()).toBe(50);
  expect(queue.take(1)).toEqual([records[3]]);
  expect(queue.take(1)).toEqual([]);
  expect(queue.samples()).toBe(0);
});

test("beyond its bound it refuses; a record larger than the bound passes when it is alone", () => {
  const queue = recordQueue(10);
  expect(queue.push(record(11))).toBe(true);
  expect(queue.push(record(1))).toBe(false);
  expect(queue.push(record(1, false))).toBe(true);
  expect(queue.push(record(1, false))).toBe(false);
  queue.take(100);
  expect(queue.push(record(10))).toBe(true);
  expect(queue.push(record(1))).toBe(false);
});

test("waiting ends with a push, with time, or with the signal, and leaves nothing behind", async () => {
  const queue = recordQueue(10);
  const stop = new AbortController();
  for (let i = 0; i < 50; i += 1) await queue.ready(0, stop.signal);
  const waiting = queue.ready(60_000, stop.signal);
  expect(getEventListeners(stop.signal, "abort")).toHaveLength(1);
  queue.push(record(1));
  await waiting;
  for (let i = 0; i < 50; i += 1) {
    await queue.ready(60_000, stop.signal);
    await pause(0, stop.signal);
    await pause(1, stop.signal);
  }
  expect(getEventListeners(stop.signal, "abort")).toEqual([]);
  queue.take(10);
  const aborted = [queue.ready(60_000, stop.signal), pause(60_000, stop.signal)];
  stop.abort();
  await Promise.all(aborted);
  await pause(60_000, stop.signal);
  expect(getEventListeners(stop.signal, "abort")).toEqual([]);
});

test("births can be taken when what was queued before them has been, and wake whoever waits", async () => {
  const queue = recordQueue(100);
  const [a, b, c] = ["a", "b", "c"].map((name) => ({ key: { metric: name } }) as BornMetric) as [
    BornMetric,
    BornMetric,
    BornMetric,
  ];
  queue.push(record(3));
  queue.bear([a]);
  queue.push(record(3));
  queue.bear([b, c]);
  expect(queue.takeBirths()).toEqual([]);
  queue.take(1);
  expect(queue.takeBirths()).toEqual([a]);
  expect(queue.takeBirths()).toEqual([]);
  queue.take(1);
  expect(queue.takeBirths()).toEqual([b, c]);
  expect(queue.samples()).toBe(0);
  const waited = queue.ready(60_000, new AbortController().signal);
  queue.bear([a]);
  await waited;
  expect(queue.takeBirths()).toEqual([a]);
});
