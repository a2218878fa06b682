import type { OutboxRecord, StoredSample } from "@jilian/gateway/model.ts";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import {
  type Fate,
  type GatewayProcess,
  gatewayBox,
  memoryStore,
  type PlatformProcess,
  poison,
  type StoreMood,
  startPlatform,
  wayOf,
} from "./test-commit-world.ts";

/**
 * The commit protocol from end to end in one process: the real outbox on files, sender and notice reader of the gateway; the real commit
 * book, queue and writer of the platform. Between them a bus that loses, doubles and delays, a store that fails, and kills on both sides
 * at any step. The model: what was written is stored, or pending, or set aside, at any moment; and once nothing is disturbed any more
 * everything is stored, once, but for what no store takes, which is set aside alone.
 */

type Op =
  | { op: "write"; samples: number; poison: number | null }
  | { op: "pass"; ms: number }
  | { op: "kill gateway" | "kill platform" | "cut" | "connect" | "image" | "restore" };

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      op: fc.constant("write" as const),
      samples: fc.integer({ min: 1, max: 5 }),
      poison: fc.option(fc.nat(4), { freq: 12 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ op: fc.constant("pass" as const), ms: fc.constantFrom(10, 50, 300, 2500) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constantFrom("kill gateway" as const, "kill platform", "cut", "connect", "connect", "image", "restore"),
    }),
  },
);
const fates = fc.array(fc.constantFrom<Fate>("now", "now", "now", "now", "lost", "twice", "late", "very late"), {
  minLength: 1,
  maxLength: 12,
});
const moods = fc.array(fc.constantFrom<StoreMood>("well", "well", "well", "fails", "loses the answer", "is slow"), {
  minLength: 1,
  maxLength: 8,
});

/** Gives the entries of a list in turn, for ever. */
function cycle<T>(list: readonly T[]): () => T {
  let n = 0;
  return () => list[n++ % list.length] as T;
}

const stepMs = 50;
/** Kills, images and writes by the box's own clock never give one key to two values: that is shaping's part. */
let sourceMs = 1_800_000_000_000;

async function run(ops: readonly Op[], up: readonly Fate[], down: readonly Fate[], moodList: readonly StoreMood[]) {
  const seen = { setBacks: 0, asides: 0, stored: 0 };
  let calm = false;
  const [upFate, downFate, mood] = [cycle(up), cycle(down), cycle(moodList)];
  const store = memoryStore(() => (calm ? "well" : mood()));
  const box = gatewayBox();
  let platform: PlatformProcess;
  let connected = false;
  const ended: Promise<void>[] = [];
  const toPlatform = wayOf<OutboxRecord>(
    () => (calm ? "now" : upFate()),
    (record) => platform.arrive(record),
  );
  const toGateway = wayOf<Parameters<GatewayProcess["notice"]>[0]>(
    () => (calm ? "now" : downFate()),
    (notice) => connected && gateway.notice(notice),
  );
  const boot = () =>
    startPlatform(store, toGateway, () => {
      seen.setBacks += 1;
    });
  platform = await boot();
  const startGateway = () => box.start(toPlatform, () => connected);
  let gateway = startGateway();
  const connect = () => {
    if (connected) return;
    connected = true;
    gateway.begin();
  };
  connect();

  let written: StoredSample[] = [];
  let image: string | undefined;
  const held = () =>
    new Set(
      [
        ...gateway.outbox.pending(0, 1e6).flatMap(({ record }) => record.samples),
        ...gateway.outbox.asides(1e6).flatMap(({ samples }) => samples),
      ].map(({ sourceTimeMs }) => sourceTimeMs),
    );

  /** Nothing that was written is anywhere but in the store, pending or set aside. */
  function check(): void {
    const here = held();
    const lost = written.filter((sample) => !here.has(sample.sourceTimeMs) && !store.holds(sample));
    expect(lost).toEqual([]);
    expect(store.conflicts()).toBe(0);
  }

  function write(count: number, bad: number | null): void {
    const samples = Array.from({ length: count }, (_, i): StoredSample => {
      sourceMs += 1;
      const value = i === bad ? poison : sourceMs % 1000;
      return { metricId: 1 + (sourceMs % 3), value, status: 0, sourceTimeMs: sourceMs, gatewayTimeMs: sourceMs };
    });
    written.push(...samples);
    gateway.write(samples);
  }

  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      await vi.advanceTimersByTimeAsync(Math.min(left, stepMs));
      if (connected) gateway.pump();
    }
  }

  async function perform(each: Op): Promise<void> {
    if (each.op === "write") write(each.samples, each.poison);
    else if (each.op === "pass") await pass(each.ms);
    else if (each.op === "connect") connect();
    else if (each.op === "cut") {
      connected = false;
      gateway.end();
    } else if (each.op === "kill platform") {
      ended.push(platform.kill());
      platform = await boot();
    } else if (each.op === "image") image = box.copy();
    else if (each.op === "kill gateway" || image !== undefined) {
      gateway.kill();
      box.use(each.op === "kill gateway" ? box.copy() : (image as string));
      if (each.op === "restore") image = undefined;
      gateway = startGateway();
      if (connected) gateway.begin();
      // What an image does not hold and the platform does not have went with the box: no protocol brings it back.
      const here = held();
      if (each.op === "restore")
        written = written.filter((sample) => here.has(sample.sourceTimeMs) || store.holds(sample));
    }
  }

  for (const each of ops) {
    await perform(each);
    check();
  }
  calm = true;
  connect();
  const isDone = () => gateway.outbox.stats().pendingRecords === 0;
  for (let round = 0; round < 400 && !isDone(); round += 1) {
    // Life goes on beside what is left: only so a record that fails alone shows.
    if (round % 4 === 0 && round < 380) write(1, null);
    await pass(500);
  }
  expect(gateway.outbox.stats().pendingRecords).toBe(0);
  check();
  const aside = gateway.outbox.asides(1e6).flatMap(({ samples }) => samples);
  expect(aside.every(({ value }) => value === poison)).toBe(true);
  const good = written.filter(({ value }) => value !== poison);
  expect(good.filter((sample) => !store.holds(sample))).toEqual([]);
  seen.asides = aside.length;
  seen.stored = store.size();
  gateway.kill();
  ended.push(platform.kill());
  await vi.advanceTimersByTimeAsync(20_000);
  await Promise.all(ended);
  await box.remove();
  return seen;
}

test("stored exactly once in the end, and freed only after it is stored, whatever the bus, the store and kills on either side do", async () => {
  const total = { setBacks: 0, asides: 0, stored: 0 };
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance", "Date"] });
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(op, { minLength: 10, maxLength: 60, size: "max" }),
        fates,
        fates,
        moods,
        async (ops, up, down, moodList) => {
          const seen = await run(ops, up, down, moodList);
          for (const key of ["setBacks", "asides", "stored"] as const) total[key] += seen[key];
        },
      ),
      { numRuns: 20, interruptAfterTimeLimit: 8000, endOnFailure: true },
    );
  } finally {
    vi.useRealTimers();
  }
  expect(total.stored).toBeGreaterThan(50);
});
