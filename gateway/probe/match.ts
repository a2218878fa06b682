import { type ByteOrder, byteOrders } from "../drivers/modbus-config.ts";
import { type BinaryType, decodeRegisters } from "../drivers/modbus-decode.ts";
import { type RegisterType, registerTypes } from "../drivers/modbus-facts.ts";
import type { Table } from "./session.ts";

/** What a unit's registers held when they were read. */
export type Registers = { readonly unitId: number; readonly table: Table; readonly words: ReadonlyMap<number, number> };

/** A value that a display shows. @property decimals it has after its point */
export type Expected = { readonly value: number; readonly decimals: number };

export type Factor = { readonly numerator: number; readonly denominator: number };

/** A way to read some registers that gives about the expected value. */
export type Match = {
  readonly unitId: number;
  readonly table: Table;
  readonly address: number;
  readonly type: RegisterType;
  readonly order: ByteOrder;
  readonly factor: Factor;
  /** Registers and factor give this. */
  readonly value: number;
  /** The unsigned type of the same width gives the same. */
  readonly isUnsignedToo: boolean;
  /** The greater the more plausible; only the order counts. */
  readonly score: number;
};

const one: Factor = { numerator: 1, denominator: 1 };
const by = (numerator: number, denominator: number): Factor => ({ numerator, denominator });
const integerFactors = [one, by(1, 10), by(1, 100), by(1, 1000), by(1, 10_000), by(10, 1), by(100, 1), by(1000, 1)];
/** A float is seldom scaled, but for W and kW or a percentage. */
const floatFactors = [one, by(1, 1000), by(1000, 1), by(1, 100), by(100, 1), by(1, 10), by(10, 1)];

type Numeric = Exclude<BinaryType, "bool">;
const types: readonly Numeric[] = ["int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64"];
const isFloat = (type: RegisterType): boolean => type.startsWith("float");

/** How usual a type and an order are in meters and PLCs, from manuals; nothing that would decide alone. */
const typeScore: Readonly<Record<Numeric, number>> = {
  int16: 0,
  uint16: 0,
  float32: 0.5,
  int32: -0.5,
  uint32: -0.5,
  float64: -1,
  int64: -1.5,
  uint64: -1.5,
};
const orderScore: Readonly<Record<ByteOrder, number>> = { ABCD: 0, CDAB: -0.5, DCBA: -1.5, BADC: -2 };

/** In one register only its two bytes can be exchanged. */
function ordersOf(type: Numeric): readonly ByteOrder[] {
  return registerTypes[type].registers === 1 ? ["ABCD", "BADC"] : byteOrders;
}

/** The bytes of registers in a row; undefined where one was not read. */
function bytesAt(words: ReadonlyMap<number, number>, address: number, registers: number): Buffer | undefined {
  const bytes = Buffer.alloc(2 * registers);
  for (let i = 0; i < registers; i += 1) {
    const word = words.get(address + i);
    if (word === undefined) return undefined;
    bytes.writeUInt16BE(word, 2 * i);
  }
  return bytes;
}

/** Whether a float looks like a measured value: neither tiny nor huge, as bytes in a wrong order are. */
function looksMeasured(value: number): boolean {
  const size = Math.abs(value);
  return value === 0 || (size > 1e-3 && size < 1e9);
}

/** Floats stand in rows: neighbours that are none in the same order speak against it. */
function neighbourScore(words: ReadonlyMap<number, number>, address: number, type: Numeric, order: ByteOrder): number {
  if (!isFloat(type)) return 0;
  const { registers } = registerTypes[type];
  return [address - registers, address + registers].reduce((score, at) => {
    const bytes = bytesAt(words, at, registers);
    if (bytes === undefined) return score;
    return score + (looksMeasured(Number(decodeRegisters(bytes, 0, type, order))) ? 0.7 : -0.7);
  }, 0);
}

