import { isoTime } from "@jilian/domain/periods.ts";
import type { FirstBirth, UnregisteredDevice } from "@jilian/store/ledger.ts";
import { type DeviceState, deviceState, type LiveSample, type LiveState } from "@jilian/store/live.ts";
import { isProductionDevice, type PlacedDevice, type Registry } from "@jilian/store/registry.ts";
import type { RegistryFactory } from "@jilian/store/registry-schema.ts";
import { type Static, Type } from "typebox";
import { nullable, timeSchema } from "./figures.ts";

export const states = ["online", "stale", "offline", "never"] as const satisfies readonly DeviceState[];
export const stateSchema = Type.Enum([...states], {
  description:
    "online; stale: its gateway lives, nothing good is fresh; offline: no valid birth; never: not seen since it is registered",
});

export const countsSchema = Type.Object({
  registered: Type.Integer(),
  everConnected: Type.Integer(),
  online: Type.Integer(),
  stale: Type.Integer(),
  offline: Type.Integer(),
  never: Type.Integer(),
});
export type Counts = Static<typeof countsSchema>;

export const deviceSchema = Type.Object({
  id: Type.String({ description: "factory/gateway/device" }),
  name: Type.String(),
  kind: Type.String(),
  meteringPoint: Type.Optional(Type.String()),
  carrier: Type.Optional(Type.String()),
  ratedPowerKW: Type.Optional(Type.Number()),
  line: nullable(Type.String({ description: "factory/line" })),
  keyProcess: Type.Boolean({ description: "of a key process 关键工序" }),
  production: Type.Boolean({ description: "a production device 生产设备: what networking rates count" }),
  enterprise: Type.String(),
  factory: Type.String(),
  gateway: Type.String(),
  state: stateSchema,
  reason: nullable(Type.String({ description: "what its gateway says of the machine, while it cannot be read" })),
  lastGoodTime: nullable(timeSchema),
  firstBirthTime: nullable(timeSchema),
});
export type DeviceView = Static<typeof deviceSchema>;

export const unregisteredSchema = Type.Object({
  id: Type.String(),
  firstSeenTime: timeSchema,
  lastSeenTime: timeSchema,
});

export const gatewaySchema = Type.Object({
  id: Type.String(),
  name: nullable(Type.String()),
  uplink: Type.Union([
    Type.String(),
    Type.Object({ kind: Type.String(), slice: Type.Optional(Type.String()), mec: Type.Optional(Type.String()) }),
    Type.Null(),
  ]),
  alive: Type.Boolean({ description: "between its birth and its death certificate" }),
  since: nullable(timeSchema),
});

export const factorySchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  address: nullable(Type.String()),
  enterprise: Type.String(),
  connected: Type.Boolean({ description: "some registered device is online" }),
  devices: countsSchema,
  gateways: Type.Array(gatewaySchema),
});
export type FactoryView = Static<typeof factorySchema>;

export const enterpriseSchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  creditCode: Type.String(),
  industry: nullable(Type.String()),
  factories: Type.Object({ registered: Type.Integer(), connected: Type.Integer() }),
  devices: countsSchema,
});

/** What the views are made of; all of it passed in. */
export type ViewInput = { registry: Registry; live: LiveState; firstBirths: readonly FirstBirth[]; nowMs: number };

function timeOrNull(timeMs: number | undefined): string | null {
  return timeMs ? isoTime(timeMs) : null;
}

/** First births by `factory/gateway/device`. */
export function birthsByDevice(firstBirths: readonly FirstBirth[]): Map<string, number> {
  return new Map(firstBirths.map((b) => [`${b.group}/${b.node}/${b.device}`, b.firstBirthMs]));
}

/** Devices whose newest sample is a simulator's, where such data does not count: in pilots that are not marked demo. */
function simulatedDevices({ demo }: Registry, live: LiveState): ReadonlySet<string> {
  const newest = new Map<string, LiveSample>();
  if (demo) return new Set();
  for (const sample of live.samples.values()) {
    const key = `${sample.series.group}/${sample.series.node}/${sample.series.device}`;
    if (sample.sourceTimeMs >= (newest.get(key)?.sourceTimeMs ?? 0)) newest.set(key, sample);
  }
  return new Set([...newest].filter(([, { series }]) => series.definition.simulated).map(([key]) => key));
}

/**
 * Tells the state of registered devices at a moment. What was born once is offline, not never, even where live memory was lost with a
 * restart. A simulator in a real pilot is not the machine that it stands in for.
 */
