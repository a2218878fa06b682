import type { Value } from "@jilian/domain/datatypes.ts";
import { qualityOf, Status } from "@jilian/domain/quality.ts";
import { usableValue } from "./raw-value.ts";
import type { SentinelTest } from "./sentinels.ts";
import type { BcdType, ValueType } from "./value-types.ts";

/**
 * From OPC UA values to ours. A value fits its tag only if the server's built-in type is the declared one: a wider or narrower one would
 * count over at another number than the tag says.
 */

/** Numbers of the built-in types (OPC 10000-6, 5.1.2, Table 1) and their names, as far as servers send them in values. */
const builtInTypes: readonly string[] = [
  ...["Null", "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double"],
  ...["String", "DateTime", "Guid", "ByteString", "XmlElement", "NodeId", "ExpandedNodeId", "StatusCode"],
  ...["QualifiedName", "LocalizedText", "ExtensionObject", "DataValue", "Variant", "DiagnosticInfo"],
];
const fitting: Readonly<Record<Exclude<ValueType, BcdType>, string>> = {
  bool: "Boolean",
  int8: "SByte",
  uint8: "Byte",
  int16: "Int16",
  uint16: "UInt16",
  int32: "Int32",
  uint32: "UInt32",
  int64: "Int64",
  uint64: "UInt64",
  float32: "Float",
  float64: "Double",
  string: "String",
  datetime: "DateTime",
};

/** What of a DataValue (OPC 10000-4, 7.11) is used here, in one object: there are thousands a second. */
export type OpcuaValue = {
  /** Number of the built-in type. */
  readonly dataType: number;
  readonly isArray: boolean;
  /** As node-opcua has it: 64-bit integers as [high, low], times as Date; null or undefined: none. */
  readonly value: unknown;
  /** StatusCode, unsigned. */
  readonly status: number;
  /** The time at the source, or failing that at the server, UTC ms; undefined where the server tells neither. */
  readonly sourceMs: number | undefined;
};

/** A DataValue of node-opcua. */
export type LibraryValue = {
  readonly value?: { readonly dataType: number; readonly arrayType: number; readonly value: unknown } | null;
  readonly statusCode: { readonly value: number };
  readonly sourceTimestamp?: Date | null;
  readonly serverTimestamp?: Date | null;
};

/** A decoded value; `misfit` says in words why there is none where the configuration is to blame. */
export type Decoded = { value: Value; status: number; misfit?: string };

function builtInOf(type: ValueType): string | undefined {
  return (fitting as Partial<Record<ValueType, string>>)[type];
}

/** The type under which a tag of this built-in type is configured; undefined where there is none. */
export function typeOfBuiltIn(dataType: number): ValueType | undefined {
  return (Object.keys(fitting) as (keyof typeof fitting)[]).find((type) => fitting[type] === builtInTypes[dataType]);
}

function int64Of(pair: unknown): bigint {
  const [high, low] = pair as readonly [number, number];
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

function plainValue(type: ValueType, raw: unknown): Exclude<Value, null> {
  if (type === "uint64") return int64Of(raw);
  if (type === "int64") return BigInt.asIntN(64, int64Of(raw));
  return type === "datetime" ? BigInt((raw as Date).getTime()) : (raw as boolean | number | string);
}

/**
 * Decodes what came for a tag. A bad status has no value; an uncertain one keeps it. Every bit of a StatusCode is kept (limits and overflow
 * are in its lower half); a good one turns bad only where the value is none (null, NaN, a sentinel), misfits, or cannot be held.
 */
export function decodeValue(type: ValueType, told: OpcuaValue, sentinels?: SentinelTest): Decoded {
  const { dataType, isArray, value: raw, status } = told;
  if (qualityOf(status) === "bad") return { value: null, status };
  if (raw === null || raw === undefined) return { value: null, status: Status.BadWaitingForInitialData };
  const sent = builtInTypes[dataType] ?? `type ${dataType}`;
  if (isArray || sent !== builtInOf(type)) {
    const kind = isArray ? `an array of ${sent}` : sent;
    const misfit = `the server sends ${kind}, the tag is a ${type} (${builtInOf(type)})`;
    return { value: null, status: Status.BadTypeMismatch, misfit };
  }
  const usable = usableValue(plainValue(type, raw), type, sentinels);
  if (usable.status === Status.Good) usable.status = status;
  return usable;
}

/** Times before 1970 stand for none: servers send the first moment of 1601. */
function timeOf(date: Date | null | undefined): number | undefined {
  const timeMs = date?.getTime() ?? 0;
  return timeMs > 0 ? timeMs : undefined;
}

export function opcuaValueOf({ value, statusCode, sourceTimestamp, serverTimestamp }: LibraryValue): OpcuaValue {
  return {
    dataType: value?.dataType ?? 0,
    isArray: (value?.arrayType ?? 0) !== 0,
    value: value?.value,
    status: statusCode.value >>> 0,
    sourceMs: timeOf(sourceTimestamp) ?? timeOf(serverTimestamp),
  };
}
