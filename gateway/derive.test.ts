import { DataType } from "@jilian/domain/datatypes.ts";
import { qualityOf, Status, statusName } from "@jilian/domain/quality.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fits } from "./births.ts";
import { definitionsOf } from "./definitions.ts";
import type { RawReading } from "./model.ts";
import { createShaper } from "./shape.ts";
import { deviceWith } from "./test-values.ts";

const t0 = 1_750_000_000_000;
const good = (value: RawReading["value"], tag = 0): RawReading => ({ tag, value, status: Status.Good });

/** A device with two or more tags and one derived tag `d`, which `compute` gives for raw values as `value status`. */
function deriving(tags: string[], derived: string) {
  const device = deviceWith(tags, `derived: [{ name: d, ${derived} }]`);
  const definition = definitionsOf(device, false).at(-1);
  const shaper = createShaper(device, { lastSourceTimeMs: 0 });
  let now = t0;
  const shape = (readings: RawReading[]) => {
    now += 1000;
    const samples = shaper.shape(readings, now);
    const { polled, suppressed, bad, marked = 0 } = shaper.counts();
    expect([polled, polled - suppressed + marked]).toEqual([readings.length, samples.length]);
    // What is computed is no reading: it is neither polled nor bad.
    expect(bad).toBe(samples.filter(({ metric, status }) => metric !== "d" && qualityOf(status) === "bad").length);
    return samples.filter(({ metric }) => metric === "d");
  };
  const compute = (...values: RawReading["value"][]) => {
    const [sample] = shape(values.map((value, tag) => good(value, tag)));
    if (sample === undefined) return "no sample";
    expect(definition && fits(definition.datatype, sample.value)).toBe(true);
    return `${sample.value} ${statusName(sample.status)}`;
  };
  return { definition, compute, shape, shaper };
}

describe("a sum", () => {
  it("of decimals is exact: 0.1 + 0.2 is 0.3, whatever the order", () => {
    const tenth = "type: uint16, scale: { denominator: 10 }";
    const { compute, definition } = deriving(
      [tenth, tenth, "type: float32"],
      "operation: sum, of: [{ tag: t0 }, { tag: t1 }, { tag: t2 }]",
    );
    expect(definition).toMatchObject({ name: "d", datatype: DataType.Double, deadband: 0, heartbeatMs: 10_000 });
    expect(compute(1, 2, Math.fround(0.4))).toBe("0.7 Good");
  });

  it("of integers with whole weights is an Int64, to the last digit; beyond 64 bits it is bad", () => {
    const { compute, definition } = deriving(
      ["type: int64", "type: uint16"],
      "operation: sum, of: [{ tag: t0 }, { tag: t1, weight: -2 }]",
    );
    expect(definition?.datatype).toBe(DataType.Int64);
    expect(compute(2n ** 53n, 1)).toBe("9007199254740990 Good");
    expect(compute(2n ** 63n - 1n, 0)).toBe("9223372036854775807 Good");
    expect(compute(-(2n ** 63n), 1)).toBe("null BadOutOfRange");
  });

  it("agrees with fractions for any counts, factors and weights", () => {
    const count = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    const thousandths = fc.integer({ min: -5000, max: 5000 }).filter((n) => n !== 0);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(count, fc.constantFrom(1, 10, 1000), thousandths), { minLength: 1, maxLength: 5 }),
        (parts) => {
          const tags = parts.map(([, denominator]) => `type: int32, scale: { denominator: ${denominator} }`);
          const of = parts.map(([, , weight], i) => `{ tag: t${i}, weight: ${weight / 1000} }`);
          const { shape } = deriving(tags, `operation: sum, of: [${of.join(", ")}]`);
          const [sample] = shape(parts.map(([raw], tag) => good(raw, tag)));
          // In millionths, all of them whole.
          const wanted = parts.reduce(
            (sum, [raw, d, weight]) => sum + BigInt(raw) * BigInt(weight) * BigInt(1000 / d),
            0n,
          );
          const text = `${wanted < 0n ? "-" : ""}${String(wanted < 0n ? -wanted : wanted)
            .padStart(7, "0")
            .replace(/(.{6})$/, ".$1")}`;
          expect(Number(sample?.value)).toBe(Number(text));
          if (String(wanted).length <= 15) expect(sample?.status).toBe(Status.Good);
        },
      ),
    );
  });

  it("of exact inputs that no double holds is uncertain", () => {
    const tag = "type: int64, scale: { denominator: 1000 }";
    const { compute } = deriving([tag, tag], "operation: sum, of: [{ tag: t0 }, { tag: t1 }]");
    expect(compute(9_007_199_254_740_993n, 0n)).toMatch(/UncertainDataSubNormal$/);
  });
});

