/** The world of the commit protocol's model test: a store in memory that keeps the contract, a bus, and gateways and platforms that crash. */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommitNotice, decodeNotice } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { rangeSet } from "@jilian/domain/range-set.ts";
import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { commitReader } from "@jilian/gateway/edge-commit.ts";
import type { OutboxRecord, StoredSample } from "@jilian/gateway/model.ts";
import { type OpenedOutbox, openOutbox } from "@jilian/gateway/outbox.ts";
import { createSender } from "@jilian/gateway/sender.ts";
import { commitBook } from "@jilian/ingest/commit-book.ts";
import { liveWriter } from "@jilian/ingest/live-writer.ts";
import { recordQueue } from "@jilian/ingest/queue.ts";
import type { BornMetric } from "@jilian/ingest/sessions.ts";
import { silent, testRegistry } from "@jilian/ingest/test-world.ts";
import { startWriter } from "@jilian/ingest/write.ts";
import { createLiveState } from "@jilian/store/live.ts";
import type { Telemetry, WriteBatch, WriteOutcome } from "@jilian/store/telemetry.ts";

const place = { group: "f1", node: "gw-1" } as const;
const clock = { now: () => Date.now(), rate: 1 };
/** What the store never takes. */
export const poison = "poison";

/** What a write comes to: stored; nothing done; stored, and the answer is lost; stored after a while. */
export type StoreMood = "well" | "fails" | "loses the answer" | "is slow";
/** What a bus does with a message. */
export type Fate = "now" | "lost" | "twice" | "late" | "very late";

const lateMs: Partial<Record<Fate, number>> = { late: 700, "very late": 5000 };

const later = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const storeError = (code: string) => new JilianError(code, { code, action: "write", remedy: "none" });

/** A telemetry store that keeps its contract, and fails as a real one does. It survives every process. */
export function memoryStore(moodOf: () => StoreMood) {
  const series = new Map<string, number>();
  const samples = new Map<string, unknown>();
  const committed = new Map<string, ReturnType<typeof rangeSet>>();
  let tx = 0;
  let conflicts = 0;

  function take({ samples: rows, commits }: WriteBatch): WriteOutcome {
    if (rows.some(({ value }) => value === poison)) throw storeError("VALUE_MISFIT");
    const outcome = { tx: tx + 1, written: 0, duplicates: 0, conflicts: 0 };
    for (const { series: id, sourceTimeMs, value } of rows) {
      const key = `${id}@${sourceTimeMs}`;
      if (!samples.has(key)) {
        samples.set(key, value);
        outcome.written += 1;
      } else if (samples.get(key) === value) outcome.duplicates += 1;
      else outcome.conflicts += 1;
    }
    for (const { epoch, ranges } of commits) {
      const set = committed.get(epoch) ?? rangeSet();
      for (const [first, last] of ranges) set.add(first, last);
      committed.set(epoch, set);
    }
    tx += 1;
    conflicts += outcome.conflicts;
    return outcome;
  }

  const telemetry = {
    ensureSeries: async (wanted: readonly { metric: string }[]) =>
      wanted.map(({ metric }) => {
        const id = series.get(metric) ?? series.size + 1;
        series.set(metric, id);
        return id;
      }),
    committed: async () => [...committed].map(([epoch, set]) => ({ ...place, epoch, ranges: set.ranges() })),
    write: async (batch: WriteBatch) => {
      const mood = moodOf();
      if (mood === "fails") throw storeError("STORE_UNREACHABLE");
      const outcome = take(batch);
      if (mood === "is slow") await later(3000);
      if (mood === "loses the answer") throw storeError("STORE_UNREACHABLE");
      return outcome;
    },
  };
  return {
    telemetry: telemetry as unknown as Telemetry,
    holds: ({ metricId, sourceTimeMs, value }: StoredSample) =>
      samples.get(`${series.get(`m${metricId}`)}@${sourceTimeMs}`) === value,
    size: () => samples.size,
    conflicts: () => conflicts,
  };
}
export type MemoryStore = ReturnType<typeof memoryStore>;

/** One way of a bus: to whoever is there when the message arrives. */
export function wayOf<T>(fateOf: () => Fate, arrive: (message: T) => void): (message: T) => void {
  return (message) => {
    const fate = fateOf();
    if (fate === "lost") return;
    const ms = lateMs[fate] ?? 1;
    for (let times = fate === "twice" ? 2 : 1; times > 0; times -= 1) setTimeout(() => arrive(message), ms);
  };
}

