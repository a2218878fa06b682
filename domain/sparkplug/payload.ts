import { fromBinary } from "@bufbuild/protobuf";
import { DataType, fromWire, isSupported, type Value, type WireValue } from "../datatypes.ts";
import { JilianError } from "../errors.ts";
import { PayloadSchema } from "./generated/sparkplug_b_pb.js";
import { writePayload } from "./write.ts";

/** A property of a metric (Sparkplug 3.0, 6.4.18). */
export type Property = { datatype: number; value: Value };
export type Properties = Readonly<Record<string, Property>>;

/** A metric to send. In a birth `name`, `alias` and `declare` are set, in data `alias` alone (Sparkplug 3.0, 6.4.6). */
export type OutMetric = {
  name?: string;
  alias?: number;
  timestampMs: number;
  datatype: number;
  /** Writes the datatype into the message: required in births, left out of data. */
  declare?: boolean;
  value: Value;
  historical?: boolean;
  transient?: boolean;
  properties?: Properties;
};

/** A metric as received. `wire` becomes a value only with the datatype, which data messages leave out: see {@link readValue}. */
export type InMetric = {
  name: string | undefined;
  /** A bigint beyond 2^53: some nodes take hashes for aliases. */
  alias: number | bigint | undefined;
  timestampMs: number | undefined;
  datatype: number | undefined;
  historical: boolean;
  transient: boolean;
  isNull: boolean;
  wire: WireValue;
  properties: Properties;
};

export type OutPayload = {
  timestampMs: number;
  /** 0-255; left out of NDEATH and of commands. */
  seq?: number;
  uuid?: string;
  body?: Uint8Array;
  metrics: readonly OutMetric[];
};

export type InPayload = {
  timestampMs: number | undefined;
  seq: number | undefined;
  uuid: string | undefined;
  body: Uint8Array | undefined;
  metrics: InMetric[];
};

/**
 * Encodes a Sparkplug B payload.
 * @throws JilianError VALUE_MISFIT when a value is not one of its datatype
 * @throws RangeError for a time, alias or seq that is no whole number of 64 bits
 */
export function encodePayload(payload: OutPayload): Uint8Array<ArrayBuffer> {
  return writePayload(payload);
}

const noProperties: Properties = {};

/** Times and seq beyond 2^53 exist only in broken or hostile payloads; they are read as absent. */
function safe(whole: bigint | undefined): number | undefined {
  return whole === undefined || whole > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(whole);
}

function decodeProperties(
  keys: string[],
  values: readonly { type?: number | undefined; isNull?: boolean | undefined; value: WireValue }[],
): Properties {
  const found: Record<string, Property> = {};
  for (const [i, key] of keys.entries()) {
    const value = values[i];
    if (!value || value.type === undefined || !isSupported(value.type)) continue;
    try {
      found[key] = { datatype: value.type, value: value.isNull ? null : fromWire(value.type, value.value) };
    } catch {
      // A property that contradicts its own type says nothing; the metric's value is judged on its own.
    }
  }
  return found;
}

/**
 * Decodes a Sparkplug B payload; fields unknown to this product are passed over.
 * @throws JilianError PAYLOAD_UNREADABLE when the bytes are not a Sparkplug B payload
 */
export function decodePayload(bytes: Uint8Array): InPayload {
  try {
    const payload = fromBinary(PayloadSchema, bytes, { readUnknownFields: false });
    return {
      timestampMs: safe(payload.timestamp),
      seq: safe(payload.seq),
      uuid: payload.uuid,
      body: payload.body,
      metrics: payload.metrics.map((m) => ({
        name: m.name,
        alias: safe(m.alias) ?? m.alias,
        timestampMs: safe(m.timestamp),
        datatype: m.datatype,
        historical: m.isHistorical ?? false,
        transient: m.isTransient ?? false,
        isNull: m.isNull ?? false,
        wire: m.value,
        properties: m.properties ? decodeProperties(m.properties.keys, m.properties.values) : noProperties,
      })),
    };
  } catch (cause) {
    throw new JilianError("the bytes are not a Sparkplug B payload", {
      code: "PAYLOAD_UNREADABLE",
      action: "decode a Sparkplug B payload",
      remedy: "find the node by the topic and check what it publishes there",
      cause,
    });
  }
}

/**
 * The value of a received metric, by its own datatype or else the one of its birth certificate; 0, Unknown, is none (Sparkplug 3.0, 6.4.16).
 * @throws JilianError VALUE_MISFIT when the value contradicts the datatype
 */
export function readValue(metric: InMetric, bornDatatype: number): Value {
  return metric.isNull ? null : fromWire(metric.datatype || bornDatatype, metric.wire);
}

/** A property of type String, or undefined. */
export function textProperty(properties: Properties, key: string): string | undefined {
  const value = properties[key]?.value;
  return typeof value === "string" ? value : undefined;
}

/** A numeric property, or undefined. */
export function numberProperty(properties: Properties, key: string): number | undefined {
  const value = properties[key]?.value;
  return typeof value === "number" ? value : typeof value === "bigint" ? Number(value) : undefined;
}

/** Shorthands that keep the writing of births readable. */
export const property = {
  text: (value: string): Property => ({ datatype: DataType.String, value }),
  flag: (value: boolean): Property => ({ datatype: DataType.Boolean, value }),
  int32: (value: number): Property => ({ datatype: DataType.Int32, value }),
  uint32: (value: number): Property => ({ datatype: DataType.UInt32, value }),
  double: (value: number): Property => ({ datatype: DataType.Double, value }),
};
