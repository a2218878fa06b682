import type { CommitNotice } from "@jilian/domain/commit.ts";
import type { OutboxRecord, StoredSample } from "@jilian/gateway/model.ts";
import { expect, vi } from "vitest";
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

/** One step of a run of the commit protocol's model. */
export type Op =
  | { op: "write"; samples: number; poison: number | null }
  | { op: "pass"; ms: number }
  /** The running process is set back, as a reverted virtual machine: what it had written since and sent, so many records, is gone. */
  | { op: "revert"; records: number }
  | { op: "kill gateway" | "kill platform" | "cut" | "connect" | "image" | "restore" };

/** What a run does, and what the bus (each way) and the store do with it: lists that are gone through in turn, for ever. */
export type Plan = {
  ops: readonly Op[];
  up: readonly Fate[];
  down: readonly Fate[];
  moods: readonly StoreMood[];
  /** Its gateways, or its platforms, are of before: times of writing are not read, or not told. */
  isWithoutTimes?: boolean;
};

/** Gives the entries of a list in turn, for ever. */
function cycle<T>(list: readonly T[]): () => T {
  let n = 0;
  return () => list[n++ % list.length] as T;
}

const stepMs = 50;

function withoutTimes({ writtenAtMs: _, refused = [], ...notice }: CommitNotice): CommitNotice {
  return { ...notice, refused: refused.map(({ writtenAtMs: _ms, ...record }) => record) };
}

/**
 * Runs one plan, then lets everything come to rest; fake timers must be on. What does not hold fails an expectation.
 * @returns set-backs that the platform saw and those that the gateway obeyed, samples set aside, samples stored
 */
export async function runModel({ ops, up, down, moods, isWithoutTimes = false }: Plan) {
  const seen = { setBacks: 0, obeyed: 0, asides: 0, stored: 0 };
  /** Kills, images and writes by the box's own clock never give one key to two values: that is shaping's part. */
  let sourceMs = 1_800_000_000_000;
  let calm = false;
  const [upFate, downFate, mood] = [cycle(up), cycle(down), cycle(moods)];
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
    (notice) => connected && gateway.notice(isWithoutTimes ? withoutTimes(notice) : notice),
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
    expect(lost, "lost").toEqual([]);
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

  /**
   * The process is as it was before it wrote some records; they are on their way to the platform. What it writes from now on has their
   * offsets and other times of writing, since time has gone on. Its connection is not set back with it: it breaks.
   */
  function revert(records: number): void {
    const { epoch } = gateway.outbox;
    for (let i = 0; i < records; i += 1) {
      sourceMs += 1;
      const sample = { metricId: 1, value: -1, status: 0, sourceTimeMs: sourceMs, gatewayTimeMs: sourceMs };
      const offset = gateway.outbox.nextOffset() + i;
      toPlatform({ epoch, offset, writtenAtMs: Date.now() - 1, device: "press-1", samples: [sample] });
    }
    connected = false;
    gateway.end();
  }

  async function perform(each: Op): Promise<void> {
    if (each.op === "write") write(each.samples, each.poison);
    else if (each.op === "pass") await pass(each.ms);
    else if (each.op === "connect") connect();
    else if (each.op === "revert") revert(each.records);
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
      seen.obeyed += gateway.commits.stats().setBacks;
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
  // Alone, and once: whatever came with it in a record is stored.
  const times = (samples: readonly StoredSample[]) => samples.map(({ sourceTimeMs }) => sourceTimeMs).toSorted();
  expect(times(aside)).toEqual(times(written.filter(({ value }) => value === poison)));
  const good = written.filter(({ value }) => value !== poison);
  expect(good.filter((sample) => !store.holds(sample))).toEqual([]);
  seen.obeyed += gateway.commits.stats().setBacks;
  seen.asides = aside.length;
  seen.stored = store.size();
  gateway.kill();
  ended.push(platform.kill());
  await vi.advanceTimersByTimeAsync(20_000);
  await Promise.all(ended);
  await box.remove();
  return seen;
}