export function stateTeller(
  { registry, live, nowMs }: Omit<ViewInput, "firstBirths">,
  births: ReadonlyMap<string, number>,
): (id: string, placed: PlacedDevice) => DeviceState {
  const simulated = simulatedDevices(registry, live);
  return (id, { factoryId, gatewayId, device }) => {
    const state = simulated.has(id) ? "never" : deviceState(live, factoryId, gatewayId, device.id, nowMs);
    return state === "never" && births.has(id) ? "offline" : state;
  };
}

/** Why a device is not online, in its gateway's words; null while it is read or nothing is known. */
export function reasonOf(placed: PlacedDevice, live: LiveState): string | null {
  const said = live.nodes.get(`${placed.factoryId}/${placed.gatewayId}`)?.devices.get(placed.device.id);
  return said && !said.connected && said.reason !== "" ? said.reason : null;
}

/** Every registered device with its state, in the order of the registry. */
export function viewDevices({ registry, live, firstBirths, nowMs }: ViewInput): DeviceView[] {
  const births = birthsByDevice(firstBirths);
  const stateOf = stateTeller({ registry, live, nowMs }, births);
  return [...registry.devices].map(([id, placed]) => {
    const { id: _, ...described } = placed.device;
    return {
      ...described,
      id,
      line: placed.lineKey ?? null,
      keyProcess: placed.device.keyProcess ?? false,
      production: isProductionDevice(placed.device),
      enterprise: placed.enterpriseId,
      factory: placed.factoryId,
      gateway: placed.gatewayId,
      state: stateOf(id, placed),
      reason: reasonOf(placed, live),
      lastGoodTime: timeOrNull(live.devices.get(id)?.lastGoodMs),
      firstBirthTime: timeOrNull(births.get(id)),
    };
  });
}

/** Counts of devices. Ever connected: born once through their own gateway. */
export function countDevices(devices: readonly DeviceView[]): Counts {
  const of = (state: DeviceState) => devices.filter((d) => d.state === state).length;
  return {
    registered: devices.length,
    everConnected: devices.filter((d) => d.firstBirthTime !== null).length,
    online: of("online"),
    stale: of("stale"),
    offline: of("offline"),
    never: of("never"),
  };
}

function viewFactory(
  factory: RegistryFactory,
  enterprise: string,
  devices: readonly DeviceView[],
  live: LiveState,
): FactoryView {
  const own = devices.filter((d) => d.factory === factory.id);
  return {
    id: factory.id,
    name: factory.name,
    address: factory.address ?? null,
    enterprise,
    connected: own.some((d) => d.state === "online"),
    devices: countDevices(own),
    gateways: factory.gateways.map((gateway) => {
      const node = live.nodes.get(`${factory.id}/${gateway.id}`);
      return {
        id: gateway.id,
        name: gateway.name ?? null,
        uplink: gateway.uplink ?? null,
        alive: node?.alive ?? false,
        since: timeOrNull(node?.sinceMs),
      };
    }),
  };
}

export function viewFactories(input: ViewInput): FactoryView[] {
  const devices = Map.groupBy(viewDevices(input), (d) => d.factory);
  return input.registry.file.enterprises.flatMap((e) =>
    e.factories.map((f) => viewFactory(f, e.id, devices.get(f.id) ?? [], input.live)),
  );
}

export function viewEnterprises(input: ViewInput): Static<typeof enterpriseSchema>[] {
  const devices = Map.groupBy(viewDevices(input), (d) => d.enterprise);
  const factories = Map.groupBy(viewFactories(input), (f) => f.enterprise);
  return input.registry.file.enterprises.map((e) => {
    const own = factories.get(e.id) ?? [];
    return {
      id: e.id,
      name: e.name,
      creditCode: e.creditCode,
      industry: e.industry ?? null,
      factories: { registered: own.length, connected: own.filter((f) => f.connected).length },
      devices: countDevices(devices.get(e.id) ?? []),
    };
  });
}

/**
 * What was seen and is in no version in force: what ingest noted at births, and what says something since it was taken out of the
 * registry.
 */
export function viewUnregistered(
  noted: readonly UnregisteredDevice[],
  { registry, live }: Pick<ViewInput, "registry" | "live">,
): (Static<typeof unregisteredSchema> & { factory: string })[] {
  const seen = new Map(noted.map((d) => [`${d.group}/${d.node}/${d.device}`, d]));
  for (const [id, { group, node, device, born, bornMs, lastGoodMs }] of live.devices) {
    if (seen.has(id) || !born) continue;
    seen.set(id, { group, node, device, firstSeenMs: bornMs, lastSeenMs: Math.max(bornMs, lastGoodMs) });
  }
  return [...seen]
    .filter(([id]) => !registry.devices.has(id))
    .map(([id, { group, firstSeenMs, lastSeenMs }]) => ({
      id,
      factory: group,
      firstSeenTime: isoTime(firstSeenMs),
      lastSeenTime: isoTime(lastSeenMs),
    }));
}
