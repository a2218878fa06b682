import type { RefusedRecord } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";
import { pino } from "pino";
import { commitReader } from "./edge-commit.ts";
import type { OutboxRecord, StoredSample } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { createSender, type SenderSettings } from "./sender.ts";
import { sample, timesOf } from "./test-outbox.ts";

/** What becomes of a record: `cuts` ends the connection as soon as it is sent, the others are the platform's doing once it has arrived. */
export type Verdict = "stores" | "refuses" | "loses" | "cuts";

/** A platform that tells what its store refuses. */
export type Refusing = {
  /** Whether its store refuses a sample, by its value. */
  isBad: (value: StoredSample["value"]) => boolean;
  /** Beyond so many of a record it asks for the record in parts. */
  mostNamed?: number;
};

const stepMs = 50;
const reconnectMs = 1000;
const silent = pino({ level: "silent" });

/**
 * For tests: a sender on a real outbox, with a platform that takes its records in order and commits them after a delay, in a time of its
 * own that passes as fast as the machine can. Samples are told apart by their values.
 */
export function senderWorld(outbox: OpenedOutbox, settings: SenderSettings) {
  let nowMs = 1_000_000;
  let verdict: (record: OutboxRecord) => Verdict = () => "stores";
  let refusing: Refusing | undefined;
  let delayMs = 300;
  const onTheWay: { record: OutboxRecord; sentMs: number }[] = [];
  const stored = new Set<StoredSample["value"]>();
  const sent: { record: OutboxRecord; atMs: number }[] = [];
  let isCut = false;
  let cuts = 0;
  let connectMs = Number.POSITIVE_INFINITY;
  const sender = createSender({ outbox, settings, log: silent, now: () => nowMs });
  const commits = commitReader({ outbox, sender, log: silent, now: () => nowMs });
  const transport = {
    hasRoom: () => true,
    send: (record: OutboxRecord): number => {
      sent.push({ record, atMs: nowMs });
      if (verdict(record) === "cuts") isCut = true;
      // What comes after that is read by nobody.
      if (!isCut) onTheWay.push({ record, sentMs: nowMs });
      return 60 + 20 * record.samples.length;
    },
  };

  /** What the platform says of a record that its store does not take whole; the other samples of it are stored. */
  function refusalOf({ offset, writtenAtMs, samples }: OutboxRecord): RefusedRecord | undefined {
    const { isBad, mostNamed = 100 } = refusing ?? { isBad: () => false };
    const bad = samples.filter(({ value }) => isBad(value));
    if (bad.length === 0) return undefined;
    const told = { offset, writtenAtMs, code: "VALUE_MISFIT" };
    if (bad.length > mostNamed) return told;
    for (const { value } of samples) if (!isBad(value)) stored.add(value);
    const names = new Map(outbox.metrics().map(({ id, definition }) => [id, definition.name]));
    return { ...told, samples: bad.map(({ metricId, sourceTimeMs }) => [names.get(metricId) ?? "", sourceTimeMs]) };
  }

  function arrive(): void {
    const due = new Map<string, { set: RangeSet; refused: RefusedRecord[]; writtenAtMs: Map<number, number> }>();
    for (let first = onTheWay[0]; first && first.sentMs + delayMs <= nowMs; first = onTheWay[0]) {
      onTheWay.shift();
      const { record } = first;
      if (verdict(record) !== "stores") continue;
      const empty = () => ({ set: rangeSet(), refused: [], writtenAtMs: new Map() });
      const { set, refused, writtenAtMs } = getOrMake(due, record.epoch, empty);
      writtenAtMs.set(record.offset, record.writtenAtMs);
      const refusal = refusalOf(record);
      if (refusal) refused.push(refusal);
      else {
        for (const { value } of record.samples) stored.add(value);
        set.add(record.offset, record.offset);
      }
    }
    for (const [epoch, { set, refused, writtenAtMs }] of due) {
      const ranges = set.ranges();
      commits.read({ epoch, ranges, writtenAtMs: timesOf(ranges, writtenAtMs), atMs: nowMs, refused });
    }
  }

  /** The end of a connection: what had arrived is stored, but no notice of it comes through; the next begins soon after. */
  function cut(): void {
    for (const { record } of onTheWay.splice(0)) {
      if (verdict(record) === "stores") for (const { value } of record.samples) stored.add(value);
    }
    sender.end(true);
    cuts += 1;
    isCut = false;
    connectMs = nowMs + reconnectMs;
  }

  return {
    sender,
    commits,
    cut,
    cuts: () => cuts,
    sent,
    stored,
    now: () => nowMs,
    connect: (): void => sender.begin(transport),
    /** From now on. */
    platform: (is: { verdict?: typeof verdict; refusing?: Refusing; delayMs?: number }): void => {
      verdict = is.verdict ?? verdict;
      refusing = is.refusing ?? refusing;
      delayMs = is.delayMs ?? delayMs;
    },
    /** Lets time pass, until a condition holds if there is one. @returns the seconds that passed */
    pass: (seconds: number, until: () => boolean = () => false, each: () => void = () => undefined): number => {
      const fromMs = nowMs;
      for (; nowMs < fromMs + seconds * 1000 && !until(); nowMs += stepMs) {
        arrive();
        each();
        if (connectMs <= nowMs) {
          connectMs = Number.POSITIVE_INFINITY;
          sender.begin(transport);
        }
        sender.pump();
        if (isCut) cut();
      }
      return (nowMs - fromMs) / 1000;
    },
  };
}

export const settings = {
  backlogRecordsPerSecond: 500,
  backlogBytesPerSecond: 2_000_000,
  commitTimeoutMs: 10_000,
  maxInFlightRecords: 2000,
};
let value = 0;

/** For tests: such a world with a device that goes on living, one sample every half second by `live`; no value comes twice in a file. */
export function livingWorld(outbox: OpenedOutbox) {
  const [a = 0] = outbox.declare("press", [{ name: "a", datatype: DataType.Double, simulated: false }]);
  const world = senderWorld(outbox, settings);
  const written = new Set<number>();

  function add(count: number): { values: number[]; record: OutboxRecord | undefined } {
    const values = Array.from({ length: count }, () => (value += 1));
    for (const v of values) written.add(v);
    return {
      values,
      record: outbox.write(
        "press",
        values.map((v) => sample(a, v)),
      ),
    };
  }

  let nextMs = 0;
  const live = (): void => {
    if (world.now() < nextMs) return;
    nextMs = world.now() + 500;
    const { record } = add(1);
    if (record) world.sender.live(record);
  };
  return { ...world, outbox, written, write: (samples: number): number[] => add(samples).values, live };
}
