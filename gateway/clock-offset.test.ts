import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { offsetMeter } from "./clock-offset.ts";
import { definition, type EdgeBench, edgeBench, fastSettings, sample, up } from "./test-edge.ts";

const epoch = "9f86d081884c7d65";
const other = "0000000000000001";
/** What really happens, by the platform's clock: written, the notice made, the notice here. */
type Way = { offsetMs: number; writtenMs: number; storedMs: number; backMs: number };
const noticeOf = ({ offsetMs, writtenMs, storedMs }: Way, of = epoch) => ({
  ...{ epoch: of, ranges: [], atMs: writtenMs + storedMs },
  writtenAtMs: [writtenMs + offsetMs - 1000, writtenMs + offsetMs],
});
const t0 = Date.UTC(2026, 10, 22, 2, 0);

describe("the offset of the gateway's clock", () => {
  test("lies within what is told, whatever notices and backlogs take", () => {
    const ways = fc.array(
      fc.record({ gapMs: fc.nat(20_000), storedMs: fc.nat(90_000), backMs: fc.nat(3000), isOld: fc.boolean() }),
      { minLength: 1, maxLength: 200 },
    );
    fc.assert(
      fc.property(fc.integer({ min: -86_400_000, max: 86_400_000 }), ways, (offsetMs, all) => {
        let nowMs = t0;
        const meter = offsetMeter(() => nowMs);
        expect(meter.told()).toBeUndefined();
        for (const { gapMs, storedMs, backMs, isOld } of all) {
          const way = { offsetMs, writtenMs: nowMs, storedMs, backMs };
          nowMs += storedMs + backMs;
          meter.note(noticeOf(way, isOld ? other : epoch), epoch, nowMs + offsetMs);
          nowMs += gapMs;
          const told = meter.told();
          if (told) expect(Math.abs(told.offsetMs - offsetMs)).toBeLessThanOrEqual(told.uncertaintyMs);
        }
        expect(meter.told() === undefined).toBe(all.every(({ isOld }) => isOld));
      }),
    );
  });

  test("is as sure as the quickest notice, and told again only when it must be another", () => {
    let nowMs = 0;
    const meter = offsetMeter(() => nowMs);
    const told: unknown[] = [];
    const hear = (offsetMs: number, storedMs: number): void => {
      nowMs += 1000;
      meter.note(
        noticeOf({ offsetMs, writtenMs: t0 + nowMs, storedMs, backMs: 40 }),
        epoch,
        t0 + nowMs + storedMs + 40 + offsetMs,
      );
      if (told.at(-1) !== meter.told()) told.push(meter.told());
    };
    hear(7000, 60_000);
    for (let i = 0; i < 50; i += 1) hear(7000, 160 + (i % 7));
    // The clock is set right, and drifts then.
    for (let i = 0; i < 50; i += 1) hear(-3 + i / 10, 160);
    expect(told).toEqual([
      { offsetMs: -22_980, uncertaintyMs: 30_020 },
      { offsetMs: 6940, uncertaintyMs: 100 },
      { offsetMs: -63, uncertaintyMs: 100 },
    ]);
  });

  test("is of no notice without times, of another epoch, or from before it was written", () => {
    const meter = offsetMeter(() => 0);
    const way = { offsetMs: 0, writtenMs: t0, storedMs: 100, backMs: 40 };
    meter.note({ epoch, ranges: [[0, 1]], atMs: t0 }, epoch, t0 + 140);
    meter.note(noticeOf(way, other), epoch, t0 + 140);
    meter.note(noticeOf(way), epoch, t0 - 1);
    expect(meter.told()).toBeUndefined();
  });
});

describe("on the wire", () => {
  let bench: EdgeBench;
  beforeEach(async () => {
    bench = await edgeBench();
  });
  afterEach(() => bench.close());

  test("it is null in the birth, and told once a notice came for what was sent", async () => {
    const node = bench.start({ settings: fastSettings });
    const [a] = bench.define("press", [definition("a")], node) as [number];
    node.deviceConnection("press", up);
    const birth = await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
    expect(birth.values).toMatchObject({ "Clock/OffsetMs": null, "Clock/UncertaintyMs": null });
    const { writtenAtMs } = bench.write("press", [sample(a, 1n)], node);
    await bench.host.until("record", () => bench.host.ofType("DDATA")[0]);
    // A platform whose clock is an hour behind.
    const atMs = Date.now() - 3_600_000;
    await bench.host.commit(bench.outbox.epoch, [[0, 0]], { last: 0, writtenAtMs: [writtenAtMs], atMs });
    const told = await bench.host.until("offset", () =>
      bench.host.ofType("NDATA").find(({ values }) => values["Clock/OffsetMs"] != null),
    );
    expect(Number(told.values["Clock/OffsetMs"])).toBeGreaterThan(3_590_000);
    expect(Number(told.values["Clock/OffsetMs"])).toBeLessThan(3_610_000);
    expect(node.stats().clockOffset?.offsetMs).toBe(Number(told.values["Clock/OffsetMs"]));
  });
});
