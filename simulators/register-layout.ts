/**
 * The register layout that all three profiles share: what stands where. Byte orders are dealt out per profile in
 * register-map.ts. Addresses are the zero-based ones of the Modbus PDU (holding address 0 is "40001" in old manuals).
 */

export type Table = "holding" | "input" | "coil" | "discrete";
export type NumericType = "uint16" | "int16" | "uint32" | "int32" | "uint64" | "int64" | "float32" | "float64";
export type RegisterType = NumericType | "bool";
export type Scale = { readonly numerator: number; readonly denominator: number };

/** Integer quantities of the truth, with the number of base units in one engineering unit. */
export const SIGNALS = {
  energyImport: { perUnit: 1_000_000, unit: "kWh", role: "energy.import", counter: true }, // mWh
  powerActive: { perUnit: 1_000, unit: "kW", role: "power.active", counter: false }, // W
  powerReactive: { perUnit: 1_000, unit: "kvar", role: "power.reactive", counter: false }, // var
  powerFactor: { perUnit: 1_000, unit: "1", role: "power.factor", counter: false },
  voltageL1: { perUnit: 1_000, unit: "V", role: "voltage", counter: false }, // mV
  voltageL2: { perUnit: 1_000, unit: "V", role: "voltage", counter: false },
  voltageL3: { perUnit: 1_000, unit: "V", role: "voltage", counter: false },
  current: { perUnit: 1_000, unit: "A", role: "current", counter: false }, // mA
  frequency: { perUnit: 1_000, unit: "Hz", role: "frequency", counter: false }, // mHz
  state: { perUnit: 1, unit: "1", role: "machine.state", counter: false },
  running: { perUnit: 1, unit: "1", role: "machine.running", counter: false },
  fault: { perUnit: 1, unit: "1", role: "machine.fault", counter: false },
  runningTime: { perUnit: 1_000, unit: "s", role: "machine.running_time", counter: true }, // ms
  total: { perUnit: 1, unit: "pcs", role: "production.total", counter: true },
  good: { perUnit: 1, unit: "pcs", role: "production.good", counter: true },
  scrap: { perUnit: 1, unit: "pcs", role: "production.scrap", counter: true },
  rework: { perUnit: 1, unit: "pcs", role: "production.rework", counter: true },
  inspected: { perUnit: 1, unit: "pcs", role: "inspection.inspected", counter: true },
  passed: { perUnit: 1, unit: "pcs", role: "inspection.passed", counter: true },
  temperature: { perUnit: 1_000, unit: "°C", role: "temperature", counter: false }, // m°C
} as const;
export type Signal = keyof typeof SIGNALS;

export const DEVICE_NAMES = [
  "incoming-meter",
  "feeder-1",
  "feeder-2",
  "feeder-3",
  "machine-1",
  "machine-2",
  "machine-3",
] as const;
export type DeviceName = (typeof DEVICE_NAMES)[number];

/** `denominator` defaults to 1; `modulus` to the width of the register for 16- and 32-bit counters. */
export type LayoutPoint = {
  readonly name: string;
  readonly signal: Signal;
  readonly table: Table;
  readonly address: number;
  readonly type: RegisterType;
  readonly denominator?: number;
  readonly modulus?: bigint;
};

/** Addresses that answer 0 and mean nothing, as the reserved ranges of real devices do. All other gaps are illegal. */
export type ReservedRange = { readonly table: Table; readonly address: number; readonly quantity: number };

export type LayoutDevice = {
  readonly unitId: number;
  readonly points: readonly LayoutPoint[];
  readonly reserved: readonly ReservedRange[];
};

const p = (
  name: string,
  signal: Signal,
  table: Table,
  address: number,
  type: RegisterType,
  denominator = 1,
  modulus?: bigint,
): LayoutPoint => ({ name, signal, table, address, type, denominator, ...(modulus === undefined ? {} : { modulus }) });

