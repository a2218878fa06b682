import { DataType } from "@jilian/domain/datatypes.ts";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { definition, type EdgeBench, edgeBench, fastSettings, metricOf, sample, up } from "./test-edge.ts";
import { startPlatform } from "./test-platform.ts";

/** What cannot be sent: too large for a message, or no message can be made of it. Nothing else may wait for it. */

let bench: EdgeBench;
beforeEach(async () => {
  bench = await edgeBench();
});
afterEach(() => bench.close());

const maxPayloadBytes = 20_000;
// What is passed over waits for a quarter of the time-out.
const settings = { ...fastSettings, commitTimeoutMs: 2000 };
const start = () => {
  const { port } = bench.host;
  const reconnect = { keepaliveMs: 15_000, reconnectMinMs: 20, reconnectMaxMs: 100 };
  return bench.start({ broker: { host: "127.0.0.1", port, ...reconnect, maxPayloadBytes }, settings });
};
const pending = () => bench.outbox.stats().pendingRecords;
const drained = () => vi.waitFor(() => expect(pending()).toBe(0), 20_000);
const codes = () => bench.lines.map(({ code }) => code);
const reasons = () => bench.outbox.asides(100).map(({ reason }) => reason);
const sizes = () => bench.host.seen.map(({ bytes }) => bytes.length);

describe("a record larger than a message may be", () => {
  test("is divided until it fits, whether it is live or waited, and every reading of it is stored", async () => {
    startPlatform(bench.host);
    const [a] = bench.define("press", [definition("a")]) as [number];
    let value = 0n;
    const samples = (count: number) =>
      Array.from({ length: count }, () => {
        value += 1n;
        return sample(a, value);
      });
    bench.write("press", samples(2));
    bench.write("press", samples(6000));
    bench.write("press", samples(2));
    const node = start();
    bench.define("press", [definition("a")], node);
    await drained();
    bench.write("press", samples(3000), node);
    bench.write("press", samples(1), node);
    await drained();
    const data = bench.host.ofType("DDATA").flatMap(({ payload }) => payload.metrics.map((m) => m.timestampMs));
    expect(new Set(data).size).toBe(Number(value));
    expect(Math.max(...sizes())).toBeLessThanOrEqual(maxPayloadBytes);
    expect(Math.max(...sizes())).toBeGreaterThan(maxPayloadBytes / 4);
    expect(bench.outbox.stats().setAsideRecords).toBe(0);
    expect(node.stats()).toMatchObject({ connects: 1, suspectRecords: 0 });
  });

  test("is set aside when it is one sample, and the others go on", async () => {
    const platform = startPlatform(bench.host);
    const definitions = [definition("a"), definition("text", { datatype: DataType.String })];
    const [a, text] = bench.define("press", definitions) as [number, number];
    bench.write("press", [sample(a, 1n), sample(text, "x".repeat(30_000)), sample(a, 2n)]);
    const node = start();
    bench.define("press", definitions, node);
    await drained();
    expect(platform.samples().map((s) => s.value)).toEqual(expect.arrayContaining([1n, 2n]));
    expect(reasons()).toEqual([expect.stringMatching(/3\d{4} bytes.*broker\.maxPayloadBytes \(20000\)/)]);
    expect(node.stats().connects).toBe(1);
  });
});

