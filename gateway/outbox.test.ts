import { spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { DataType } from "@jilian/domain/datatypes.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { StoredSample } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { type OutboxBench, outboxBench, sample } from "./test-outbox.ts";

let bench: OutboxBench;
beforeEach(() => {
  bench = outboxBench();
});
afterEach(() => bench.close());

const definition = (name: string, datatype: MetricDefinition["datatype"] = DataType.Double): MetricDefinition => ({
  name,
  datatype,
  simulated: false,
});

describe("records", () => {
  test("come back as written, in order, with exact 64-bit integers", () => {
    const outbox = bench.start();
    const [a, b] = outbox.declare("press", [definition("a", DataType.Int64), definition("b")]) as [number, number];
    const values = [9223372036854775807n, -9223372036854775808n, 0n, -0, 0.1, null, "温度", true, 4294967295];
    for (const value of values) outbox.write("press", [sample(a, value), sample(b, 2 ** 53 - 1)]);
    const found = outbox.pending(0, 100).map(({ record }) => record);
    expect(found.map((r) => r.samples[0]?.value)).toEqual(values);
    expect(found.every((r) => r.samples[1]?.value === 2 ** 53 - 1)).toBe(true);
    expect(found.map((r) => r.offset)).toEqual(values.map((_, i) => i));
    expect(found.every((r) => r.epoch === outbox.epoch && r.device === "press")).toBe(true);
  });

  test("keep status and both times", () => {
    const outbox = bench.start();
    const written: StoredSample[] = [
      { metricId: 1, value: null, status: 0x800a0000, sourceTimeMs: 1000, gatewayTimeMs: 900 },
      { metricId: 2, value: 7, status: 0x40000000, sourceTimeMs: 500, gatewayTimeMs: 1000 },
    ];
    outbox.write("press", written);
    expect(outbox.pending(0, 1)[0]?.record.samples).toEqual(written);
  });

  test("survive reopening under an epoch of their own; each start has a new one", async () => {
    const epochs: string[] = [];
    for (let i = 0; i < 3; i += 1) {
      const outbox = bench.start();
      epochs.push(outbox.epoch);
      outbox.write("press", [sample(1, i)]);
      await bench.stop(outbox);
    }
    const outbox = bench.start();
    expect(outbox.pending(0, 10).map(({ record }) => [record.epoch, record.offset])).toEqual(epochs.map((e) => [e, 0]));
    expect(new Set([...epochs, outbox.epoch]).size).toBe(4);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 3, droppedSamples: 0, setAsideRecords: 0 });
    expect(outbox.pendingOf("press")).toBe(3);
  });

  test("that were acknowledged are all there after SIGKILL", async () => {
    const script = `
      import { openOutbox } from ${JSON.stringify(join(import.meta.dirname, "outbox.ts"))};
      import { systemClock } from ${JSON.stringify(join(import.meta.dirname, "../domain/clock.ts"))};
      import { writeSync } from "node:fs";
      import { pino } from "pino";
      const outbox = openOutbox({ path: ${JSON.stringify(bench.path)}, maxBytes: 1e9, fsyncMs: 50, group: "factory-1", node: "gateway-1",
        clock: systemClock, log: pino({ level: "silent" }) });
      for (let i = 0; ; i++) {
        const record = outbox.write("press", [{ metricId: 1, value: i, status: 0, sourceTimeMs: i + 1, gatewayTimeMs: i + 1 }]);
        writeSync(1, outbox.epoch + " " + record.offset + "\\n");
      }`;
    for (let round = 1; round <= 3; round += 1) {
      const acknowledged = join(bench.folder, `acknowledged-${round}`);
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
        cwd: import.meta.dirname,
        stdio: ["ignore", openSync(acknowledged, "w"), "inherit"],
      });
      const told = () => readFileSync(acknowledged, "utf8").split("\n").slice(0, -1);
      await vi.waitFor(() => expect(told().length).toBeGreaterThan(500 * round), { timeout: 20_000, interval: 5 });
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
      const [epoch, offset] = told().at(-1)?.split(" ") ?? [];
      const outbox = bench.start();
      const found = outbox.pending(0, 1_000_000).filter(({ record }) => record.epoch === epoch);
      expect(found.length).toBeGreaterThan(Number(offset));
      expect(found.every(({ record }, i) => record.offset === i && record.samples[0]?.value === i)).toBe(true);
      await bench.stop(outbox);
    }
  });
});