describe("a derived counter", () => {
  const feeders = [
    "type: uint32, scale: { denominator: 100 }, unit: kWh",
    "type: uint32, scale: { denominator: 100 }, unit: kWh",
  ];
  const energy = "operation: sum, of: [{ tag: t0 }, { tag: t1 }], unit: kWh, role: energy.import, carrier: electricity";

  it("adds registers to the last digit, and falls by their modulus when one of them starts again", () => {
    const { compute, definition } = deriving(feeders, energy);
    expect(definition).toMatchObject({
      modulus: "42949672.96",
      resolution: "0.01",
      role: "energy.import",
      unit: "kWh",
    });
    expect(compute(2 ** 32 - 1, 2 ** 32 - 10)).toBe("85899345.81 Good");
    expect(compute(4, 2 ** 32 - 10)).toBe("42949672.9 Good");
  });

  it("takes the modulus of meters that show fewer digits", () => {
    const tags = feeders.map((tag) => `${tag}, modulusCounts: 1000000`);
    expect(deriving(tags, energy).definition?.modulus).toBe("10000");
  });
});

describe("a difference and a ratio", () => {
  it("takes the others from the first", () => {
    const tag = "type: float64";
    const { compute } = deriving(
      [tag, tag, tag],
      "operation: difference, of: [{ tag: t0 }, { tag: t1 }, { tag: t2, weight: 2 }]",
    );
    expect(compute(1, 0.9, 0.05)).toBe("0 Good");
  });

  it("divides; by zero there is no value, and it is bad", () => {
    const { compute, definition } = deriving(
      ["type: int16", "type: int16"],
      "operation: ratio, of: [{ tag: t0, weight: 100 }, { tag: t1 }]",
    );
    expect(definition?.datatype).toBe(DataType.Double);
    expect(compute(1, 8)).toBe("12.5 Good");
    expect(compute(-2, 3)).toBe("-66.66666666666667 Good");
    expect(compute(1, 0)).toBe("null BadOutOfRange");
    expect(compute(0, -7)).toBe("0 Good");
  });

  it("gives the nearest double of any quotient", () => {
    const whole = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(
        whole,
        whole.filter((n) => n !== 0),
        (a, b) => {
          const { shape } = deriving(
            ["type: int32", "type: int32"],
            "operation: ratio, of: [{ tag: t0 }, { tag: t1 }]",
          );
          // IEEE 754 rounds the division of two exact integers correctly.
          expect(Object.is((shape([good(a), good(b, 1)])[0]?.value as number) + 0, a / b + 0)).toBe(true);
        },
      ),
    );
  });
});

describe("what it takes over from its inputs", () => {
  const sum = () =>
    deriving(
      ["type: int16, range: { max: 100 }", "type: int16"],
      "operation: sum, of: [{ tag: t0 }, { tag: t1 }], range: { max: 150 }",
    );
  const shown = (samples: { value: unknown; status: number }[]) =>
    samples.map(({ value, status }) => `${value} ${statusName(status)}`);

  it("bad if one is bad, uncertain if one is uncertain, with the reason; and its own range", () => {
    const { shape } = sum();
    const bad = { tag: 0, value: null, status: Status.BadNodeIdUnknown };
    const uncertain = { tag: 1, value: 5, status: Status.UncertainLastUsableValue };
    expect(shown(shape([bad, uncertain]))).toEqual(["null BadNodeIdUnknown"]);
    expect(shown(shape([good(1), uncertain]))).toEqual(["6 UncertainLastUsableValue"]);
    expect(shown(shape([good(101), good(1, 1)]))).toEqual(["null BadOutOfRange"]);
    expect(shown(shape([good(1), good(1, 1)]))).toEqual(["2 Good"]);
    expect(shown(shape([good(90), good(90, 1)]))).toEqual(["180 BadOutOfRange"]);
  });

  it("the time of the poll, or the latest source time, once a poll", () => {
    const { shape } = sum();
    expect(shape([good(1), good(1, 1)])[0]?.sourceTimeMs).toBe(t0 + 1000);
    const at = (value: number, tag: number, ms: number) => ({ ...good(value, tag), sourceTimeMs: t0 + ms });
    const samples = shape([at(2, 0, 1100), at(3, 0, 1200), at(7, 1, 1150)]);
    expect(samples.map(({ value, sourceTimeMs }) => [value, sourceTimeMs - t0])).toEqual([[10n, 1200]]);
    // One of them alone: the other is as it was.
    expect(shape([at(8, 1, 1300)]).map(({ value }) => value)).toEqual([11n]);
    expect(shape([])).toEqual([]);
  });

  it("nothing that was seen before the device was lost", () => {
    const { shape, shaper } = sum();
    shape([good(1), good(1, 1)]);
    expect(shaper.lost(Status.BadTimeout, t0 + 5000).map(({ metric }) => metric)).toEqual(["t0", "t1", "d"]);
    expect(shown(shape([{ ...good(2), sourceTimeMs: t0 + 9000 }]))).toEqual(["null BadWaitingForInitialData"]);
  });
});