describe("a birth that cannot be sent", () => {
  test("for its size is told once a minute; its readings wait, those of other devices go, and fewer tags cure it", async () => {
    const platform = startPlatform(bench.host);
    const node = start();
    const many = Array.from({ length: 500 }, (_, i) => definition(`metric-${i}`, { unit: "kWh", heartbeatMs: 1000 }));
    const [first] = bench.define("press", many, node) as [number];
    const [b] = bench.define("oven", [definition("b")], node) as [number];
    node.deviceConnection("press", up);
    node.deviceConnection("oven", up);
    for (let i = 1n; i <= 20n; i += 1n) {
      bench.write("press", [sample(first, i)], node);
      bench.write("oven", [sample(b, 100n + i)], node);
    }
    await vi.waitFor(() => expect(platform.samples()).toHaveLength(20), 8000);
    await bench.host.rebirth();
    await bench.host.until("rebirth", () => bench.host.ofType("NBIRTH")[1]);
    expect(bench.outbox.pendingOf("press")).toBe(20);
    expect(bench.host.ofType("DBIRTH", "press")).toEqual([]);
    expect(bench.lines.filter(({ code }) => code === "BIRTH_TOO_LARGE")).toMatchObject(
      [{ device: "press", metrics: 500, bytes: expect.any(Number), maxPayloadBytes, remedy: /divide its tags/ }].map(
        (line) => ({ ...line, remedy: expect.stringMatching(line.remedy) }),
      ),
    );
    expect(node.stats()).toMatchObject({ connects: 1, born: true });

    bench.define("press", many.slice(0, 50), node);
    await drained();
    expect(platform.samples()).toHaveLength(40);
    expect(reasons()).toEqual([]);
  });

  test("for what its metrics were before is sent without that, and told", async () => {
    const platform = startPlatform(bench.host);
    const many = (unit: string) => Array.from({ length: 150 }, (_, i) => definition(`n${i}`, { unit }));
    for (const unit of ["A", "B", "C"]) {
      const [a] = bench.define("press", many(unit)) as [number];
      bench.write("press", [sample(a, 1n)]);
    }
    const node = start();
    bench.define("press", many("C"), node);
    node.deviceConnection("press", up);
    const born = await bench.host.until("birth", () => bench.host.ofType("DBIRTH", "press")[0]);
    expect(metricOf(born, "n0")?.properties).toMatchObject({ definedSince: expect.anything() });
    expect(metricOf(born, "n0")?.properties).not.toHaveProperty("earlierDefinitions");
    await vi.waitFor(() => expect(platform.samples()).toHaveLength(3), 8000);
    expect(bench.lines.filter(({ code }) => code === "BIRTH_SHORTENED")).toMatchObject([
      { device: "press", metrics: 150, bytes: expect.any(Number), maxPayloadBytes },
    ]);
    expect(codes()).not.toContain("BIRTH_TOO_LARGE");
  });

  test("for what it holds is told with its device and ends no session", async () => {
    const platform = startPlatform(bench.host);
    const node = start();
    const [a] = bench.define("press", [definition("a", { heartbeatMs: -1 })], node) as [number];
    const [b] = bench.define("oven", [definition("b")], node) as [number];
    node.deviceConnection("press", up);
    node.deviceConnection("oven", up);
    bench.write("press", [sample(a, 1n)], node);
    bench.write("oven", [sample(b, 2n)], node);
    await vi.waitFor(() => expect(platform.samples()).toMatchObject([{ value: 2n }]), 8000);
    expect(bench.lines.filter(({ code }) => code === "BIRTH_FAILED")).toMatchObject([{ device: "press" }]);
    await vi.waitFor(() => expect(pending()).toBe(1), 8000);
    expect(node.stats()).toMatchObject({ connects: 1, born: true });
  });
});

test("a record of which no message can be made is set aside, in a session that goes on", async () => {
  const platform = startPlatform(bench.host);
  const [a] = bench.define("press", [definition("a")]) as [number];
  const node = start();
  bench.define("press", [definition("a")], node);
  node.deviceConnection("press", up);
  await bench.host.until("birth", () => bench.host.ofType("DBIRTH", "press")[0]);
  const record = bench.write("press", [sample(a, 1n)]);
  // A time that is no whole number cannot be written into a message.
  node.recordWritten({ ...record, samples: record.samples.map((s) => ({ ...s, sourceTimeMs: 1.5 })) });
  bench.write("press", [sample(a, 2n)], node);
  await drained();
  expect(platform.samples()).toMatchObject([{ value: 2n }]);
  expect(reasons()).toEqual([expect.stringContaining("no message can be made of it")]);
  expect(node.stats()).toMatchObject({ connects: 1, born: true });
  expect(codes()).not.toContain("SESSION_FAILED");
});