describe("commit", () => {
  test("frees ranges of the current and of earlier epochs, and nothing else", async () => {
    const first = bench.start();
    for (let i = 0; i < 10; i += 1) first.write("press", [sample(1)]);
    expect(first.commit(first.epoch, [[7, 9]])).toBe(3);
    await bench.stop(first);
    const second = bench.start();
    for (let i = 0; i < 10; i += 1) second.write("oven", [sample(2)]);
    expect(
      second.commit(second.epoch, [
        [0, 2],
        [5, 5],
      ]),
    ).toBe(4);
    // Far beyond what the first epoch holds: must not reach into the second one's records, which follow in the file.
    expect(second.commit(first.epoch, [[3, 5_000]])).toBe(4);
    const left = second.pending(0, 100).map(({ record }) => `${record.epoch === first.epoch ? 1 : 2}:${record.offset}`);
    expect(left).toEqual(["1:0", "1:1", "1:2", "2:3", "2:4", "2:6", "2:7", "2:8", "2:9"]);
    expect([second.pendingOf("press"), second.pendingOf("oven")]).toEqual([3, 6]);
  });

  test("of unknown epochs, of ranges never written and of ranges freed before does no harm", () => {
    const outbox = bench.start();
    outbox.write("press", [sample(1)]);
    expect(outbox.commit("0123456789abcdef", [[0, Number.MAX_SAFE_INTEGER]])).toBe(0);
    expect(outbox.commit(outbox.epoch, [[1, Number.MAX_SAFE_INTEGER]])).toBe(0);
    expect(outbox.commit(outbox.epoch, [[0, Number.MAX_SAFE_INTEGER]])).toBe(1);
    expect(outbox.commit(outbox.epoch, [[0, 0]])).toBe(0);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 0, pendingBytes: 0, oldestWrittenAtMs: undefined });
  });

  test("knows a notice for other records by their times of writing, as far as they are pending, of whichever epoch", async () => {
    const first = bench.start();
    const times = Array.from({ length: 4 }, () => first.write("press", [sample(1)])?.writtenAtMs as number);
    await bench.stop(first);
    const outbox = bench.start();
    const { epoch } = first;
    const isOther = (ranges: Range[], writtenAtMs: number[]) => outbox.isOther(epoch, ranges, writtenAtMs);
    const [a, b, c, d] = times as [number, number, number, number];
    expect(isOther([[0, 3]], times)).toBe(false);
    expect(isOther([[1, 2]], [b, c])).toBe(false);
    expect(
      isOther(
        [
          [0, 1],
          [3, 9],
        ],
        [a, b, d, 1, 2, 3, 4, 5, 6],
      ),
    ).toBe(false);
    expect(
      isOther(
        [
          [0, 1],
          [3, 3],
        ],
        [a, b, d + 1],
      ),
    ).toBe(true);
    expect(isOther([[0, 3]], [a, b - 1, c, d])).toBe(true);
    expect(isOther([[4, 9]], [1, 2, 3, 4, 5, 6])).toBe(false);
    expect(outbox.isOther("0123456789abcdef", [[0, 0]], [1])).toBe(false);
    outbox.commit(epoch, [[1, 1]]);
    expect(isOther([[0, 3]], [a, b - 1, c, d])).toBe(false);
  });

  test("goes through more records than one batch", () => {
    const outbox = bench.start();
    for (let i = 0; i < 2500; i += 1) outbox.write("press", [sample(1)]);
    expect(outbox.commit(outbox.epoch, [[100, 2400]])).toBe(2301);
    expect(outbox.stats().pendingRecords).toBe(199);
  });

  test("gives the space back to the file system", async () => {
    const outbox = bench.start();
    const text = "x".repeat(2000);
    for (let i = 0; i < 10_000; i += 1) outbox.write("press", [sample(1, text + i)]);
    await vi.waitFor(() => expect(statSync(bench.path).size).toBeGreaterThan(15_000_000));
    outbox.commit(outbox.epoch, [[0, 9_999]]);
    await vi.waitFor(() => expect(statSync(bench.path).size).toBeLessThan(2_000_000), {
      timeout: 20_000,
      interval: 50,
    });
    expect(outbox.write("press", [sample(1)])?.offset).toBe(10_000);
  });
});

