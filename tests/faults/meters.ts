import type { PlantHandle } from "@jilian/simulators/simulator.ts";
import type { Answer } from "./compare.ts";

/**
 * What is followed: the energy counter of an incoming meter, 64 bits, which rises between any two polls and never rolls over. The
 * gateway reads it under two names, whole and its lower half, so that a record holds more than one sample.
 */
export const pointName = "energy";
const register = "incoming-meter/energy-import";
const pollIntervalMs = 100;

/** What the gateway publishes of one answer, by metric. */
const metrics = {
  [pointName]: (raw: bigint) => raw,
  "energy-low": (raw: bigint) => raw & 0xffff_ffffn,
} as const;
export type MetricName = keyof typeof metrics;
export const metricNames = Object.keys(metrics) as MetricName[];

/** More tags on the same register, for load; not followed. */
const fillers = ["filler-1", "filler-2", "filler-3", "filler-4", "filler-5", "filler-6"];
/** Samples that are followed, of all that a record holds. */
export const followedShare = metricNames.length / (metricNames.length + fillers.length);

export type Meter = {
  /** As the interface names the device: `factory/gateway/device`. */
  readonly entity: string;
  readonly device: string;
  readonly plant: PlantHandle;
  /** Answers so far, by metric; grows with each call. */
  readonly answers: () => Readonly<Record<MetricName, readonly Answer[]>>;
};

export function meterOf(
  plant: PlantHandle,
  { group, node, device }: Record<"group" | "node" | "device", string>,
): Meter {
  const answers = Object.fromEntries(metricNames.map((name) => [name, [] as Answer[]])) as Record<MetricName, Answer[]>;
  let sequence = 0;
  return {
    entity: `${group}/${node}/${device}`,
    device,
    plant,
    answers: () => {
      for (const { raw, realTimeMs: servedMs, client, sequence: n } of plant.served({
        point: register,
        after: sequence,
      })) {
        for (const name of metricNames) {
          answers[name].push({ value: String(metrics[name](raw as bigint)), servedMs, client });
        }
        sequence = n;
      }
      return answers;
    },
  };
}

/** The meter as a device of a gateway's configuration. */
export function deviceConfig({ device, plant }: Meter): Record<string, unknown> {
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
