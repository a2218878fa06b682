import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import { readGatewayConfig } from "./config.ts";
import { definitionOf } from "./definitions.ts";
import type { ModbusDevice } from "./drivers/modbus-config.ts";
import { createShaper } from "./shape.ts";

/** A device with the given tags, as YAML flow mappings without table and address. */
function deviceOf(...tags: string[]): ModbusDevice {
  const lines = tags.map((tag, i) => `      - { name: t${i}, table: holding, address: ${4 * i}, ${tag} }`);
  const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
  const device = `  - id: d\n    driver: modbus-tcp\n    host: h\n    unitId: 1\n    tags:\n${lines.join("\n")}\n`;
  const read = readGatewayConfig(head + device, "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value.devices[0] as ModbusDevice;
}

const good = (value: number | bigint | boolean | null, tag = 0) => ({ tag, value, status: Status.Good });
const t0 = 1_750_000_000_000;

describe("definitionOf", () => {
  it("speaks of the scaled value: type, modulus and resolution in the unit", () => {
    const tag = "type: uint32, scale: { denominator: 100 }, unit: kWh, role: energy.import, carrier: electricity";
    const device = deviceOf(tag, "type: float32, deadband: 0.5, heartbeatMs: 3000", "type: bool, bit: 1");
    const [energy, plain, flag] = device.tags.map((t) => definitionOf(device, t, true));
    expect(energy).toEqual({
      name: "t0",
      datatype: DataType.Double,
      unit: "kWh",
      role: "energy.import",
      carrier: "electricity",
      deadband: 0,
      heartbeatMs: 10_000,
      modulus: "42949672.96",
      resolution: "0.01",
      simulated: true,
    });
    expect(plain).toEqual({ name: "t1", datatype: DataType.Float, deadband: 0.5, heartbeatMs: 3000, simulated: true });
    expect(flag).toEqual({ name: "t2", datatype: DataType.Boolean, deadband: 0, heartbeatMs: 10_000, simulated: true });
  });

  it("takes the configured modulus, 2^N for unsigned counters, and none for others", () => {
    const counter = "unit: pcs, role: production.total";
    const device = deviceOf(
      `type: uint64, ${counter}`,
      `type: uint32, modulusCounts: 1000000, scale: { numerator: 12 }, ${counter}`,
      `type: int32, ${counter}`,
      "type: uint32",
    );
    const definitions = device.tags.map((t) => definitionOf(device, t, false));
    expect(definitions.map((d) => d.modulus)).toEqual(["18446744073709551616", "12000000", undefined, undefined]);
    expect(definitions.map((d) => d.resolution)).toEqual(["1", "12", "1", "1"]);
    expect(definitions[1]?.datatype).toBe(DataType.Int64);
  });
});

describe("what becomes a sample", () => {
  it("the first value, each change, nothing in between, and a heartbeat with the time of observation", () => {
    const shaper = createShaper(deviceOf("type: uint16"), { lastSourceTimeMs: 0 });
    const kept: [number, unknown][] = [];
    for (let second = 0; second <= 25; second += 1) {
      const samples = shaper.shape([good(second < 3 ? 7 : 8)], t0 + 1000 * second);
      for (const s of samples) kept.push([(s.sourceTimeMs - t0) / 1000, s.value]);
    }
    expect(kept).toEqual([
      [0, 7],
      [3, 8],
      [13, 8],
      [23, 8],
    ]);
  });

  it("keeps the heartbeat when polls come a little early or late", () => {
    const shaper = createShaper(deviceOf("type: uint16"), { lastSourceTimeMs: 0 });
    const times: number[] = [];
    for (let second = 0; second <= 60; second += 1) {
      const nowMs = t0 + 1000 * second + (second % 3) * 40 - 40;
      times.push(...shaper.shape([good(7)], nowMs).map((s) => s.sourceTimeMs));
    }
    const gaps = times.slice(1).map((time, i) => time - (times[i] as number));
    expect(gaps).toHaveLength(6);
    expect(Math.max(...gaps)).toBeLessThan(10_100);
  });

  it("a change is measured from the last reported value: slow drift gets through", () => {
    const shaper = createShaper(deviceOf("type: float64, deadband: 0.5"), { lastSourceTimeMs: 0 });
    const values = [20, 20.2, 20.4, 20.5, 20.9, 20.1, 19.9].map((value, i) => shaper.shape([good(value)], t0 + i));
    expect(values.flat().map((s) => s.value)).toEqual([20, 20.5, 19.9]);
  });

  it("a change of quality, whatever the deadband; the deadband is in the scaled unit", () => {
    const shaper = createShaper(deviceOf("type: int32, scale: { denominator: 10 }, deadband: 5"), {
      lastSourceTimeMs: 0,
    });
    const bad = { tag: 0, value: null, status: Status.BadNodeIdUnknown };
    const samples = [good(100), good(149), bad, bad, good(101), good(151)].map((r, i) => shaper.shape([r], t0 + i));
    expect(samples.flat().map((s) => [s.value, s.status])).toEqual([
      [10, Status.Good],
      [null, Status.BadNodeIdUnknown],
      [10.1, Status.Good],
      [15.1, Status.Good],
    ]);
  });

  it("tells what became of a poll's readings: polled, suppressed, bad", () => {
    const shaper = createShaper(deviceOf("type: int16, range: { max: 10 }", "type: int16"), { lastSourceTimeMs: 0 });
    let now = t0;
    const counts = (...readings: Parameters<typeof shaper.shape>[0]) => {
      now += 1;
      const made = shaper.shape(readings, now).length;
      expect(shaper.counts().polled - shaper.counts().suppressed).toBe(made);
      return shaper.counts();
    };
    expect(counts(good(1), good(2, 1))).toEqual({ polled: 2, suppressed: 0, bad: 0 });
    expect(counts(good(1), good(3, 1))).toEqual({ polled: 2, suppressed: 1, bad: 0 });
    expect(counts(good(11))).toEqual({ polled: 1, suppressed: 0, bad: 1 });
    // Still bad, and suppressed.
    expect(counts(good(11), good(3, 1))).toEqual({ polled: 2, suppressed: 2, bad: 1 });
    shaper.lost(Status.BadTimeout, now + 1);
    expect(counts()).toEqual({ polled: 0, suppressed: 0, bad: 0 });
  });

  it("a value out of range is kept as read and marked", () => {
    const shaper = createShaper(deviceOf("type: int16, range: { min: 0, max: 10 }", "type: int64, range: { max: 5 }"), {
      lastSourceTimeMs: 0,
    });
    const samples = [good(10), good(11), good(-1), good(6n, 1)].flatMap((r, i) => shaper.shape([r], t0 + i));
    expect(samples.map((s) => [s.value, s.status])).toEqual([
      [10, Status.Good],
      [11, Status.BadOutOfRange],
      [-1, Status.BadOutOfRange],
      [6n, Status.BadOutOfRange],
    ]);
  });

  it("what scaling cannot hold is uncertain; native values are not touched", () => {
    const shaper = createShaper(deviceOf("type: int64, scale: { denominator: 1000 }", "type: int64"), {
      lastSourceTimeMs: 0,
    });
    const raw = 2n ** 63n - 1n;
    const [scaled, native] = shaper.shape([good(raw), good(raw, 1)], t0);
    expect(scaled?.status).toBe(Status.UncertainDataSubNormal);
    expect(native).toMatchObject({ value: raw, status: Status.Good });
  });
});

describe("a lost device", () => {
  it("gives one bad sample for each metric, once, and every metric again when it is back", () => {
    const shaper = createShaper(deviceOf("type: uint16", "type: uint16"), { lastSourceTimeMs: 0 });
    expect(shaper.lost(Status.BadTimeout, t0)).toEqual([]);
    shaper.shape([good(1), good(2, 1)], t0 + 1);
    const lost = shaper.lost(Status.BadTimeout, t0 + 5000);
    expect(lost.map((s) => [s.metric, s.value, s.status, s.sourceTimeMs])).toEqual([
      ["t0", null, Status.BadTimeout, t0 + 5000],
      ["t1", null, Status.BadTimeout, t0 + 5000],
    ]);
    expect(shaper.lost(Status.BadNotConnected, t0 + 60_000)).toEqual([]);
    expect(shaper.shape([good(1), good(2, 1)], t0 + 61_000).map((s) => s.value)).toEqual([1, 2]);
    expect(shaper.lost(Status.BadNotConnected, t0 + 62_000)).toHaveLength(2);
  });
});

describe("source times", () => {
  const timesOf = (lastSourceTimeMs: number, ...nows: number[]) => {
    const shaper = createShaper(deviceOf("type: uint16", "type: uint16"), { lastSourceTimeMs });
    return nows.map((nowMs, i) => {
      const samples = shaper.shape([good(i), good(i, 1)], nowMs);
      expect(new Set(samples.map((s) => s.sourceTimeMs)).size).toBe(1);
      expect(samples.every((s) => s.gatewayTimeMs === nowMs)).toBe(true);
      return [(samples[0]?.sourceTimeMs ?? 0) - t0, samples[0]?.status];
    });
  };

  it("are the time of observation, one for a poll, and 1 ms apart where ticks are equal or slightly back", () => {
    expect(timesOf(0, t0, t0, t0 - 900, t0 + 10)).toEqual([
      [0, Status.Good],
      [1, Status.Good],
      [2, Status.Good],
      [10, Status.Good],
    ]);
  });

  it("go on from before a restart, and are uncertain while the clock is far behind", () => {
    expect(timesOf(t0 + 60_000, t0, t0 + 1000, t0 + 60_500)).toEqual([
      [60_001, Status.Uncertain],
      [60_002, Status.Uncertain],
      [60_500, Status.Good],
    ]);
  });

  it("heartbeats go on while the clock is behind", () => {
    const shaper = createShaper(deviceOf("type: uint16"), { lastSourceTimeMs: t0 + 3_600_000 });
    const counts = Array.from({ length: 31 }, (_, s) => shaper.shape([good(7)], t0 + 1000 * s).length);
    expect(counts.reduce((a, b) => a + b)).toBe(4);
    // Set back once more: the next poll reports, and the count starts anew.
    expect(shaper.shape([good(7)], t0 - 100_000)).toHaveLength(1);
    expect(shaper.shape([good(7)], t0 - 99_000)).toHaveLength(0);
  });

  describe("that came with the readings", () => {
    const at = (sourceTimeMs: number, value: number, tag = 0, status: number = Status.Good) => ({
      tag,
      value,
      status,
      sourceTimeMs,
    });
    const shown = (samples: { value: unknown; sourceTimeMs: number; status: number }[]) =>
      samples.map((s) => [s.value, s.sourceTimeMs - t0, s.status]);

    it("are kept, several of one tag in one poll, in time order over all tags", () => {
      const shaper = createShaper(deviceOf("type: uint16", "type: uint16"), { lastSourceTimeMs: 0 });
      const readings = [at(t0 + 10, 1), at(t0 + 30, 2), at(t0 + 30, 3), at(t0 + 31, 4), at(t0 + 20, 9, 1)];
      const samples = shaper.shape(readings, t0 + 1000);
      // Equal ticks are a millisecond apart, and so is whatever they push.
      expect(shown(samples)).toEqual([
        [1, 10, Status.Good],
        [9, 20, Status.Good],
        [2, 30, Status.Good],
        [3, 31, Status.Good],
        [4, 32, Status.Good],
      ]);
      expect(samples.every((s) => s.gatewayTimeMs === t0 + 1000)).toBe(true);
    });

    it("do not disturb one another: a tag whose source is ahead pushes no other", () => {
      const shaper = createShaper(deviceOf("type: uint16", "type: uint16"), { lastSourceTimeMs: 0 });
      shaper.shape([at(t0 + 4000, 1), at(t0 - 4000, 1, 1)], t0);
      expect(shown(shaper.shape([at(t0 + 4500, 2), at(t0 - 3500, 2, 1)], t0 + 500))).toEqual([
        [2, -3500, Status.Good],
        [2, 4500, Status.Good],
      ]);
      expect(shown(shaper.lost(Status.BadTimeout, t0 + 1000))).toEqual([
        [null, 1000, Status.BadTimeout],
        [null, 4501, Status.BadTimeout],
      ]);
    });

    it("of a source that is a little behind come after the heartbeat before; far behind they are gateway time, uncertain", () => {
      const shaper = createShaper(deviceOf("type: uint16"), { lastSourceTimeMs: 0 });
      shaper.shape([at(t0 + 9000, 1)], t0 + 9000);
      expect(shown(shaper.shape([at(t0, 2)], t0 + 9500))).toEqual([[2, 9001, Status.Good]]);
      expect(shown(shaper.shape([at(t0 - 2000, 3)], t0 + 10_000))).toEqual([[3, 10_000, Status.Uncertain]]);
      const fast = createShaper(deviceOf("type: uint16"), { lastSourceTimeMs: 0, rate: 60 });
      fast.shape([at(t0 + 60_000, 1)], t0 + 60_000);
      expect(shown(fast.shape([at(t0, 2)], t0 + 61_000))).toEqual([[2, 60_001, Status.Good]]);
    });

    it("keep the bits of a good or uncertain status, and scaling adds its own only to a good one", () => {
      const shaper = createShaper(deviceOf("type: int64, scale: { denominator: 1000 }"), { lastSourceTimeMs: 0 });
      const of = (status: number, value: bigint) =>
        shaper.shape([{ tag: 0, value, status }], t0 + Number(value % 100n))[0]?.status;
      expect(of(0x0480, 5n)).toBe(0x0480);
      expect(of(Status.UncertainLastUsableValue, 2n ** 63n - 1n)).toBe(Status.UncertainLastUsableValue);
      expect(of(0x0480, 2n ** 63n - 2n)).toBe(Status.UncertainDataSubNormal);
    });
  });
});

it("what was told of a tag stays as it was told, whatever is read later", () => {
  const shaper = createShaper(deviceOf("type: uint16"), { lastSourceTimeMs: 0 });
  const [sample] = shaper.shape([good(1)], t0);
  const told = shaper.last()[0]?.seen;
  shaper.shape([good(2)], t0 + 1000);
  shaper.lost(Status.BadTimeout, t0 + 2000);
  expect([sample?.value, told]).toEqual([1, { value: 1, status: Status.Good, timeMs: t0 }]);
  expect(shaper.last()[0]?.seen).toEqual({ value: null, status: Status.BadTimeout, timeMs: t0 + 2000 });
});
