import { DatabaseSync } from "node:sqlite";
import type { RecordId } from "@jilian/domain/commit.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import fc from "fast-check";
import type { OutboxRecord, StoredSample } from "./model.ts";
import { encodeSamples } from "./outbox-record.ts";

export const devices = ["press", "oven"];
export const names = ["a", "b", "c"];
const n = fc.nat({ max: 1000 });
const values = fc.oneof(
  fc.integer(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.string({ maxLength: 40 }),
  fc.boolean(),
  fc.constant(null),
);
const range = fc.tuple(fc.nat({ max: 30 }), fc.nat({ max: 6 })).map(([first, more]): Range => [first, first + more]);
/** One thing that is done to an outbox. */
export const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant("write"),
      device: n,
      values: fc.array(values, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("commit"), epoch: n, ranges: fc.array(range, { maxLength: 3 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constantFrom("split", "setAside", "setAsideOne", "replay", "dropAside"), at: n }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom("replayAll", "dropAllAsides", "reopen", "crash") }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom("renew", "flipBit", "declare"), at: n }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constantFrom("note", "noteDevice"),
      key: n,
      value: fc.option(fc.string(), { nil: undefined }),
    }),
  },
);
export type Step = {
  op: string;
  device?: number;
  values?: StoredSample["value"][];
  epoch?: number;
  ranges?: Range[];
  at?: number;
  key?: number;
  value?: string | undefined;
};

/** What an outbox should hold, in the plainest form: lists, and the rules of CONTRACTS 2 in words of arrays. For property tests. */
export type ModelRecord = RecordId & {
  device: string;
  samples: readonly StoredSample[];
  broken: boolean;
  serial: number;
};

/** Room of a record, as documented: its bytes and 32 more. */
export const sizeOf = (samples: readonly StoredSample[]): number => encodeSamples(samples).length + 32;

export type OutboxModel = ReturnType<typeof outboxModel>;

export function outboxModel(maxBytes: number) {
  let pending: ModelRecord[] = [];
  let asides: ModelRecord[] = [];
  let serial = 0;
  const counts = { dropped: 0, setAside: 0, droppedAsides: 0 };
  const droppedOf = new Map<number, number>();
  const lastSourceMs = new Map<string, number>();
  const notes = new Map<string, string>();
  const deviceNotes = new Map<string, string>();
  const contents = new Map<string, string>();

  const bytes = (): number => pending.reduce((sum, { samples }) => sum + sizeOf(samples), 0);

  function drop({ samples, broken }: Pick<ModelRecord, "samples" | "broken">): void {
    counts.dropped += samples.length;
    if (!broken) for (const { metricId } of samples) droppedOf.set(metricId, (droppedOf.get(metricId) ?? 0) + 1);
  }

  /** An id is never given to other content. */
  function remember({
    epoch,
    offset,
    device,
    samples,
  }: Pick<ModelRecord, "epoch" | "offset" | "device" | "samples">): void {
    const text = `${device} ${encodeSamples(samples).toString("hex")}`;
    const before = contents.get(`${epoch}:${offset}`);
    if (before !== undefined && before !== text) throw new Error(`${epoch}:${offset} was given to other content`);
    contents.set(`${epoch}:${offset}`, text);
  }

  function add(record: OutboxRecord): void {
    const { epoch, offset, device, samples } = record;
    remember(record);
    serial += 1;
    pending.push({ epoch, offset, device, samples, broken: false, serial });
  }

  return {
    pending: () => pending,
    asides: () => asides,
    counts,
    droppedOf,
    lastSourceMs,
    notes,
    deviceNotes,
    bytes,
    remember,
    /** What a write should drop: itself (false), or the oldest until it fits. */
    makeRoom(device: string, samples: readonly StoredSample[]): boolean {
      const size = sizeOf(samples);
      if (size > maxBytes) {
        drop({ samples, broken: false });
        return false;
      }
      while (bytes() + size > maxBytes) drop(pending.shift() as ModelRecord);
      for (const { sourceTimeMs } of samples)
        lastSourceMs.set(device, Math.max(lastSourceMs.get(device) ?? 0, sourceTimeMs));
      return true;
    },
    add,
    commit(epoch: string, ranges: readonly Range[]): number {
      const before = pending.length;
      pending = pending.filter((r) => r.epoch !== epoch || !ranges.some(([a, b]) => a <= r.offset && r.offset <= b));
      return before - pending.length;
    },
    split(i: number, halves: readonly OutboxRecord[]): void {
      pending.splice(i, 1);
      for (const half of halves) add(half);
    },
    /** @param only the samples that are set aside, all if absent; the others are freed */
    setAside(i: number, only?: readonly StoredSample[]): void {
      const [record] = pending.splice(i, 1);
      if (record) asides.push({ ...record, samples: only ?? record.samples });
      asides.sort((a, b) => a.serial - b.serial);
      counts.setAside += 1;
    },
    /** What replaying should move: those that can be read, while there is room. Returns them; they are asides no more. */
    replay(wanted: readonly ModelRecord[]): ModelRecord[] {
      const moved: ModelRecord[] = [];
      let room = maxBytes - bytes();
      for (const record of wanted.filter(({ broken }) => !broken)) {
        room -= sizeOf(record.samples);
        if (room < 0) break;
        moved.push(record);
      }
      asides = asides.filter((record) => !moved.includes(record));
      return moved;
    },
    dropAsides(wanted: readonly ModelRecord[]): void {
      asides = asides.filter((record) => !wanted.includes(record));
      counts.droppedAsides += wanted.length;
    },
    rename(from: string, to: string): void {
      pending = pending.map((record) => (record.epoch === from ? { ...record, epoch: to } : record));
      for (const record of pending) remember(record);
    },
  };
}

export const hexOf = (bytes: unknown) => Buffer.from(bytes as Uint8Array).toString("hex");

/** Position and bytes of the records of a closed file. */
export function recordsIn(path: string): Map<number, string> {
  const db = new DatabaseSync(path);
  const rows = db.prepare("SELECT position, bytes FROM record").all();
  db.close();
  return new Map(rows.map(({ position, bytes }) => [Number(position), hexOf(bytes)]));
}

/** Which of them SQLite can still read one by one, none where nobody knows any more what their metrics are. */
export function readableIn(path: string, records: ReadonlyMap<number, string>): Set<string> {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    db.prepare("SELECT * FROM metric").all();
    const found = [...records].filter(([position, bytes]) => {
      try {
        return hexOf(db.prepare("SELECT bytes FROM record WHERE position = ?").get(position)?.bytes) === bytes;
      } catch {
        return false;
      }
    });
    return new Set(found.map(([, bytes]) => bytes));
  } catch {
    return new Set();
  } finally {
    db.close();
  }
}
