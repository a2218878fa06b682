/** The devices of the simulated factories, of four kinds: meters of several carriers, and machines with and without what figures need. */
import { DataType } from "@jilian/domain/datatypes.ts";
import type { Carrier } from "@jilian/domain/roles.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import type { RegistryDevice } from "@jilian/store/registry-schema.ts";
import type { PlantMetric } from "./plant.ts";

/** A device as it is made; without `registry` nobody has registered it. */
export type Made = {
  registry?: RegistryDevice;
  device: string;
  metrics: PlantMetric[];
  pieceMs?: number;
  isRead?: false;
};

const kWh = (
  name: string,
  more: Partial<MetricDefinition>,
  signal: Partial<Extract<PlantMetric["signal"], { kind: "register" }>>,
): PlantMetric => ({
  definition: { name, datatype: DataType.Double, role: "energy.import", unit: "kWh", simulated: false, ...more },
  signal: {
    kind: "register",
    microPerCount: 10_000n,
    modulusCounts: Number.MAX_SAFE_INTEGER,
    perHour: 100,
    float32: false,
    ...signal,
  },
});

const pieces = (
  name: string,
  role: string,
  product: string | undefined,
  share: number,
  heartbeatMs: number,
): PlantMetric => ({
  definition: {
    name,
    datatype: DataType.Int64,
    role,
    unit: "pcs",
    heartbeatMs,
    modulus: "10000",
    simulated: false,
    ...(product === undefined ? {} : { product }),
  },
  signal: { kind: "pieces", product, share, modulusCounts: 10_000 },
});

const state = (
  datatype: MetricDefinition["datatype"],
  codes: readonly (string | number | boolean)[],
  beat: number,
) => ({
  definition: { name: "state", datatype, role: "machine.state", heartbeatMs: beat, simulated: false },
  signal: { kind: "state" as const, codes },
});

const power: PlantMetric = {
  definition: { name: "power", datatype: DataType.Float, role: "power.active", unit: "kW", simulated: false },
  signal: { kind: "power", from: 0, width: 2000 },
};

/**
 * The meters of a factory: an incoming one whose register starts again and again, and those behind and beside it.
 * @param exchangeMs when the incoming one is exchanged, true time
 */
export function metersOf(kind: number, pollMs: number, exchangeMs: number | undefined): Made[] {
  const heartbeatMs = pollMs * 2;
  const rolling = { heartbeatMs, modulus: "1000", resolution: "0.01" };
  const incoming: Made = {
    registry: { id: "meter-in", name: "进线", kind: "meter", meteringPoint: "incoming", ratedPowerKW: 400 },
    device: "meter-in",
    metrics: [
      kWh("energy", rolling, { modulusCounts: 100_000, perHour: 260, ...(exchangeMs ? { exchangeMs } : {}) }),
      { ...power, definition: { ...power.definition, heartbeatMs } },
    ],
  };
  const second: Made = {
    // Nothing bounds what it may rise; a float of 32 bits.
    registry: { id: "meter-in2", name: "进线二", kind: "meter", meteringPoint: "incoming" },
    device: "meter-in2",
    metrics: [
      kWh(
        "energy",
        { datatype: DataType.Float, heartbeatMs: heartbeatMs * 2, modulus: "500" },
        { microPerCount: 100_000n, modulusCounts: 5000, perHour: 90, float32: true },
      ),
    ],
  };
  const feeder = (n: number, perHour: number, more: Partial<RegistryDevice> = {}): Made => ({
    registry: {
      ...{ id: `feeder-${n}`, name: `馈线${n}`, kind: "meter", meteringPoint: "feeder", ratedPowerKW: 200 },
      ...more,
    },
    device: `feeder-${n}`,
    metrics: [kWh("energy", { heartbeatMs, resolution: "0.01", modulus: "nonsense" }, { perHour })],
  });
  const feeders = [
    feeder(1, 120, { line: "line-a" }),
    // Behind transformers: what it counts is a sixth.
    feeder(2, 9, { line: "line-b", ctRatio: "30/5" }),
    // Behind the first one, and so in it.
    feeder(3, 40, { line: "line-a", parent: "feeder-1" }),
  ];
  const other = (carrier: Carrier, unit: string, perHour: number): Made => ({
    registry: {
      id: `meter-${carrier}`,
      name: carrier,
      kind: "meter",
      meteringPoint: "incoming",
      carrier: carrier as never,
    },
    device: `meter-${carrier}`,
    metrics: [
      kWh(
        "register",
        { role: `${carrier}.import`, unit, heartbeatMs, modulus: "100" },
        { microPerCount: 1000n, modulusCounts: 100_000, perHour },
      ),
    ],
  });
  const others = [
    [other("gas", "m3", 30), other("water", "m3", 4)],
    [other("gas", "m3", 25)],
    [other("steam", "t", 2), other("heat", "MJ", 60), other("compressed_air", "m3", 90)],
    [],
  ][kind] as Made[];
  const silent: Made = {
    registry: { id: "meter-silent", name: "未接电表", kind: "meter", meteringPoint: "incoming" },
    device: "meter-silent",
    metrics: [],
    isRead: false,
  };
  if (kind === 3) return [feeder(1, 60)];
  return [incoming, ...feeders, ...others, ...(kind === 1 ? [second] : []), ...(kind === 2 ? [silent] : [])];
}

