import { DataType, type DataTypeNumber } from "@jilian/domain/datatypes.ts";

/** Types of a value at its source: bits of an integer (0 for others), and the Sparkplug type before scaling. */
export const valueTypes = {
  int8: { bits: 8, datatype: DataType.Int8 },
  uint8: { bits: 8, datatype: DataType.UInt8 },
  int16: { bits: 16, datatype: DataType.Int16 },
  uint16: { bits: 16, datatype: DataType.UInt16 },
  int32: { bits: 32, datatype: DataType.Int32 },
  uint32: { bits: 32, datatype: DataType.UInt32 },
  int64: { bits: 64, datatype: DataType.Int64 },
  uint64: { bits: 64, datatype: DataType.UInt64 },
  // A decimal digit in every four bits: n digits always fit the signed integer of as many bits, with a sign and without.
  bcd16: { bits: 16, datatype: DataType.Int16 },
  bcd32: { bits: 32, datatype: DataType.Int32 },
  bcd48: { bits: 48, datatype: DataType.Int64 },
  bcd64: { bits: 64, datatype: DataType.Int64 },
  float32: { bits: 0, datatype: DataType.Float },
  float64: { bits: 0, datatype: DataType.Double },
  bool: { bits: 0, datatype: DataType.Boolean },
  string: { bits: 0, datatype: DataType.String },
  datetime: { bits: 0, datatype: DataType.DateTime },
} as const satisfies Record<string, { bits: number; datatype: DataTypeNumber }>;
export type ValueType = keyof typeof valueTypes;

export const bcdTypes = ["bcd16", "bcd32", "bcd48", "bcd64"] as const satisfies readonly ValueType[];
export type BcdType = (typeof bcdTypes)[number];

export function isBcd(type: ValueType): type is BcdType {
  return (bcdTypes as readonly ValueType[]).includes(type);
}

export function isIntegerType(type: ValueType): boolean {
  return valueTypes[type].bits > 0;
}

export function isFloatType(type: ValueType): boolean {
  return type === "float32" || type === "float64";
}

/** Digits of a BCD type, one of which may be a sign. */
function digitsOf(type: BcdType): number {
  return valueTypes[type].bits / 4;
}

/** Smallest and greatest value of an integer type; those of a BCD type with its sign, where it has one. */
export function integerBounds(type: ValueType): { min: bigint; max: bigint } {
  const { bits } = valueTypes[type];
  if (isBcd(type)) {
    const max = 10n ** BigInt(digitsOf(type)) - 1n;
    return { min: -max, max };
  }
  if (type.startsWith("u")) return { min: 0n, max: (1n << BigInt(bits)) - 1n };
  const half = 1n << BigInt(bits - 1);
  return { min: -half, max: half - 1n };
}

/** Greatest number of counts before a counter of this integer type starts again. */
export function greatestModulus(type: ValueType): bigint {
  return integerBounds(type).max + 1n;
}

/** Counts after which a register of this type starts again from 0 by its nature; undefined where it would turn negative, or is no integer. */
export function naturalModulus(type: ValueType): bigint | undefined {
  return isBcd(type) || type.startsWith("uint") ? greatestModulus(type) : undefined;
}
