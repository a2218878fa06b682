import { expect, test } from "vitest";
import { edgeState } from "./edge-state.ts";
import type { OutboxRecord, StoredSample } from "./model.ts";
import { bench, benchPerTest } from "./test-outbox.ts";

benchPerTest();

test("knows the newest sample of each metric, and changes none of those that it was given", () => {
  const state = edgeState(bench.start({}), ["d"]);
  const sample = (metricId: number, sourceTimeMs: number): StoredSample => {
    return { metricId, value: sourceTimeMs, status: 0, sourceTimeMs, gatewayTimeMs: sourceTimeMs + 1 };
  };
  const observe = (offset: number, ...samples: StoredSample[]): OutboxRecord => {
    const record = { epoch: "0".repeat(16), offset, writtenAtMs: 1, device: "d", samples };
    state.observe(record);
    return record;
  };
  const first = observe(0, sample(1, 10), sample(2, 10));
  const second = observe(1, sample(1, 20));
  observe(2, sample(1, 15), sample(2, 30));
  expect([state.lastOf(1), state.lastOf(2), state.lastOf(3)]).toEqual([sample(1, 20), sample(2, 30), undefined]);
  expect([first.samples, second.samples]).toEqual([[sample(1, 10), sample(2, 10)], [sample(1, 20)]]);
  expect([sample(1, 19), sample(1, 20), sample(3, 1)].map(state.isNewest)).toEqual([false, true, true]);
});
