import { systemClock } from "@jilian/domain/clock.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
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
