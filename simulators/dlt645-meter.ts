/** One electricity meter of DL/T 645-2007: what it says to a request. Pure state; the server puts it on a line. */
import { type Dlt645Frame, reversed } from "./dlt645-frame.ts";
import type { Plant } from "./plant.ts";
import type { DeviceName } from "./register-layout.ts";

/** Data by identifier (DI3..DI0, 8 digits): the meter's digits, most significant first, two to a byte; a sign is the top bit. */
export type MeterValues = Readonly<Record<string, string>>;

export type MeterOptions = {
  /** 12 digits. */
  readonly address: string;
  readonly values: () => MeterValues;
  /** What the meter does with identifiers of whole blocks (DI1 = FFH). Default: answer. */
  readonly blocks?: "answered" | "refused" | "silent";
  /** Most bytes of data in one frame, the identifier not counted; more come in following frames. Default 196, the standard's most. */
  readonly maxDataBytes?: number;
  /** Whether it says SIMULATED as its asset code. Default true; false where a test needs one that passes for real. */
  readonly tellsSimulated?: boolean;
};

export type Meter = {
  readonly address: string;
  /** Whether a request is meant for this meter: AA stands for any two digits. */
  isMeant(address: string): boolean;
  /** The answer; undefined for none. */
  answer(request: Dlt645Frame): Dlt645Frame | undefined;
};

/** Control codes (clause 7) and the bits of an answer's. */
export const READ = 0x11;
const READ_NEXT = 0x12;
const READ_ADDRESS = 0x13;
const ANSWER = 0x80;
export const REFUSAL = 0xc0;
const MORE = 0x20;
/** Bits of the error byte. */
const NO_SUCH_DATA = 0x02;
const NOT_AUTHORISED = 0x04;

const ASSET_CODE = "04000403";
const SIMULATED = Buffer.from("SIMULATED".padEnd(32)).toString("hex");

export function isReadControl(control: number): boolean {
  return control === READ || control === READ_NEXT || control === READ_ADDRESS;
}

/** Digits of a whole number of counts. Throws a RangeError where it does not fit. */
export function meterDigits(counts: number, digits: number): string {
  const text = Math.abs(counts).toString().padStart(digits, "0");
  const top = Number(text[0]);
  if (!Number.isInteger(counts) || text.length > digits || (counts < 0 && top > 7)) {
    throw new RangeError(`${counts} is no number of ${digits} digits`);
  }
  return counts < 0 ? (top + 8).toString(16) + text.slice(1) : text;
}

/** The values of a block, joined as they are sent: those of DI1 from 00 or 01 on, up to the first that is not there. */
function blockOf(values: MeterValues, dataId: string): Buffer | undefined {
  const idOf = (di1: number): string =>
    `${dataId.slice(0, 4)}${di1.toString(16).padStart(2, "0").toUpperCase()}${dataId.slice(6)}`;
  const parts: Buffer[] = [];
  for (let di1 = values[idOf(0)] === undefined ? 1 : 0; values[idOf(di1)] !== undefined; di1 += 1) {
    parts.push(reversed(values[idOf(di1)] ?? ""));
  }
  return parts.length > 0 ? Buffer.concat(parts) : undefined;
}

export function createMeter(options: MeterOptions): Meter {
  const { address, values, blocks = "answered", maxDataBytes = 196, tellsSimulated = true } = options;

  function dataOf(dataId: string): Buffer | undefined {
    if (dataId === ASSET_CODE) return tellsSimulated ? reversed(SIMULATED) : undefined;
    const digits = values()[dataId];
    if (digits !== undefined) return reversed(digits);
    return dataId.slice(4, 6) === "FF" && blocks === "answered" ? blockOf(values(), dataId) : undefined;
  }

  const refused = (control: number, error: number): Dlt645Frame => ({
    address,
    control: control | REFUSAL,
    data: Buffer.from([error]),
  });

  return {
    address,
    isMeant: (asked) =>
      [0, 2, 4, 6, 8, 10].every((i) => ["AA", address.slice(i, i + 2)].includes(asked.slice(i, i + 2))),
    answer({ control, data }) {
      if (control === READ_ADDRESS) return { address, control: control | ANSWER, data: reversed(address) };
      if (!isReadControl(control)) return refused(control, NOT_AUTHORISED);
      const id = data.subarray(0, 4);
      const dataId = Buffer.from(id).reverse().toString("hex").toUpperCase();
      if (dataId.slice(4, 6) === "FF" && blocks === "silent") return undefined;
      const all = dataOf(dataId);
      const number = control === READ ? 0 : (data[4] ?? 0);
      const part = all?.subarray(number * maxDataBytes, (number + 1) * maxDataBytes);
      if (all === undefined || part === undefined || part.length === 0) return refused(control, NO_SUCH_DATA);
      const more = all.length > (number + 1) * maxDataBytes ? MORE : 0;
      const sequence = control === READ ? [] : [number];
      return { address, control: control | ANSWER | more, data: Buffer.concat([id, part, Buffer.from(sequence)]) };
    },
  };
}

/** Current and voltage transformers of a plant's meters: they show a hundredth of what truly flows. */
export const PLANT_METER_RATIO = 100;

/** The values of a plant's meter, on the secondary side. The caller advances the plant. */
export function plantMeterValues(plant: Plant, device: DeviceName): MeterValues {
  const counts = (signal: Parameters<Plant["quantity"]>[1], perCount: number): number =>
    Math.trunc(plant.quantity(device, signal) / perCount);
  const ratio = PLANT_METER_RATIO;
  return {
    // mWh in hundredths of a kWh, W in tenths, mA, mV.
    "00010000": meterDigits(counts("energyImport", 10_000 * ratio) % 100_000_000, 8),
    "02010100": meterDigits(counts("voltageL1", 100), 4),
    "02010200": meterDigits(counts("voltageL2", 100), 4),
    "02010300": meterDigits(counts("voltageL3", 100), 4),
    "02020100": meterDigits(counts("current", ratio), 6),
    "02030000": meterDigits(Math.trunc((plant.quantity(device, "powerActive") * 10) / ratio), 6),
    "02040000": meterDigits(Math.trunc((plant.quantity(device, "powerReactive") * 10) / ratio), 6),
    "02060000": meterDigits(counts("powerFactor", 1), 4),
    "02800002": meterDigits(counts("frequency", 10), 4),
  };
}
