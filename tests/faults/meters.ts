import type { PlantHandle } from "@jilian/simulators/simulator.ts";
import { type Answer, toldShortlyBefore, unread } from "./compare.ts";

/**
 * What is followed: the energy counter of an incoming meter, 64 bits, which rises between any two polls and never rolls over. The
 * gateway reads it under two names, whole and its lower half, so that a record holds more than one sample.
 */
export const pointName = "energy";
const register = "incoming-meter/energy-import";
const pollIntervalMs = 100;
/** How long a value that an OPC UA server told may be on its way into a record: publishing, the socket, collection. */
const collectedWithinMs = 600;

/** The protocol by which a gateway reads a meter. */
export type Protocol = "modbus" | "opcua";

/** What the gateway publishes of one answer, by metric. */
const metrics = {
  [pointName]: (raw: bigint) => raw,
  "energy-low": (raw: bigint) => raw & 0xffff_ffffn,
} as const;
export type MetricName = keyof typeof metrics;
const metricNames = Object.keys(metrics) as MetricName[];

/** More tags on the same register, for load; not followed. */
const fillers = ["filler-1", "filler-2", "filler-3", "filler-4", "filler-5", "filler-6"];
/** Samples that are followed, of all that a record holds. */
export const followedShare = metricNames.length / (metricNames.length + fillers.length);

export type Meter = {
  /** As the interface names the device: `factory/gateway/device`. */
  readonly entity: string;
  readonly device: string;
  readonly plant: PlantHandle;
  readonly protocol: Protocol;
  /** Of OPC UA the one: a server tells its variable as it is, and there is no half of it to read. */
  readonly metrics: readonly MetricName[];
  /** Answers so far, by metric; grows with each call. */
  readonly answers: () => Readonly<Record<MetricName, readonly Answer[]>>;
  /** Of its answers those that the gateway need not have read, because it was killed then; machine time. */
  readonly unread: (answers: readonly Answer[], killsMs: readonly number[]) => Set<Answer>;
};

/** One value that left a plant, by whichever protocol. */
type Served = { sequence: number; raw: unknown; realTimeMs: number; client: string; delivery: string };

function servedBy({ opcua, served }: PlantHandle, protocol: Protocol, after: number): readonly Served[] {
  return protocol === "opcua" ? (opcua?.served({ point: register, after }) ?? []) : served({ point: register, after });
}

export function meterOf(
  plant: PlantHandle,
  { group, node, device }: Record<"group" | "node" | "device", string>,
  protocol: Protocol,
): Meter {
  const names: readonly MetricName[] = protocol === "opcua" ? [pointName] : metricNames;
  const answers = Object.fromEntries(metricNames.map((name) => [name, [] as Answer[]])) as Record<MetricName, Answer[]>;
  let sequence = 0;
  return {
    entity: `${group}/${node}/${device}`,
    device,
    plant,
    protocol,
    metrics: names,
    answers: () => {
      for (const { raw, realTimeMs: servedMs, client, delivery, sequence: n } of servedBy(plant, protocol, sequence)) {
        sequence = n;
        if (typeof raw !== "bigint" || delivery === "republished") continue;
        for (const name of names) answers[name].push({ value: String(metrics[name](raw)), servedMs, client });
      }
      return answers;
    },
    unread: (all, killsMs) =>
      protocol === "opcua" ? toldShortlyBefore(all, killsMs, collectedWithinMs) : unread(all, killsMs),
  };
}

function opcuaConfig({ device, plant: { id, opcua } }: Meter): Record<string, unknown> {
  const point = opcua?.map.points.find(({ name }) => name === register);
  if (!point) throw new RangeError(`${id} has no variable ${register}`);
  return {
    id: device,
    driver: "opcua",
    endpointUrl: opcua?.endpointUrl,
    simulated: true,
    pollIntervalMs,
    samplingIntervalMs: pollIntervalMs,
    publishingIntervalMs: pollIntervalMs,
    timeoutMs: 10_000,
    retryMinMs: 50,
    tags: [{ name: pointName, nodeId: point.nodeId, type: "uint64" }],
  };
}

/** The meter as a device of a gateway's configuration. */
export function deviceConfig(meter: Meter): Record<string, unknown> {
  if (meter.protocol === "opcua") return opcuaConfig(meter);
  const { device, plant } = meter;
  const point = plant.registerMap.points.find(({ name }) => name === register);
  if (!point) throw new RangeError(`${plant.id} has no register ${register}`);
  const { unitId, table, address } = point;
  return {
    id: device,
    driver: "modbus-tcp",
    host: plant.host,
    port: plant.port,
    unitId,
    simulated: true,
    pollIntervalMs,
    // A stall of the test's machine is no silence of the plant.
    timeoutMs: 10_000,
    retryMinMs: 50,
    tags: [
      { name: pointName, table, address, type: "uint64" },
      { name: "energy-low", table, address: address + 2, type: "uint32" },
      ...fillers.map((name) => ({ name, table, address, type: "uint64" })),
    ],
  };
}
