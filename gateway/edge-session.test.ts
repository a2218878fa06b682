import { systemClock } from "@jilian/domain/clock.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeStateMetrics } from "./births.ts";
import { type EdgeBench, edgeBench } from "./test-edge.ts";

let bench: EdgeBench;
beforeEach(async () => {
  bench = await edgeBench();
});
afterEach(() => bench.close());

test("a node with nothing to report is heard every minute, with all that it tells of itself", async () => {
  let aheadMs = 0;
  bench.start({ clock: { now: () => systemClock.now() + aheadMs, rate: 1 } });
  await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
  expect(bench.host.ofType("NDATA")).toEqual([]);
  aheadMs = 60_000;
  const heard = await bench.host.until("heartbeat", () => bench.host.ofType("NDATA")[0]);
  expect(heard.values).toMatchObject({ "Outbox/PendingRecords": 0n, "Devices/press/Connected": false });
  expect(heard.payload.metrics.every((metric) => metric.transient)).toBe(true);

  // A clock that is set back does not silence it.
  aheadMs = -3_600_000;
  await bench.host.until("heartbeat after the step", () => bench.host.ofType("NDATA")[1]);
});

test("a node whose medium fails says so, and that it does not know which box it is", () => {
  const view = { epoch: "00ff00000000abcd", isWritable: false, setBacks: 2, devices: new Map(), nowMs: 5 };
  const metrics = nodeStateMetrics({ ...view, outbox: bench.outbox.stats(), identity: { box: "", starts: 0 } });
  expect(Object.fromEntries(metrics.map(({ name, value }) => [name, value]))).toMatchObject({
    "Properties/Box": "",
    "Properties/Starts": 0n,
    "Properties/Epoch": "00ff00000000abcd",
    "Outbox/Writable": false,
    "Outbox/SetBacks": 2n,
  });
});
