import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DataType } from "@jilian/domain/datatypes.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { StoredSample } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { encodeSamples } from "./outbox-record.ts";
import { type OutboxBench, outboxBench, recovered, sample } from "./test-outbox.ts";
import {
  devices,
  hexOf,
  type ModelRecord,
  names,
  type OutboxModel,
  outboxModel,
  readableIn,
  recordsIn,
  type Step,
  sizeOf,
  step,
} from "./test-outbox-model.ts";

/** A failure prints seed and path; JILIAN_TEST_SEED runs that seed again, JILIAN_TEST_RUNS more runs than a test has time for. */
const seed = process.env.JILIAN_TEST_SEED;
const numRuns = Number(process.env.JILIAN_TEST_RUNS ?? 40);
const settings = {
  numRuns,
  // The search for the smallest counterexample must end before the test's own time does, or nothing of it would be printed.
  interruptAfterTimeLimit: 100_000,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
};

const definition = (name: string): MetricDefinition => ({ name, datatype: DataType.Double, simulated: false });
const key = ({ epoch, offset }: { epoch: string; offset: number }) => `${epoch}:${offset}`;
const contentOf = ({ device, samples }: { device: string; samples: readonly StoredSample[] }) =>
  `${device} ${hexOf(encodeSamples(samples))}`;

