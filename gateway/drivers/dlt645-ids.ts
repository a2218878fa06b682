import type { Carrier, Role } from "@jilian/domain/roles.ts";

/**
 * Standard data identifiers of DL/T 645-2007, annex A: energies (table A.1) and variables (table A.3), as of now (DI0 = 00; DI0 01-0C
 * are energies of past settlement days, which no live figure is). Identifiers, formats and units are checked against the tables of
 * independent implementations (github.com/bobyuxinyang/dlt645_2007, dlt645_api_07.h; github.com/600888/dlt645, variable_types.json);
 * which of them have a sign is what the notes of the standard's tables say. How one is sent, an independent meter shows
 * (tests/drivers/dlt645-peer.test.ts).
 */

/** What an identifier stands for. Role and carrier only where the register is one that indicators are made of: a total, not its parts. */
export type KnownData = {
  readonly format: string;
  readonly signed: boolean;
  readonly unit: string;
  readonly role?: Role;
  readonly carrier?: Carrier;
};

/** Identifiers that differ in DI1 alone; DI1 = FFH asks for all of them in one answer, in their order. */
type Family = KnownData & { readonly di3di2: string; readonly firstDi1: number; readonly lastDi1: number };

const energy = (di3di2: string, unit: string, signed = false): Family => ({
  di3di2,
  // The total, then the tariffs: 1-4 are peak, high, flat, valley (尖峰平谷); a meter has up to 63.
  firstDi1: 0,
  lastDi1: 0x3f,
  format: "XXXXXX.XX",
  signed,
  unit,
});
const phases = (di3di2: string, format: string, unit: string, signed: boolean): Family => ({
  di3di2,
  firstDi1: 1,
  lastDi1: 3,
  format,
  signed,
  unit,
});
/** The total, then the phases. */
const totalAndPhases = (di3di2: string, format: string, unit: string): Family => ({
  ...phases(di3di2, format, unit, true),
  firstDi1: 0,
});

const families: readonly Family[] = [
  energy("0000", "kWh", true), // combined active (组合有功)
  energy("0001", "kWh"), // forward active (正向有功)
  energy("0002", "kWh"), // reverse active (反向有功)
  energy("0003", "kvarh", true), // combined reactive 1 (组合无功1)
  energy("0004", "kvarh", true), // combined reactive 2 (组合无功2)
  energy("0005", "kvarh"), // reactive of quadrants I to IV (四象限无功)
  energy("0006", "kvarh"),
  energy("0007", "kvarh"),
  energy("0008", "kvarh"),
  energy("0009", "kVAh"), // forward apparent (正向视在)
  energy("000A", "kVAh"), // reverse apparent (反向视在)
  phases("0201", "XXX.X", "V", false),
  phases("0202", "XXX.XXX", "A", true),
  totalAndPhases("0203", "XX.XXXX", "kW"),
  totalAndPhases("0204", "XX.XXXX", "kvar"),
  totalAndPhases("0205", "XX.XXXX", "kVA"),
  totalAndPhases("0206", "X.XXX", "1"),
  phases("0207", "XXX.X", "°", false),
];

const single = (format: string, unit: string, signed = false): KnownData => ({ format, signed, unit });

const singles: Readonly<Record<string, KnownData>> = {
  "00150000": single("XXXXXX.XX", "kWh"), // forward and reverse active energy of phases A, B, C
  "00160000": single("XXXXXX.XX", "kWh"),
  "00290000": single("XXXXXX.XX", "kWh"),
  "002A0000": single("XXXXXX.XX", "kWh"),
  "003D0000": single("XXXXXX.XX", "kWh"),
  "003E0000": single("XXXXXX.XX", "kWh"),
  "02800001": single("XXX.XXX", "A", true), // current of the neutral (零线电流)
  "02800002": single("XX.XX", "Hz"),
  "02800003": single("XX.XXXX", "kW", true), // active power, mean of a minute
  "02800004": single("XX.XXXX", "kW", true), // present active, reactive, apparent demand (当前需量)
  "02800005": single("XX.XXXX", "kvar", true),
  "02800006": single("XX.XXXX", "kVA", true),
  "02800007": single("XXX.X", "°C", true), // inside the meter
};

/** Totals that indicators are made of. */
const played: Readonly<Record<string, Pick<KnownData, "role" | "carrier">>> = {
  "00010000": { role: "energy.import", carrier: "electricity" },
  "02030000": { role: "power.active" },
};

function familyOf(dataId: string): Family | undefined {
  const di1 = Number.parseInt(dataId.slice(4, 6), 16);
  return families.find(
    ({ di3di2, firstDi1, lastDi1 }) =>
      dataId.startsWith(di3di2) && dataId.endsWith("00") && di1 >= firstDi1 && di1 <= lastDi1,
  );
}

/** What the standard says of an identifier (8 hexadecimal digits, upper case); undefined where it is not in the tables above. */
export function knownData(dataId: string): KnownData | undefined {
  const known = familyOf(dataId) ?? singles[dataId];
  return known === undefined ? undefined : { ...known, ...played[dataId] };
}

/** How many values a block (DI1 = FFH) has by the standard; undefined where it is none of the tables above. */
export function blockValues(blockId: string): number | undefined {
  const family = families.find(({ di3di2 }) => blockId === `${di3di2}FF00`);
  return family === undefined ? undefined : family.lastDi1 - family.firstDi1 + 1;
}

/** The block that brings an identifier's value among others, and its position there; undefined where there is none. */
export function blockOf(dataId: string): { readonly blockId: string; readonly index: number } | undefined {
  const family = familyOf(dataId);
  if (family === undefined) return undefined;
  return { blockId: `${family.di3di2}FF00`, index: Number.parseInt(dataId.slice(4, 6), 16) - family.firstDi1 };
}
