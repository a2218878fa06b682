import fc from "fast-check";
import { expect, it } from "vitest";
import type { StoredSample } from "./model.ts";
import { decodeSamples, encodeSamples } from "./outbox-record.ts";

const t0 = 1_750_000_000_000;
const sampleOf = (value: StoredSample["value"]): StoredSample => ({
  ...{ metricId: 1, value, status: 0, sourceTimeMs: t0, gatewayTimeMs: t0 },
});

const time = fc.oneof(fc.integer({ min: t0, max: t0 + 5000 }), fc.maxSafeNat());
const sample: fc.Arbitrary<StoredSample> = fc.record({
  metricId: fc.oneof(fc.nat(300), fc.maxSafeNat()),
  value: fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.float(),
    fc.double(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.string({ unit: "grapheme", maxLength: 200 }),
  ),
  status: fc.oneof(fc.constant(0), fc.nat(0xffffffff)),
  sourceTimeMs: time,
  gatewayTimeMs: time,
});

it("reads back what was written, whatever the values and however often the room for them was too small", () => {
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 60 }), (samples) => {
      expect(decodeSamples(encodeSamples(samples))).toEqual(samples);
    }),
  );
  for (let length = 0; length < 200; length += 1) {
    const samples = [sampleOf("x".repeat(length)), sampleOf(2n ** 64n - 1n), sampleOf("é".repeat(length))];
    expect(decodeSamples(encodeSamples(samples))).toEqual(samples);
  }
});

it("writes the bytes that a file of an earlier gateway holds", () => {
  const values = [null, false, true, -300, 0.5, 0.1, -(2n ** 63n), 2n ** 64n - 1n, "é"];
  const samples = values.map((value, i) => ({
    ...{ metricId: 100 * i, value, status: i === 4 ? 0x408f0000 : 0, sourceTimeMs: t0 + i, gatewayTimeMs: t0 + 2 * i },
  }));
  expect(encodeSamples(samples).toString("hex")).toBe(
    "01090080f086c2ee65000064010101c801010202ac02010303ec04900301048400008f400000003ff4030105059a9999999999b93fd8040106060000000000000080bc05010707ffffffffffffffffa00601080802c3a9a2919e34",
  );
});

it("refuses a whole number that no 64 bits hold: cut to them it would be another", () => {
  for (const value of [2n ** 64n, -(2n ** 63n) - 1n, 2n ** 70n]) {
    expect(() => encodeSamples([sampleOf(value)])).toThrow(RangeError);
  }
});
