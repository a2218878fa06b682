import { DataType } from "@jilian/domain/datatypes.ts";
import { createLiveState, type LiveState } from "@jilian/store/live.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { commitBook } from "./commit-book.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { liveWriter } from "./live-writer.ts";
import { type RecordQueue, recordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";
import { manualClock, openWorld, silent, testRegistry, until, type World } from "./test-world.ts";
import { startWriter } from "./write.ts";

/** What births say is kept when they come, and not only with the next sample: after a restart nobody knows the time of that birth. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
let world: World;
let queue: RecordQueue;
let live: LiveState;

beforeEach(async () => {
  world = await openWorld();
  queue = recordQueue(1000);
  live = createLiveState();
});
afterEach(() => world.end());

function start(telemetry: Telemetry = world.telemetry): { close: () => Promise<void> } {
  const clock = manualClock(t0);
  const notes = ledgerNotes({ ledger: world.ledger, clock, log: silent });
  const bus = { onMessage: () => () => undefined, publish: async () => undefined };
  const writer = liveWriter(live, { notes, registry: testRegistry(true), clock });
  const parts = { queue, book: commitBook([]), telemetry, notes, live: writer, bus, clock, log: silent };
  return startWriter({ ...parts, batchSamples: 100, lingerMs: 1 });
}

function born(role: string, sinceMs: number, metric = "a"): BornMetric {
  const key = { group: "f1", node: "gw-1", device: "meter-1", metric };
  const definition = { name: metric, datatype: DataType.Double, role, unit: "kWh", simulated: false };
  return { key, definition, seriesId: undefined, sinceMs, doubtMs: sinceMs };
}

function put(metric: BornMetric, sourceTimeMs: number): void {
  const sample = { metric, value: 1, status: 0, sourceTimeMs, gatewayTimeMs: sourceTimeMs };
  queue.push({ group: "f1", node: "gw-1", record: undefined, samples: [sample], receivedAtMs: t0 });
}

const dated = async () =>
  (await world.telemetry.series()).map((series) => [
    series.metric,
    ...(series.dated ?? []).map(({ fromMs, definition }) => `${definition.role} ${fromMs - t0}`),
  ]);

test("a birth that no sample follows changes the series, also where its first sample waited before it", async () => {
  const [first, second] = [born("energy.import", t0), born("energy.export", t0 + 5000)];
  queue.bear([first]);
  put(first, t0 + 1000);
  queue.bear([second, born("energy.import", t0 + 5000, "never-read")]);
  const writer = start();
  await until(() => queue.samples() === 0, "the sample to be taken");
  await writer.close();
  expect(await dated()).toEqual([["a", "energy.import 0", "energy.export 5000"]]);
});

test("is asked for again while the store fails, and one that the store refuses holds up nothing", async () => {
  const first = born("energy.import", t0);
  put(first, t0 + 1000);
  const answers = ["STORE_DOWN", "VALUE_MISFIT"];
  const asked: string[][] = [];
  const telemetry: Telemetry = {
    ...world.telemetry,
    redefineSeries: async (wanted) => {
      asked.push(wanted.map(({ definition }) => definition.role as string));
      const code = answers.shift();
      if (code) throw Object.assign(new Error(code), { code });
      await world.telemetry.redefineSeries(wanted);
    },
  };
  const writer = start(telemetry);
  await until(() => live.counters.get("storedSamples") === 1, "the first sample");
  queue.bear([born("refused", t0 + 2000)]);
  await until(() => asked.length === 2, "the second attempt");
  queue.bear([born("energy.export", t0 + 5000)]);
  await until(() => asked.length === 3, "the birth after it");
  await writer.close();
  expect(asked).toEqual([["refused"], ["refused"], ["energy.export"]]);
  expect(live.counters.get("storeFailures")).toBe(1);
  expect(await dated()).toEqual([["a", "energy.import 0", "energy.export 5000"]]);
});

test("one definition that the store refuses costs none of the births that came with it", async () => {
  const names = ["a", "b", "c", "d", "e"];
  for (const name of names) put(born("energy.import", t0, name), t0 + 1000);
  const telemetry: Telemetry = {
    ...world.telemetry,
    redefineSeries: async (wanted) => {
      if (wanted.some(({ metric }) => metric === "c")) throw Object.assign(new Error("no"), { code: "VALUE_MISFIT" });
      await world.telemetry.redefineSeries(wanted);
    },
  };
  const writer = start(telemetry);
  await until(() => live.counters.get("storedSamples") === names.length, "the samples");
  queue.bear(names.map((name) => born("energy.export", t0 + 5000, name)));
  await writer.close();
  const changed = (name: string) => [name, "energy.import 0", "energy.export 5000"];
  expect(await dated()).toEqual([changed("a"), changed("b"), ["c"], changed("d"), changed("e")]);
});

test("a birth holds from its own time on, whatever is known to lie after what its gateway tells", async () => {
  // Told by an older release of the gateway at its birth, after the last reading; a newer one tells of the time after that reading.
  const [first, second] = [born("energy.import", t0), born("energy.export", t0 + 5000)];
  const third: BornMetric = { ...born("production.total", t0 + 3000), bornMs: t0 + 9000 };
  put(first, t0 + 1000);
  queue.bear([second, third]);
  const writer = start();
  await until(() => queue.samples() === 0, "the sample to be taken");
  put(third, t0 + 9500);
  await until(() => live.counters.get("storedSamples") === 2, "the second sample");
  await writer.close();
  const expected = ["energy.import 0", "production.total 3000", "energy.export 5000", "production.total 9000"];
  expect(await dated()).toEqual([["a", ...expected]]);
  expect(third.seriesId).toBe(first.seriesId);
});
