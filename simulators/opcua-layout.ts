/**
 * The OPC UA variables that all three profiles share. They show the quantities of register-layout.ts under the same names, in types as
 * differently chosen as they are between vendors. Every counter is an integer, so that no digit is lost on the way.
 */
import type { DeviceName, RegisterType, Signal } from "./register-layout.ts";

/** `string` is the plain name of a machine's state; everything else is a type that a register has too. */
export type VariableType = RegisterType | "string";

/** A unit as OPC 10000-8, 5.6.4.3 writes it (EUInformation): the common code of UNECE Recommendation 20, symbol and name. */
export type EngineeringUnit = { readonly code: string; readonly symbol: string; readonly name: string };

/** One variable. Engineering value = value / `denominator`. `modulus` as for a register. */
export type OpcuaLayoutPoint = {
  readonly name: string;
  readonly signal: Signal;
  readonly type: VariableType;
  readonly denominator: number;
  readonly modulus?: bigint;
  /** Unit of the value as served, before the denominator; absent where the code list has none, as on many real servers. */
  readonly engineeringUnit?: EngineeringUnit;
  /** A state whose node carries the names of its values (MultiStateDiscreteType). */
  readonly named?: boolean;
};

const unit = (code: string, symbol: string, name: string): EngineeringUnit => ({ code, symbol, name });
const WATT_HOUR = unit("WHR", "W·h", "watt hour");
const KILOWATT = unit("KWT", "kW", "kilowatt");
const WATT = unit("WTT", "W", "watt");
const VAR = unit("D44", "var", "var");
const VOLT = unit("VLT", "V", "volt");
const AMPERE = unit("AMP", "A", "ampere");
const HERTZ = unit("HTZ", "Hz", "hertz");
const CELSIUS = unit("CEL", "°C", "degree Celsius");
const MILLISECOND = unit("C26", "ms", "millisecond");
const PIECE = unit("H87", "pc", "piece");

type More = Partial<Omit<OpcuaLayoutPoint, "name" | "signal" | "type">>;

const v = (name: string, signal: Signal, type: VariableType, more: More = {}): OpcuaLayoutPoint => ({
  name,
  signal,
  type,
  denominator: 1,
  ...more,
});
const pieces = (name: string, signal: Signal, type: VariableType, modulus?: bigint): OpcuaLayoutPoint =>
  v(name, signal, type, { engineeringUnit: PIECE, ...(modulus === undefined ? {} : { modulus }) });
const volts = (phase: 1 | 2 | 3, type: VariableType): OpcuaLayoutPoint =>
  v(`voltage-l${phase}`, `voltageL${phase}`, type, { engineeringUnit: VOLT });
const flags = [v("running", "running", "bool"), v("fault", "fault", "bool"), v("state-text", "state", "string")];

export const OPCUA_LAYOUT: Readonly<Record<DeviceName, readonly OpcuaLayoutPoint[]>> = {
  "incoming-meter": [
    v("energy-import", "energyImport", "uint64", { denominator: 1000, engineeringUnit: WATT_HOUR }),
    v("power-active", "powerActive", "float64", { engineeringUnit: KILOWATT }),
    v("power-reactive", "powerReactive", "int32", { denominator: 1000, engineeringUnit: VAR }),
    volts(1, "float32"),
    volts(2, "float32"),
    volts(3, "float32"),
    v("frequency", "frequency", "float64", { engineeringUnit: HERTZ }),
    v("power-factor", "powerFactor", "int16", { denominator: 1000 }),
  ],
  "feeder-1": [
    v("energy-import", "energyImport", "uint32", { denominator: 1000, engineeringUnit: WATT_HOUR }),
    v("power-active", "powerActive", "float32", { engineeringUnit: KILOWATT }),
    v("current", "current", "float32", { engineeringUnit: AMPERE }),
    volts(1, "float64"),
    v("power-factor", "powerFactor", "float64"),
  ],
  "feeder-2": [
    // In mWh: the finest that there is, every digit of the truth.
    v("energy-import", "energyImport", "int64", { denominator: 1_000_000 }),
    v("power-active", "powerActive", "int32", { denominator: 1000, engineeringUnit: WATT }),
    v("power-reactive", "powerReactive", "int32", { denominator: 1000, engineeringUnit: VAR }),
    volts(1, "float64"),
    v("current", "current", "float32", { engineeringUnit: AMPERE }),
  ],
  "feeder-3": [
    // Six digits of 0.1 kWh: rolls over within the first minutes of running.
    v("energy-import", "energyImport", "uint32", { denominator: 10, modulus: 1_000_000n }),
    v("power-active", "powerActive", "float32", { engineeringUnit: KILOWATT }),
    volts(1, "float32"),
    v("current", "current", "uint32", { denominator: 1000 }),
    v("frequency", "frequency", "float32", { engineeringUnit: HERTZ }),
  ],
  "machine-1": [
    v("state", "state", "int32"),
    pieces("production-total", "total", "uint32"),
    pieces("production-good", "good", "uint32"),
    pieces("production-scrap", "scrap", "uint16"),
    pieces("production-rework", "rework", "uint16"),
    // The first of these two rolls over within the first minutes, as its register does.
    pieces("inspection-inspected", "inspected", "uint16"),
    pieces("inspection-passed", "passed", "uint16"),
    v("temperature", "temperature", "float32", { engineeringUnit: CELSIUS }),
    v("running-time", "runningTime", "int64", { denominator: 1000, engineeringUnit: MILLISECOND }),
    ...flags,
  ],
  "machine-2": [
    v("state", "state", "uint32", { named: true }),
    pieces("production-total", "total", "int32", 1_000_000_000n),
    pieces("production-good", "good", "int32", 1_000_000_000n),
    pieces("production-scrap", "scrap", "uint32"),
    pieces("inspection-inspected", "inspected", "uint64"),
    pieces("inspection-passed", "passed", "uint64"),
    v("temperature", "temperature", "float64", { engineeringUnit: CELSIUS }),
    ...flags,
  ],
  "machine-3": [
    v("state", "state", "uint16"),
    v("temperature", "temperature", "int16", { denominator: 10 }),
    pieces("production-total", "total", "uint32", 1_000_000n),
    pieces("production-good", "good", "uint32", 1_000_000n),
    pieces("production-scrap", "scrap", "uint16"),
    pieces("inspection-inspected", "inspected", "int64"),
    pieces("inspection-passed", "passed", "int64"),
    ...flags,
  ],
};
