import { toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DataType, toWire, type Value } from "../datatypes.ts";
import { PayloadSchema } from "./generated/sparkplug_b_pb.js";
import { encodePayload, type OutMetric, type OutPayload, type Properties } from "./payload.ts";

const none: { case: undefined } = { case: undefined };

function propertiesMessage(properties: Properties) {
  const values = Object.values(properties).map(({ datatype, value }) => ({
    $typeName: "jilian.sparkplug.Payload.PropertyValue" as const,
    type: datatype,
    ...(value === null ? { isNull: true, value: none } : { value: toWire(datatype, value) }),
  }));
  return { $typeName: "jilian.sparkplug.Payload.PropertySet" as const, keys: Object.keys(properties), values };
}

function metricMessage({ name, alias, properties, ...metric }: OutMetric) {
  return {
    $typeName: "jilian.sparkplug.Payload.Metric" as const,
    timestamp: BigInt(metric.timestampMs),
    value: metric.value === null ? none : toWire(metric.datatype, metric.value),
    ...(name === undefined ? {} : { name }),
    ...(alias === undefined ? {} : { alias: BigInt(alias) }),
    ...(metric.declare ? { datatype: metric.datatype } : {}),
    ...(metric.historical ? { isHistorical: true } : {}),
    ...(metric.transient ? { isTransient: true } : {}),
    ...(metric.value === null ? { isNull: true } : {}),
    ...(properties === undefined ? {} : { properties: propertiesMessage(properties) }),
  };
}

/** The same payload by the library, from its own message objects. */
function byLibrary({ timestampMs, seq, uuid, body, metrics }: OutPayload): Uint8Array {
  return toBinary(PayloadSchema, {
    $typeName: "jilian.sparkplug.Payload",
    timestamp: BigInt(timestampMs),
    metrics: metrics.map(metricMessage),
    ...(seq === undefined ? {} : { seq: BigInt(seq) }),
    ...(uuid === undefined ? {} : { uuid }),
    ...(body === undefined ? {} : { body }),
  });
}

const times = fc.oneof(fc.maxSafeNat(), fc.integer({ min: 1_700_000_000_000, max: 1_800_000_000_000 }));
const texts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.string({ maxLength: 200 }),
  fc.constantFrom("", "温度", "a\ud800b", "x".repeat(127), "x".repeat(128), "é".repeat(9000)),
);
const byType: readonly (readonly [number, fc.Arbitrary<Value>])[] = [
  [DataType.Int8, fc.integer({ min: -128, max: 127 })],
  [DataType.Int16, fc.integer({ min: -32_768, max: 32_767 })],
  [DataType.Int32, fc.integer()],
  [DataType.Int64, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
  [DataType.UInt8, fc.nat(255)],
  [DataType.UInt16, fc.nat(65_535)],
  [DataType.UInt32, fc.integer({ min: 0, max: 4_294_967_295 })],
  [DataType.UInt64, fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.maxSafeNat())],
  [DataType.Float, fc.float()],
  [DataType.Double, fc.oneof(fc.double(), fc.constantFrom(-0, Number.NaN, 5e-324))],
  [DataType.Boolean, fc.boolean()],
  [DataType.String, texts],
  [DataType.DateTime, fc.bigInt({ min: 0n, max: 2n ** 53n })],
  [DataType.Text, texts],
];
const valued = fc
  .constantFrom(...byType)
  .chain(([datatype, values]) => fc.record({ datatype: fc.constant(datatype), value: fc.option(values, { freq: 8 }) }));
const absent = { requiredKeys: [] };
const metric: fc.Arbitrary<OutMetric> = fc
  .tuple(
    valued,
    times,
    fc.record({ name: texts, alias: fc.oneof(fc.nat(300), fc.maxSafeNat()) }, absent),
    fc.record({ declare: fc.boolean(), historical: fc.boolean(), transient: fc.boolean() }, absent),
    fc.record({ properties: fc.dictionary(texts, valued, { maxKeys: 5 }) }, absent),
  )
  .map(([own, timestampMs, ...rest]) => Object.assign({ ...own, timestampMs }, ...rest));
const payload: fc.Arbitrary<OutPayload> = fc
  .tuple(
    times,
    fc.array(metric, { maxLength: 12 }),
    fc.record({ seq: fc.nat(255), uuid: texts, body: fc.uint8Array({ maxLength: 200 }) }, absent),
  )
  .map(([timestampMs, metrics, rest]) => Object.assign({ timestampMs, metrics }, rest) as OutPayload);

test("writes the very bytes of the library", () => {
  const isSame = (of: OutPayload) => Buffer.compare(encodePayload(of), byLibrary(of)) === 0;
  fc.assert(fc.property(payload, isSame), { numRuns: 1500 });
  // Larger than what is kept from one payload to the next, and a small one after it.
  const one = { timestampMs: 1, datatype: DataType.String, value: "x".repeat(50_000), alias: 2 ** 53 };
  for (const metrics of [[one, one], []]) expect(isSame({ timestampMs: 2, metrics })).toBe(true);
});

test("after a payload that cannot be written the next one is whole", () => {
  const good: OutPayload = { timestampMs: 1, seq: 3, metrics: [{ alias: 1, timestampMs: 1, datatype: 3, value: -1 }] };
  const before = encodePayload(good);
  const misfit = { alias: 1, timestampMs: 1, datatype: DataType.Int8, value: 128 };
  expect(() => encodePayload({ timestampMs: 1, metrics: [...good.metrics, misfit] })).toThrow("out of range");
  for (const timestampMs of [1.5, -1, Number.NaN, 2 ** 64])
    expect(() => encodePayload({ timestampMs, metrics: [] })).toThrow(RangeError);
  expect(encodePayload(good)).toEqual(before);
  expect(before.buffer.byteLength).toBe(before.length);
});
