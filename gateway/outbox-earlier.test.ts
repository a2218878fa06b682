import { readFileSync, writeFileSync } from "node:fs";
import { DataType } from "@jilian/domain/datatypes.ts";
import { type MetricDefinition, maxEarlierDefinitions } from "@jilian/domain/sample.ts";
import { describe, expect, test } from "vitest";
import { birthMetric } from "./births.ts";
import type { OutboxRecord } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { moveHeld, outboxMove } from "./outbox-move.ts";
import { bench, benchPerTest, recovered, sample } from "./test-outbox.ts";

/** What metrics were before they were changed, for as long as readings of then may wait. */
benchPerTest();

const of = (unit: string, name = "a"): MetricDefinition => ({
  ...{ name, datatype: DataType.Double, simulated: false },
  unit,
});
const memory = (): OpenedOutbox => bench.start({ path: undefined, durability: "process" });

/** Declares the metric of a press and writes a reading of it. @returns the record */
function reads(outbox: OpenedOutbox, unit: string): OutboxRecord {
  const [a = 0] = outbox.declare("press", [of(unit)]);
  return outbox.write("press", [sample(a)]) ?? expect.fail("not written");
}
const timeOf = ({ samples }: OutboxRecord): number => samples[0]?.sourceTimeMs ?? 0;
const said = ({ metrics }: OpenedOutbox) => {
  const [metric] = metrics();
  if (!metric) return [];
  return [...metric.earlier, metric].map(({ definition, sinceMs }) => [definition.unit, sinceMs]);
};
const free = (outbox: OpenedOutbox, { epoch, offset }: OutboxRecord) => outbox.commit(epoch, [[offset, offset]]);

describe("what a metric was", () => {
  test("is told while readings of then are pending, over restarts, and no longer", async () => {
    const first = bench.start();
    const a = reads(first, "A");
    await bench.stop(first);
    const second = bench.start();
    const b = reads(second, "B");
    expect(said(second)).toEqual([
      ["A", 0],
      ["B", timeOf(a) + 1],
    ]);
    await bench.stop(second);
    const third = bench.start();
    third.declare("press", [of("C")]);
    const bAndC = [
      ["B", timeOf(a) + 1],
      ["C", timeOf(b) + 1],
    ];
    expect(said(third)).toEqual([["A", 0], ...bAndC]);
    // Each holds until the next one, so that one between of which nothing waits is told as well.
    free(third, b);
    expect(said(third)).toEqual([["A", 0], ...bAndC]);
    reads(third, "C");
    free(third, a);
    expect(said(third)).toEqual(bAndC.slice(1));
    await bench.stop(third);
    const fourth = bench.start();
    reads(fourth, "C");
    expect(said(fourth)).toEqual(bAndC.slice(1));
    expect(fourth.stats().forgottenDefinitions).toBe(0);
  });

  test("is not told where nothing was read, nor where nothing waits: a birth is as large as ever", () => {
    const outbox = bench.start();
    outbox.declare("press", [of("A")]);
    outbox.declare("press", [of("B")]);
    expect(said(outbox)).toEqual([["B", 0]]);
    const b = reads(outbox, "B");
    // As a simulator that is recognised anew at each start.
    outbox.declare("press", [of("C")]);
    outbox.declare("press", [of("B")]);
    expect(said(outbox)).toEqual([["B", timeOf(b) + 1]]);
    outbox.declare("press", [of("D")]);
    expect(said(outbox)).toEqual([
      ["B", 0],
      ["D", timeOf(b) + 1],
    ]);
    free(outbox, b);
    expect(said(outbox)).toEqual([["D", timeOf(b) + 1]]);
    const [metric] = outbox.metrics();
    const born = metric && birthMetric(metric, undefined, 1);
    expect(Object.keys(born?.properties ?? {})).not.toContain("earlierDefinitions");
  });

  test("comes back with a record that was set aside", async () => {
    const first = bench.start();
    const a = reads(first, "A");
    expect(first.setAside(a, "for a test")).toBe(true);
    const b = reads(first, "B");
    await bench.stop(first);
    const second = bench.start();
    reads(second, "B");
    expect(said(second)).toEqual([["B", timeOf(a) + 1]]);
    second.declare("press", [of("C")]);
    free(second, b);
    expect(second.replayAsides("all")).toBe(1);
    expect(said(second)[0]).toEqual(["A", 0]);
    const [, replayed] = second.pending(0, 10);
    expect(replayed?.record.samples[0]?.sourceTimeMs).toBe(timeOf(a));
  });

  test("so many at most: the oldest are forgotten, counted and told", async () => {
    const outbox = bench.start();
    for (let i = 0; i < maxEarlierDefinitions + 4; i += 1) reads(outbox, `unit ${i}`);
    expect(said(outbox)).toHaveLength(maxEarlierDefinitions + 1);
    expect(said(outbox)[0]?.[0]).toBe("unit 3");
    expect(outbox.stats().forgottenDefinitions).toBe(3);
    const told = { code: "OUTBOX_DEFINITIONS", device: "press", forgotten: 1 };
    expect(bench.lines).toMatchObject([told, told, told]);
    await bench.stop(outbox);
    const next = bench.start();
    expect(next.stats().forgottenDefinitions).toBe(3);
    // Those of which nothing waits make room first, which is no loss.
    next.commit(outbox.epoch, [[0, 17]]);
    reads(next, "another");
    expect(next.stats().forgottenDefinitions).toBe(3);
  });
});