/** The machines of a factory: one with every term of every figure, others that lack some. */
export function machinesOf(kind: number, pollMs: number): Made[] {
  const beat = pollMs * 2;
  const good = (product: string | undefined, share = 0.96) => pieces("good", "production.good", product, share, beat);
  const full: Made = {
    registry: {
      id: "press-1",
      name: "压机一",
      kind: "machine",
      states: { running: [1, 2], setup: [7] },
      line: "line-a",
      keyProcess: true,
      plannedRunTimePerItemMs: { a: 9000.5, b: 7000 },
      output: true,
    },
    device: "press-1",
    pieceMs: 9500,
    metrics: [
      pieces("produced-a", "production.total", "a", 1, beat),
      pieces("produced-b", "production.total", "b", 1, beat),
      good(kind === 1 ? undefined : "a"),
      pieces("scrap", "production.scrap", undefined, 0.03, beat),
      pieces("rework", "production.rework", undefined, 0.02, beat),
      pieces("inspected", "inspection.inspected", undefined, 0.5, beat),
      pieces("passed", "inspection.passed", undefined, 0.47, beat),
      state(DataType.Int32, [1, 2, 0, 7], beat),
    ],
  };
  const text: Made = {
    registry: {
      id: "lathe-1",
      name: "车床",
      kind: "machine",
      states: { running: ["RUN"], setup: ["SETUP"] },
      line: "line-b",
      plannedRunTimePerItemMs: 20_000,
      calendar: { shifts: [{ days: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], from: "08:00", to: "08:00" }] },
      ...(kind === 2 ? { output: true } : {}),
    },
    device: "lathe-1",
    pieceMs: 18_000,
    metrics: [
      pieces("produced", "production.total", undefined, 1, beat),
      good(undefined, 0.9),
      state(DataType.String, ["RUN", "SETUP", "STOP"], beat * 2),
    ],
  };
  const lacking: Made = {
    // No planned run time; its state is a contact.
    registry: { id: "saw-1", name: "锯床", kind: "machine", states: { running: [1] }, production: false },
    device: "saw-1",
    pieceMs: 30_000,
    metrics: [
      pieces("produced", "production.total", "c", 1, beat),
      good("c"),
      state(DataType.Boolean, [true, false], beat),
    ],
  };
  const mute: Made = {
    registry: {
      ...{ id: "furnace-1", name: "熔炉", kind: "machine", line: "line-b" },
      capability: { metric: "temperature", lowerLimit: 700.5, ...(kind === 0 ? { upperLimit: 704.25 } : {}) },
    },
    device: "furnace-1",
    metrics: [
      {
        definition: { name: "temperature", datatype: DataType.Double, heartbeatMs: beat, simulated: false },
        signal: { kind: "power", from: 5600, width: 40 },
      },
    ],
  };
  const stranger: Made = {
    device: "stranger-1",
    metrics: [kWh("energy", { heartbeatMs: beat }, { perHour: 50 })],
  };
  if (kind === 3) return [lacking, stranger];
  return [full, text, ...(kind === 0 ? [lacking, mute] : []), ...(kind === 1 ? [mute] : [])];
}
