import type { demoPlants } from "@jilian/deploy/demo/make-gateways.ts";
import type { OpcuaPoint } from "@jilian/simulators/opcua-map.ts";
import type { Point } from "@jilian/simulators/register-map.ts";
import type { PlantHandle } from "@jilian/simulators/simulator.ts";
import { engineering, type Matching, match, type Scale, type Served, type Stored } from "./oracle.ts";
import { matchBySource, type SourceMatching } from "./oracle-source.ts";

/** A machine that stalls stamps an answer late, by up to the request's time-out: five seconds are five minutes of plant time. */
const slackMs = 300_000;
/** One tick of the machine's clock, twice, in plant time: two processes read it independently. */
const stepMs = 120;

/** A point of a plant that is reported with every change: its every answer must be accounted for. */
export type Followed = {
  /** `incoming-meter/energy-import`. */
  readonly name: string;
  readonly device: string;
  readonly metric: string;
  readonly role: string;
  readonly counter: boolean;
  readonly scale: Scale;
  /** Of a counter, as an integer at six places in its unit. */
  readonly modulus: bigint | undefined;
  readonly protocol: "modbus" | "opcua";
  /** What left the plant before a time. */
  readonly served: (beforeMs: number) => Served[];
  readonly match: (served: readonly Served[], stored: readonly Stored[]) => Matching | SourceMatching;
  /** The plant's own value at a time, in the unit. */
  readonly truthAt: (timeMs: number) => bigint;
};

function followed(point: Point | OpcuaPoint) {
  const { name, device, role, counter, scale } = point;
  const modulus = point.modulus === null ? undefined : engineering(point.modulus, scale);
  return { name, device, role, counter, scale, modulus, metric: name.slice(name.indexOf("/") + 1) };
}

const isExact = (point: Point | OpcuaPoint, value: unknown) =>
  typeof value === "bigint" && (point.counter || point.unit === "1");

function modbusPoint(plant: PlantHandle, point: Point): Followed {
  return {
    ...followed(point),
    protocol: "modbus",
    served: (beforeMs) =>
      plant
        .served({ point: point.name })
        .filter((s) => s.delivery === "normal" && s.timeMs < beforeMs)
        .map((s) => ({ timeMs: s.timeMs, raw: s.raw as bigint })),
    match: (served, stored) => match(served, stored, point.scale, slackMs, stepMs),
    truthAt: (timeMs) => engineering(plant.truthAt(timeMs).registers[point.name] as bigint, point.scale),
  };
}

function opcuaPoint(plant: PlantHandle, point: OpcuaPoint): Followed {
  const values = (all: readonly { valuesTimeMs: number; raw: unknown }[] = []) =>
    all.filter((v) => v.raw !== null).map((v) => ({ timeMs: v.valuesTimeMs, raw: v.raw as bigint }));
  return {
    ...followed(point),
    protocol: "opcua",
    served: (beforeMs) => values(plant.opcua?.served({ point: point.name })).filter((v) => v.timeMs < beforeMs),
    match: (served, stored) =>
      matchBySource(served, values(plant.opcua?.held({ point: point.name })), stored, point.scale, slackMs),
    truthAt: (timeMs) => engineering(plant.truthAt(timeMs).variables[point.name] as bigint, point.scale),
  };
}

/** Counters, states and factors of a plant, over the protocol by which its gateway reads each. */
export function followedPoints(plant: PlantHandle, { reads }: (typeof demoPlants)[number]): Followed[] {
  const { registers, variables } = plant.truth();
  const driverOf = (device: string) => (device.startsWith("machine") ? reads.machines : reads.meters);
  const named = new Map(plant.opcua?.map.points.map((point) => [point.name, point]));
  return plant.registerMap.points.flatMap((point) => {
    const variable = named.get(point.name);
    if (driverOf(point.device) === "modbus-tcp")
      return isExact(point, registers[point.name]) ? [modbusPoint(plant, point)] : [];
    return variable && isExact(variable, variables[point.name]) ? [opcuaPoint(plant, variable)] : [];
  });
}
