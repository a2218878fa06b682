import { describe, expect, it } from "vitest";
import { figure } from "./ledger-suite.ts";
import { count, createLiveState, deviceState, dropResults, type LiveDevice, publishResults } from "./live.ts";

const at = { group: "f1", node: "gw-1", device: "m-1" };
const born: LiveDevice = { ...at, born: true, bornMs: 1000, lastGoodMs: 5000, freshUntilMs: 35_000 };

function stateOf(device: Partial<LiveDevice> | undefined, alive: boolean | undefined, nowMs: number) {
  const live = createLiveState();
  if (device) live.devices.set("f1/gw-1/m-1", { ...born, ...device });
  if (alive !== undefined) {
    live.nodes.set("f1/gw-1", { group: "f1", node: "gw-1", alive, sinceMs: 0, metrics: new Map(), devices: new Map() });
  }
  return deviceState(live, at.group, at.node, at.device, nowMs);
}

describe("state of a device", () => {
  it("is online only with certificate, living gateway and a fresh good sample", () => {
    expect(stateOf({}, true, 35_000)).toBe("online");
    expect(stateOf({}, true, 35_001)).toBe("stale");
    expect(stateOf({ lastGoodMs: 0, freshUntilMs: 0 }, true, 35_000)).toBe("stale");
    expect(stateOf({ born: false }, true, 5000)).toBe("offline");
    expect(stateOf({}, false, 5000)).toBe("offline");
    expect(stateOf({}, undefined, 5000)).toBe("offline");
  });

  it("is never before anything was heard, and offline after a restart that knows old samples only", () => {
    expect(stateOf(undefined, true, 5000)).toBe("never");
    expect(stateOf({ born: false, bornMs: 0, lastGoodMs: 0 }, true, 5000)).toBe("never");
    expect(stateOf({ born: false, bornMs: 0 }, true, 5000)).toBe("offline");
  });
});

it("results replace each other by key and leave when their period ended long ago", () => {
  const live = createLiveState();
  const [old, edge, recent] = [1000, 2000, 3000].map((endMs) => figure({ startMs: endMs - 1000, endMs }));
  publishResults(live, [old, edge, recent] as never);
  publishResults(live, [figure({ ...recent, value: "99" })]);
  dropResults(live, 2000);
  expect([...live.results.values()].map((r) => [r.endMs, r.value])).toEqual([
    [2000, "12.5"],
    [3000, "99"],
  ]);
});

it("counters start at 0 and add up", () => {
  const live = createLiveState();
  count(live, "shed");
  count(live, "shed", 4);
  expect([live.counters.get("shed"), live.counters.get("duplicates")]).toEqual([5, undefined]);
});