function factorScore(type: Numeric, { numerator, denominator }: Factor, { decimals }: Expected): number {
  if (isFloat(type)) return numerator === denominator ? 0 : denominator === 1000 || numerator === 1000 ? -1 : -2.5;
  if (numerator > 1) return -1.5 - Math.log10(numerator) / 2;
  // A count is as fine as the display, usually.
  return -Math.abs(Math.log10(denominator) - decimals) / 2;
}

/** A wide integer of which one register holds everything: the narrow one at that register says the same, and is likelier. */
function isNarrow(type: Numeric, raw: number): boolean {
  return !isFloat(type) && registerTypes[type].registers > 1 && raw >= -32_768 && raw < 65_536;
}

function matchesAt(
  { unitId, table, words }: Registers,
  address: number,
  expected: Expected,
  tolerance: number,
): Match[] {
  const found: Match[] = [];
  const allowed = Math.abs(expected.value) * tolerance;
  for (const type of types) {
    const bytes = bytesAt(words, address, registerTypes[type].registers);
    if (bytes === undefined) continue;
    for (const order of ordersOf(type)) {
      const raw = Number(decodeRegisters(bytes, 0, type, order));
      if (!Number.isFinite(raw) || raw === 0) continue;
      for (const factor of isFloat(type) ? floatFactors : integerFactors) {
        const value = (raw * factor.numerator) / factor.denominator;
        const off = Math.abs(value - expected.value);
        if (off > allowed) continue;
        const score =
          typeScore[type] +
          orderScore[order] +
          factorScore(type, factor, expected) +
          neighbourScore(words, address, type, order) -
          (allowed > 0 ? (2 * off) / allowed : 0) -
          (isNarrow(type, raw) ? 2 : 0);
        found.push({ unitId, table, address, type, order, factor, value, isUnsignedToo: false, score });
      }
    }
  }
  return signedOnce(found);
}

const sameFactor = (a: Factor, b: Factor) => a.numerator === b.numerator && a.denominator === b.denominator;

/** A signed and an unsigned type that say the same are one finding. */
function signedOnce(found: readonly Match[]): Match[] {
  const isTwin = (a: Match, b: Match) =>
    a.type === `u${b.type}` && a.order === b.order && sameFactor(a.factor, b.factor);
  return found
    .filter((match) => !found.some((other) => isTwin(match, other)))
    .map((match) => (found.some((other) => isTwin(other, match)) ? { ...match, isUnsignedToo: true } : match));
}

/** Values of one device are usually of one kind: a way to read that explains another expected value as well is likelier. */
const alikeScore = 2;
const kindOf = ({ unitId, table, type, order, factor }: Match): string =>
  [unitId, table, type, order, isFloat(type) ? factor.denominator : ""].join(" ");

/**
 * Every type, byte order and usual factor under which some registers give about an expected value, the likeliest first: for each expected
 * value a list. Pure.
 * @param tolerance as a part of the value: 0.01 for 1 %
 */
export function findMatches(
  registers: readonly Registers[],
  expected: readonly Expected[],
  tolerance: number,
): Match[][] {
  const found = expected.map((one) =>
    registers.flatMap((of) => [...of.words.keys()].flatMap((address) => matchesAt(of, address, one, tolerance))),
  );
  const kinds = found.map((matches) => new Set(matches.map(kindOf)));
  return found.map((matches, i) =>
    matches
      .map((match) => {
        const alike = kinds.filter((others, j) => j !== i && others.has(kindOf(match))).length;
        return { ...match, score: match.score + alikeScore * alike };
      })
      .sort((a, b) => b.score - a.score || a.unitId - b.unitId || a.address - b.address),
  );
}

/** Expected values as text: `230.1,50.02`. @returns undefined when one is no number, or zero, which is everywhere */
export function readExpected(text: string): Expected[] | undefined {
  const parts = text.split(",").map((part) => part.trim());
  if (!parts.every((part) => /^-?\d{1,12}(\.\d{1,9})?$/.test(part) && Number(part) !== 0)) return undefined;
  return parts.map((part) => ({ value: Number(part), decimals: part.split(".")[1]?.length ?? 0 }));
}