/** The real outbox and the model side by side. */
function pair(bench: OutboxBench, maxBytes: number) {
  const model = outboxModel(maxBytes);
  const ids = new Map<string, number>();
  const epochs: string[] = [];
  let path = bench.path;
  let crashes = 0;
  let outbox = open();
  const { box } = outbox.identity;

  function declare(count = names.length): void {
    for (const device of devices) {
      const found = outbox.declare(device, names.slice(0, count).map(definition));
      for (const [i, id] of found.entries()) {
        const name = `${device}/${names[i]}`;
        expect(ids.get(name) ?? id).toBe(id);
        ids.set(name, id);
      }
    }
  }

  function open(fsyncMs = 1000): OpenedOutbox {
    const opened = bench.start({ path, maxBytes, fsyncMs });
    epochs.push(opened.epoch);
    return opened;
  }

  async function reopen(between: () => void): Promise<void> {
    const { starts } = outbox.identity;
    await bench.stop(outbox);
    between();
    outbox = open();
    expect(outbox.identity).toEqual({ box, starts: starts + 1 });
    declare();
  }

  function write({ device = 0, values: given = [] }: Step): void {
    const name = devices[device % devices.length] as string;
    const samples = given.map((value, i) => sample(ids.get(`${name}/${names[i % names.length]}`) as number, value));
    const fits = model.makeRoom(name, samples);
    const record = outbox.write(name, samples);
    expect(record === undefined).toBe(!fits);
    if (record) model.add(record);
  }

  function split(at: number): void {
    const i = at % Math.max(1, model.pending().length);
    const record = model.pending()[i] ?? {
      epoch: "0123456789abcdef",
      offset: 0,
      samples: [],
      broken: false,
      serial: 0,
    };
    const halves = outbox.split(record);
    expect(halves.length).toBe(record.broken || record.samples.length < 2 ? 0 : 2);
    if (halves.length === 0) return;
    const sorted = record.samples.toSorted((a, b) => a.sourceTimeMs - b.sourceTimeMs);
    expect(halves.flatMap(({ samples }) => samples)).toEqual(sorted);
    model.split(i, halves);
  }

  function setAsideOne(at: number): void {
    const i = at % model.pending().length;
    const record = model.pending()[i] as ModelRecord;
    const one = record.samples[at % record.samples.length] as StoredSample;
    const name = [...ids].find(([, id]) => id === one.metricId)?.[0].split("/")[1] ?? "";
    const { sourceTimeMs } = one;
    expect(
      outbox.setAside(record, "a test", [
        [name, sourceTimeMs],
        ["none", sourceTimeMs],
      ]),
    ).toBe(false);
    expect(outbox.setAside(record, "a test", [[name, sourceTimeMs]])).toBe(!record.broken);
    if (!record.broken) model.setAside(i, [one]);
  }

  function replay(wanted: readonly ModelRecord[], ids: Parameters<OpenedOutbox["replayAsides"]>[0]): void {
    const from = outbox.nextOffset();
    const moved = model.replay(wanted);
    expect(outbox.replayAsides(ids)).toBe(moved.length);
    for (const [i, { device, samples }] of moved.entries())
      model.add({ epoch: outbox.epoch, offset: from + i, device, samples, writtenAtMs: 0 });
  }

  function dropAsides(wanted: readonly ModelRecord[], ids: Parameters<OpenedOutbox["dropAsides"]>[0]): void {
    expect(outbox.dropAsides(ids)).toBe(wanted.length);
    model.dropAsides(wanted);
  }

  function renew(at: number): void {
    const of = at % 2 === 0 ? outbox.epoch : (epochs[at % epochs.length] as string);
    const wasCurrent = of === outbox.epoch;
    const holds = model.pending().filter(({ epoch }) => epoch === of);
    const { starts } = outbox.identity;
    const now = outbox.renewEpoch(of);
    expect(now).toBe(outbox.epoch);
    expect(now === of).toBe(false);
    const renamed = outbox
      .pending(0, 10_000)
      .find(({ record }) => holds.some((h) => h.offset === record.offset && !epochs.includes(record.epoch)));
    const to = wasCurrent ? now : renamed?.record.epoch;
    if (to === undefined) return;
    expect(outbox.identity.starts).toBe(starts + 1);
    expect(epochs).not.toContain(to);
    epochs.push(to);
    model.rename(of, to);
  }

  /** A flipped bit in a record of the closed file: it is set aside when its turn comes to be read. */
  async function flipBit(at: number): Promise<void> {
    const i = at % Math.max(1, model.pending().length);
    const record = model.pending()[i];
    await reopen(() => {
      if (!record || record.broken) return;
      record.broken = true;
      const db = new DatabaseSync(path);
      const { position } = db.prepare("SELECT position FROM record ORDER BY position LIMIT 1 OFFSET ?").get(i) as {
        position: number;
      };
      db.prepare(
        "UPDATE record SET bytes = CAST(substr(bytes, 1, 2) || x'7f' || substr(bytes, 4) AS BLOB) WHERE position = ? AND substr(bytes, 3, 1) <> x'7f'",
      ).run(position);
      db.close();
    });
  }

  /** The files as a killed process left them, under another name. */
  async function crash(): Promise<void> {
    crashes += 1;
    const copy = join(bench.folder, `crash-${crashes}.db`);
    for (const suffix of ["", "-wal"]) if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
    await reopen(() => {
      path = copy;
    });
    // A note waits for the next transaction: a crash may have taken the last ones.
    for (const name of names) {
      const value = outbox.notes(name).get(name);
      if (value === undefined) model.notes.delete(name);
      else model.notes.set(name, value);
    }
    for (const device of devices) model.deviceNotes.set(device, outbox.noteOf(device));
  }

  /** Pages of the closed file are overwritten: what is lost is counted, all that can be read comes out, and nothing that never was. */
  async function tearPages(at: number, pages: number): Promise<void> {
    const before = model.pending().length + model.asides().length;
    const known = new Set(model.pending().map(contentOf));
    const { setAsideRecords } = outbox.stats();
    await bench.stop(outbox);
    const wasIn = recordsIn(path);
    const bytes = readFileSync(path);
    const first = (at % Math.max(1, bytes.length / 4096)) * 4096;
    bytes.fill(0xff, first, Math.min(bytes.length, first + pages * 4096));
    writeFileSync(path, bytes);
    const readable = readableIn(path, wasIn);
    outbox = open(5);
    outbox.pending(0, 10_000);
    outbox.asides(10_000);
    const written = outbox.write("press", [sample(1)]);
    expect(written).toBeDefined();
    await recovered(outbox);
    const found = outbox
      .pending(0, 10_000)
      .flatMap(({ record }) =>
        record.samples[0]?.sourceTimeMs === written?.samples[0]?.sourceTimeMs ? [] : contentOf(record),
      );
    expect(new Set(found).size).toBe(found.length);
    for (const content of found) expect(known).toContain(content);
    for (const record of model.pending())
      if (!record.broken && readable.has(hexOf(encodeSamples(record.samples))))
        expect(found).toContain(contentOf(record));
    const lost = before - found.length - outbox.asides(10_000).length;
    expect(lost).toBeGreaterThanOrEqual(0);
    // A file of which nothing can be read is followed by one that counts from 0, under another name.
    const counted = outbox.identity.box === box ? setAsideRecords : 0;
    if (lost > 0) expect(outbox.stats().setAsideRecords).toBeGreaterThan(counted);
  }

  async function run(s: Step): Promise<void> {
    const { op, at = 0 } = s;
    const aside = model.asides()[at % Math.max(1, model.asides().length)];
    if (op === "write") write(s);
    if (op === "commit") {
      const { epoch = 0, ranges = [] } = s;
      const of = epoch % 5 === 0 ? "0123456789abcdef" : (epochs[epoch % epochs.length] as string);
      expect(outbox.commit(of, ranges)).toBe(model.commit(of, ranges));
    }
    if (op === "split") split(at);
    if (op === "setAside" && model.pending().length > 0) {
      const i = at % model.pending().length;
      outbox.setAside(model.pending()[i] as ModelRecord, "a test");
      model.setAside(i);
    }
    if (op === "setAsideOne" && model.pending().length > 0) setAsideOne(at);
    if (op === "replay") replay(aside ? [aside] : [], aside ? [aside, aside] : []);
    if (op === "replayAll") replay(model.asides(), "all");
    if (op === "dropAside") dropAsides(aside ? [aside] : [], aside ? [aside, aside] : []);
    if (op === "dropAllAsides") dropAsides(model.asides(), "all");
    if (op === "renew") renew(at);
    if (op === "declare") declare(1 + (at % names.length));
    if (op === "flipBit") await flipBit(at);
    if (op === "reopen") await reopen(() => undefined);
    if (op === "crash") await crash();
    if (op === "note") {
      const name = names[(s.key ?? 0) % names.length] as string;
      outbox.note(name, s.value);
      if (s.value === undefined) model.notes.delete(name);
      else model.notes.set(name, s.value);
    }
    if (op === "noteDevice") {
      const name = devices[(s.key ?? 0) % devices.length] as string;
      outbox.noteDevice(name, s.value ?? "");
      model.deviceNotes.set(name, s.value ?? "");
    }
  }

  return { run, model, outbox: () => outbox, tearPages };
}