describe("what a metric was, where the outbox is another one", () => {
  test("moves to memory and back with changes made there, also of readings that the platform has by then", async () => {
    const file = bench.start();
    const a = reads(file, "A");
    const b = reads(file, "B");
    const from = memory();
    from.handover.take(file.handover.remains());
    moveHeld(file, from);
    await bench.stop(file);
    from.declare("press", [of("B")]);
    expect(said(from)).toEqual([["B", timeOf(a) + 1]]);
    const c = reads(from, "C");
    free(from, c);
    const d = reads(from, "D");
    from.declare("press", [of("A")]);
    expect(said(from)).toEqual([
      ["D", timeOf(c) + 1],
      ["A", timeOf(d) + 1],
    ]);
    const to = bench.start();
    expect(await outboxMove(from, to).rest()).toBe(true);
    const all = [
      ["A", 0],
      ["B", timeOf(a) + 1],
      ["C", timeOf(b) + 1],
      ["D", timeOf(c) + 1],
      ["A", timeOf(d) + 1],
    ];
    expect(said(to)).toEqual(all);
    await bench.stop(to);
    const again = bench.start();
    again.declare("press", [of("A")]);
    expect(said(again)).toEqual(all);
    again.commit(file.epoch, [[0, 9]]);
    expect(said(again)).toEqual(all.slice(3));
  });

  test.each(["C", "A"])(
    "changed in the file just before it was left, and to %s in memory before anything was read: that counts",
    async (unit) => {
      const file = bench.start();
      const a = reads(file, "A");
      file.declare("press", [of("B")]);
      const from = memory();
      from.handover.take(file.handover.remains());
      await bench.stop(file);
      const c = reads(from, unit);
      from.declare("press", [of("D")]);
      const to = bench.start();
      expect(await outboxMove(from, to).rest()).toBe(true);
      const before = [["A", 0], ...(unit === "A" ? [] : [[unit, timeOf(a) + 1]])];
      expect(said(to)).toEqual([...before, ["D", timeOf(c) + 1]]);
      free(to, a);
      expect(said(to)).toEqual([...before.slice(-1), ["D", timeOf(c) + 1]]);
    },
  );

  test("of an outbox that began in memory: what it was first came after all that the file knows", async () => {
    const file = bench.start();
    const a = reads(file, "A");
    await bench.stop(file);
    const from = memory();
    const b = reads(from, "B");
    reads(from, "C");
    const to = bench.start();
    expect(await outboxMove(from, to).rest()).toBe(true);
    expect(said(to)).toEqual([
      ["A", 0],
      ["B", timeOf(a) + 1],
      ["C", timeOf(b) + 1],
    ]);
  });

  test("outlives damage of the file: its records come back with it", async () => {
    const first = bench.start();
    for (let i = 0; i < 300; i += 1) reads(first, "A");
    const b = reads(first, "B");
    reads(first, "C");
    const known = said(first);
    expect(known).toHaveLength(3);
    await bench.stop(first);
    // Row 1 of the records, which a start looks at: its key, then the types of its columns.
    const bytes = readFileSync(bench.path);
    const head = Buffer.from([0x01, 0x06, 0x00, 0x09, 0x05, 0x09]);
    for (let i = bytes.indexOf(head); i >= 0; i = bytes.indexOf(head, i + 1)) bytes[i + 1] = 0x46;
    writeFileSync(bench.path, bytes);
    const outbox = bench.start();
    outbox.declare("press", [of("C")]);
    await recovered(outbox);
    expect(bench.codes()).toContain("OUTBOX_CORRUPT");
    expect(said(outbox)).toEqual(known);
    const own = outbox.pending(0, 1000).filter(({ record }) => timeOf(record) <= timeOf(b));
    expect(own.length).toBeGreaterThan(290);
    for (const { record } of own) {
      expect(said(outbox).length).toBeGreaterThan(1);
      free(outbox, record);
    }
    expect(said(outbox)).toEqual(known.slice(2));
  });

  test("is as if nothing were known where it cannot be read, which costs nothing else", async () => {
    for (const text of ["x", "[1]", '[[5,{"name":"b"},0]]', "{}"]) {
      const first = bench.start();
      const a = reads(first, "A");
      reads(first, "B");
      await bench.stop(first);
      bench.tamper(`UPDATE metric SET earlier = '${text}'`);
      const next = bench.start();
      next.declare("press", [of("B")]);
      expect(said(next)).toEqual([["B", timeOf(a) + 1]]);
      next.commit(first.epoch, [[0, 9]]);
      await bench.stop(next);
    }
  });
});
