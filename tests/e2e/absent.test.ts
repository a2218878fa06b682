import { afterEach, expect, it } from "vitest";
import { type Cluster, startCluster } from "./cluster.ts";
import { until } from "./until.ts";

type Device = { id: string; state: string; reason: string | null };

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

async function devices(): Promise<Device[]> {
  return (await (cluster as Cluster).get<{ devices: Device[] }>("/open/v1/devices")).devices;
}

const inState = (all: readonly Device[], state: string) => all.filter((d) => d.state === state).map((d) => d.id);

it("goes on without PLCs that are not there, and says why", { timeout: 90_000 }, async () => {
  const setting = { rate: 1, originMs: Date.now(), pollIntervalMs: 200, heartbeatMs: 1000, separateBroker: false };
  cluster = await startCluster({ ...setting, absent: ["feeder-3", "machine-2"] });
  const missing = ["xinghua-casting/gw-casting/feeder-3", "xinghua-casting/gw-casting/machine-2"];
  await until("19 devices online", 30_000, async () => inState(await devices(), "online").length === 19);
  const silent = async () => (await devices()).filter((d) => d.state !== "online");
  expect((await silent()).map((d) => [d.id, d.state])).toEqual(missing.map((id) => [id, "never"]));
  const refused = /MODBUS_CONNECT_REFUSED 127\.0\.0\.1:\d+/;
  await until("the reasons", 10_000, async () => (await silent()).every((d) => refused.test(d.reason ?? "")));

  // One that was there and goes: offline, with the reason; the others of its gateway stay; it comes back by itself.
  const [plant] = cluster.simulator.plants;
  const cut = "xinghua-casting/gw-casting/machine-1";
  const unitId = plant?.registerMap.points.find((p) => p.device === "machine-1")?.unitId;
  await plant?.startFault({ kind: "silent", ...(unitId === undefined ? {} : { unitId }) });
  const reasonOf = async () => (await devices()).find((d) => d.id === cut && d.state === "offline")?.reason ?? "";
  await until("machine-1 offline, with the reason", 20_000, async () => /MODBUS_TIMEOUT/.test(await reasonOf()));
  await until("the 18 others online", 20_000, async () => inState(await devices(), "online").length === 18);
  await plant?.clearFaults();
  await until("machine-1 online again", 40_000, async () => inState(await devices(), "online").includes(cut));
});