/** Everything that can be asked, asked; broken records are set aside by being read. */
function compare(model: OutboxModel, outbox: OpenedOutbox): void {
  const found = outbox.pending(0, 10_000);
  const broken = model.pending().filter((record) => record.broken);
  for (const record of broken) model.setAside(model.pending().indexOf(record));
  expect(found.map(({ record }) => [key(record), record.device, record.samples])).toEqual(
    model.pending().map((record) => [key(record), record.device, record.samples]),
  );
  for (const { record } of found) model.remember(record);
  const positions = found.map(({ position }) => position);
  expect(positions).toEqual(positions.toSorted((a, b) => a - b));
  expect(outbox.stats()).toMatchObject({
    pendingRecords: model.pending().length,
    pendingBytes: model.pending().reduce((sum, { samples }) => sum + sizeOf(samples), 0),
    droppedSamples: model.counts.dropped,
    setAsideRecords: model.counts.setAside,
    droppedAsideRecords: model.counts.droppedAsides,
    oldestWrittenAtMs: found[0]?.record.writtenAtMs,
  });
  const asides = outbox.asides(10_000);
  expect(new Map(asides.map((a) => [key(a), a.samples.length]))).toEqual(
    new Map(model.asides().map((a) => [key(a), a.broken ? 0 : a.samples.length])),
  );
  for (const device of devices) {
    expect(outbox.pendingOf(device)).toBe(model.pending().filter((record) => record.device === device).length);
    expect(outbox.lastSourceTimeMs(device)).toBe(model.lastSourceMs.get(device) ?? 0);
    expect(outbox.noteOf(device)).toBe(model.deviceNotes.get(device) ?? "");
  }
  const listed = new Set(outbox.metrics().map(({ id }) => id));
  for (const { samples } of model.pending()) for (const { metricId } of samples) expect(listed).toContain(metricId);
  expect(outbox.droppedByMetric().reduce((sum, { samples }) => sum + samples, 0)).toBe(
    [...model.droppedOf.values()].reduce((sum, count) => sum + count, 0),
  );
  expect(outbox.notes("")).toEqual(model.notes);
}

async function runSteps(steps: readonly Step[], maxBytes: number, end: (p: ReturnType<typeof pair>) => Promise<void>) {
  const bench = outboxBench();
  try {
    const p = pair(bench, maxBytes);
    await p.run({ op: "declare", at: names.length - 1 });
    for (const s of steps) {
      await p.run(s);
      compare(p.model, p.outbox());
    }
    await end(p);
  } finally {
    await bench.close();
  }
}

const bound = fc.constantFrom(1e9, 1200, 400);

test("whatever is done to an outbox, it holds what a list would hold", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: "max" }), bound, async (steps, maxBytes) => {
      await runSteps(steps, maxBytes, async (p) => {
        await p.run({ op: "reopen" });
        compare(p.model, p.outbox());
      });
    }),
    settings,
  );
});

test("torn pages cost what they held, counted; all that can be read comes out, and nothing that never was", {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40, size: "max" }),
      fc.nat({ max: 1000 }),
      fc.integer({ min: 1, max: 4 }),
      async (steps, at, pages) => {
        await runSteps(steps, 1e9, (p) => p.tearPages(at, pages));
      },
    ),
    { ...settings, numRuns: Math.ceil(numRuns / 2) },
  );
});