export const LAYOUT: Readonly<Record<DeviceName, LayoutDevice>> = {
  "incoming-meter": {
    unitId: 1,
    points: [
      p("energy-import", "energyImport", "holding", 100, "uint64", 1000),
      p("power-active", "powerActive", "holding", 104, "float64"),
      p("power-reactive", "powerReactive", "holding", 108, "int32", 1000),
      p("voltage-l1", "voltageL1", "input", 0, "float32"),
      p("voltage-l2", "voltageL2", "input", 2, "float32"),
      p("voltage-l3", "voltageL3", "input", 4, "float32"),
      p("frequency", "frequency", "input", 10, "uint16", 100),
      p("power-factor", "powerFactor", "input", 11, "int16", 1000),
    ],
    // Makes 100..224 one readable block of 125 registers, the largest read there is.
    reserved: [{ table: "holding", address: 110, quantity: 115 }],
  },
  "feeder-1": {
    unitId: 2,
    points: [
      p("energy-import", "energyImport", "holding", 0, "uint32", 100),
      p("power-active", "powerActive", "input", 30, "float32"),
      p("current", "current", "input", 32, "float32"),
      p("voltage-l1", "voltageL1", "input", 36, "uint16", 10),
      p("power-factor", "powerFactor", "input", 50, "int16", 1000),
    ],
    reserved: [{ table: "input", address: 34, quantity: 2 }],
  },
  "feeder-2": {
    unitId: 3,
    points: [
      p("energy-import", "energyImport", "holding", 500, "int64", 1000),
      p("power-active", "powerActive", "holding", 504, "int32", 1000),
      p("power-reactive", "powerReactive", "holding", 510, "int16", 10),
      p("voltage-l1", "voltageL1", "input", 0, "float64"),
      p("current", "current", "input", 4, "uint16", 10),
    ],
    reserved: [],
  },
  "feeder-3": {
    unitId: 4,
    points: [
      p("energy-import", "energyImport", "input", 1000, "uint32", 10, 1_000_000n),
      p("power-active", "powerActive", "input", 1002, "float32"),
      p("voltage-l1", "voltageL1", "holding", 20, "float32"),
      p("current", "current", "holding", 22, "uint32", 1000),
      p("frequency", "frequency", "holding", 30, "uint16", 100),
    ],
    reserved: [],
  },
  "machine-1": {
    unitId: 11,
    points: [
      p("state", "state", "holding", 0, "uint16"),
      p("production-total", "total", "holding", 2, "uint32"),
      p("production-good", "good", "holding", 4, "uint32"),
      p("production-scrap", "scrap", "holding", 6, "uint16"),
      p("production-rework", "rework", "holding", 7, "uint16"),
      p("inspection-inspected", "inspected", "holding", 8, "uint16"),
      p("inspection-passed", "passed", "holding", 9, "uint16"),
      p("temperature", "temperature", "input", 0, "float32"),
      p("running-time", "runningTime", "input", 4, "int64"),
      p("running", "running", "coil", 0, "bool"),
      p("fault", "fault", "discrete", 0, "bool"),
    ],
    reserved: [{ table: "holding", address: 1, quantity: 1 }],
  },
  "machine-2": {
    unitId: 12,
    points: [
      p("state", "state", "input", 200, "int16"),
      p("production-total", "total", "input", 202, "int32", 1, 1_000_000_000n),
      p("production-good", "good", "input", 204, "int32", 1, 1_000_000_000n),
      p("production-scrap", "scrap", "input", 206, "uint32"),
      p("inspection-inspected", "inspected", "holding", 40, "uint64"),
      p("inspection-passed", "passed", "holding", 44, "uint64"),
      p("temperature", "temperature", "holding", 48, "float64"),
      p("running", "running", "discrete", 3, "bool"),
      p("fault", "fault", "discrete", 4, "bool"),
    ],
    reserved: [{ table: "input", address: 201, quantity: 1 }],
  },
  "machine-3": {
    unitId: 13,
    points: [
      p("state", "state", "holding", 4000, "uint16"),
      p("temperature", "temperature", "holding", 4001, "int16", 10),
      p("production-total", "total", "holding", 4002, "uint32", 1, 1_000_000n),
      p("production-good", "good", "holding", 4004, "uint32", 1, 1_000_000n),
      p("production-scrap", "scrap", "holding", 4006, "uint16"),
      p("inspection-inspected", "inspected", "holding", 4010, "int64"),
      p("inspection-passed", "passed", "holding", 4014, "int64"),
      p("running", "running", "coil", 100, "bool"),
      p("fault", "fault", "coil", 101, "bool"),
    ],
    reserved: [],
  },
};