describe("metrics", () => {
  test("keep their id over a changed definition and a restart", async () => {
    const first = bench.start();
    const [a, b] = first.declare("press", [definition("a"), definition("b")]) as [number, number];
    expect(first.declare("oven", [definition("a")])).not.toContain(a);
    await bench.stop(first);
    const second = bench.start();
    expect(second.declare("press", [definition("b"), { ...definition("a"), simulated: true, unit: "kW·h" }])).toEqual([
      b,
      a,
    ]);
    expect(second.metrics().find(({ id }) => id === a)?.definition).toMatchObject({ simulated: true, unit: "kW·h" });
    await bench.stop(second);
    expect(JSON.stringify(bench.start().metrics())).toBe("[]");
  });

  test("know since when they are what they are: from after the last reading under the definition before", async () => {
    const since = ({ metrics }: OpenedOutbox) => metrics().map(({ sinceMs }) => sinceMs);
    const [a, b] = [definition("a"), definition("b")];
    const first = bench.start();
    const [id] = first.declare("press", [a, b]) as [number];
    expect(since(first)).toEqual([0, 0]);
    const written = sample(id, 1);
    first.write("press", [written]);
    await bench.stop(first);
    const changedMs = written.sourceTimeMs + 1;
    for (let starts = 0; starts < 2; starts += 1) {
      const next = bench.start();
      next.declare("press", [{ ...a, unit: "kWh" }, b]);
      expect(since(next)).toEqual([changedMs, 0]);
      next.write("press", [sample(id, 2)]);
      await bench.stop(next);
    }
  });

  test("know nothing of that before the device's first reading: the platform may have readings of an outbox before this one", () => {
    const outbox = bench.start();
    outbox.declare("press", [definition("a")]);
    outbox.declare("press", [{ ...definition("a"), unit: "kWh" }]);
    expect(outbox.metrics()).toMatchObject([{ definition: { unit: "kWh" }, sinceMs: 0 }]);
  });

  test("that are no longer declared stay listed until their backlog has drained", async () => {
    const first = bench.start();
    const [a, old] = first.declare("press", [definition("a"), definition("old")]) as [number, number];
    first.write("press", [sample(a), sample(old)]);
    first.write("press", [sample(old)]);
    await bench.stop(first);
    const second = bench.start();
    second.declare("press", [definition("a")]);
    second.write("press", [sample(a)]);
    const names = () => second.metrics().map((m) => m.definition.name);
    expect(names()).toEqual(["a", "old"]);
    second.commit(first.epoch, [[0, 0]]);
    expect(names()).toEqual(["a", "old"]);
    second.commit(first.epoch, [[1, 1]]);
    expect(names()).toEqual(["a"]);
    expect(second.declare("press", [definition("a"), definition("old")])).toEqual([a, old]);
  });

  test("have their newest pending sample found again after a restart", async () => {
    const first = bench.start();
    const [a, b] = first.declare("press", [definition("a"), definition("b")]) as [number, number];
    first.write("press", [sample(a, 1), sample(b, 2)]);
    first.write("press", [sample(a, 3)]);
    await bench.stop(first);
    const values = new Map(
      bench
        .start()
        .newest()
        .map((s) => [s.metricId, s.value]),
    );
    expect(values).toEqual(
      new Map([
        [a, 3],
        [b, 2],
      ]),
    );
  });

  test("the greatest source time of a device outlives its records", async () => {
    const first = bench.start();
    first.write("press", [
      { ...sample(1), sourceTimeMs: 5000 },
      { ...sample(1), sourceTimeMs: 4000 },
    ]);
    first.commit(first.epoch, [[0, 0]]);
    await bench.stop(first);
    const second = bench.start();
    expect([second.lastSourceTimeMs("press"), second.lastSourceTimeMs("oven")]).toEqual([5000, 0]);
  });
});

test("bdSeq counts over restarts and wraps", async () => {
  const first = bench.start();
  expect([first.nextBdSeq(), first.nextBdSeq()]).toEqual([0, 1]);
  await bench.stop(first);
  const second = bench.start();
  const rest = Array.from({ length: 255 }, () => second.nextBdSeq());
  expect([rest[0], rest[253], rest[254]]).toEqual([2, 255, 0]);
});