/** The platform's process: the real book, queue and writer on the store. */
export async function startPlatform(
  store: MemoryStore,
  toGateway: (notice: CommitNotice) => void,
  onSetBack: () => void,
) {
  let dead = false;
  /** A process that was killed sends nothing any more and learns nothing; what the store has begun for it, it does. */
  const alive =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A) => {
      if (dead) throw storeError("STORE_CLOSED");
      return await call(...args);
    };
  const telemetry = {
    ...store.telemetry,
    ensureSeries: alive(store.telemetry.ensureSeries),
    write: alive(store.telemetry.write),
  };
  const live = createLiveState();
  const notes = { finding: () => "noted" as const, birth: () => undefined, unregistered: () => undefined };
  const queue = recordQueue(60);
  const book = commitBook(await store.telemetry.committed(), { onSetBack });
  const metrics = new Map<number, BornMetric>();
  const metricOf = (id: number): BornMetric => {
    const name = `m${id}`;
    const known = metrics.get(id) ?? {
      key: { ...place, device: "press-1", metric: name },
      definition: { name, datatype: DataType.Double, simulated: false },
      ...{ seriesId: undefined, sinceMs: 0, doubtMs: 0 },
    };
    metrics.set(id, known);
    return known;
  };
  const writer = startWriter({
    queue,
    book,
    telemetry,
    notes,
    live: liveWriter(live, { notes, registry: testRegistry(true), clock }),
    bus: {
      onMessage: () => () => undefined,
      publish: async (_, payload) => {
        const wire = decodePayload(payload).metrics[0]?.wire;
        if (!dead && wire?.case === "stringValue") toGateway(decodeNotice(wire.value));
      },
    },
    clock,
    log: silent,
    batchSamples: 20,
    lingerMs: 10,
  });
  return {
    counters: live.counters,
    arrive: ({ epoch, offset, writtenAtMs, samples }: OutboxRecord): void => {
      if (dead) return;
      const record = { epoch, offset, writtenAtMs };
      const claim = book.claim(place.group, place.node, record);
      if (claim !== "new" && claim !== "again") return;
      const queued = samples.map(({ metricId, ...sample }) => ({ ...sample, metric: metricOf(metricId) }));
      const isQueued = queue.push({
        ...place,
        record,
        samples: queued,
        receivedAtMs: Date.now(),
        again: claim === "again",
      });
      if (!isQueued) book.release(place.group, place.node, record);
    },
    /** SIGKILL. */
    kill: async (): Promise<void> => {
      dead = true;
      const ended = writer.close();
      // Its writer may be waiting for a slow store: that answer comes in its own time.
      return ended;
    },
  };
}
export type PlatformProcess = Awaited<ReturnType<typeof startPlatform>>;

/** The gateway's processes, one after the other, on the files of one box. */
export function gatewayBox() {
  const folder = mkdtempSync(join(tmpdir(), "commit-model-"));
  let copies = 0;
  let path = join(folder, "outbox-0.db");
  const opened: OpenedOutbox[] = [];

  /** The files as they are now, as a kill leaves them, or an image that is made of them. */
  function copy(): string {
    copies += 1;
    const to = join(folder, `outbox-${copies}.db`);
    for (const suffix of ["", "-wal"]) if (existsSync(path + suffix)) copyFileSync(path + suffix, to + suffix);
    return to;
  }

  function start(toPlatform: (record: OutboxRecord) => void, isConnected: () => boolean) {
    const outbox = openOutbox({ path, maxBytes: 1e8, fsyncMs: 1e6, ...place, clock, log: silent });
    opened.push(outbox);
    outbox.declare(
      "press-1",
      [1, 2, 3].map((n) => ({ name: `m${n}`, datatype: DataType.Double, simulated: false })),
    );
    const settings = {
      backlogRecordsPerSecond: 200,
      backlogBytesPerSecond: 1e6,
      commitTimeoutMs: 2000,
      maxInFlightRecords: 30,
    };
    const sender = createSender({ outbox, settings, log: silent });
    const commits = commitReader({ outbox, sender, log: silent });
    let dead = false;
    const begin = () =>
      sender.begin({
        hasRoom: () => isConnected(),
        send: (record) => {
          if (!dead) toPlatform(record);
          return 50 + 20 * record.samples.length;
        },
      });
    return {
      outbox,
      commits,
      begin,
      end: sender.end,
      pump: sender.pump,
      write: (samples: readonly StoredSample[]): void => {
        const record = outbox.write("press-1", samples);
        if (record && isConnected()) sender.live(record);
      },
      notice: (notice: CommitNotice): void => {
        if (!dead) commits.read(notice);
      },
      kill: (): void => {
        dead = true;
        sender.end();
      },
    };
  }

  return {
    start,
    copy,
    use: (other: string): void => {
      path = other;
    },
    remove: async (): Promise<void> => {
      for (const outbox of opened) await outbox.close();
      rmSync(folder, { recursive: true });
    },
  };
}
export type GatewayProcess = ReturnType<ReturnType<typeof gatewayBox>["start"]>;
