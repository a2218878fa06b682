import { type CommitNotice, encodeNotice, type RecordHeader, type RecordId } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type Range, type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";
import { encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { commitMetric, topicOf } from "@jilian/domain/topics.ts";
import type { CommitEntry } from "@jilian/store/telemetry.ts";
import { type Refusal, refusalBook, refusalsOf } from "./refusal-book.ts";

/**
 * What becomes of a record that has arrived:
 * - `new`: to be stored.
 * - `again`: its offset is stored, but this process does not know that it was with this record. To be stored as well: what is there
 *   already is left out, and what is not shows that the offset was given twice (`setBack`).
 * - `repeat`: this very record is stored; the notice was lost, and another becomes due.
 * - `on its way`: this very record is; its notice will come.
 * - `contested`: another record of the same offset is on its way. It must come again.
 * - `refused`: the store has refused it a short while ago, of which another notice becomes due.
 */
export type Claim = "new" | "again" | "repeat" | "on its way" | "contested" | "refused";

/**
 * Which outbox records are stored, which are on their way, and which notices are due. A notice frees a record at its gateway, so one becomes
 * due only for what this process has seen stored, or knows to be a repeat of it: same offset, same time of writing, which the notice tells.
 * A gateway that was set back to an earlier image uses offsets again for other readings; those are never answered as stored before they are.
 * Of an epoch that was seen set back nothing is freed any more: every notice of it says that, until its gateway has taken another one. A
 * gateway of before that does not read times of writing, and did not hear the first of them, is safe by that.
 */
export type CommitBook = {
  readonly claim: (group: string, node: string, record: RecordHeader) => Claim;
  /** Gives up a record that was claimed and shed: it may come again. */
  readonly release: (group: string, node: string, record: RecordId) => void;
  /**
   * Gives up a claimed record that the store refused for itself: it is refused at once for a while, longer each time.
   * @param told what its gateway is told of it; nothing when absent
   */
  readonly refuse: (group: string, node: string, record: RecordHeader, told?: Refusal) => void;
  /**
   * Offsets of which nothing more is to come: the store refuses samples of their records, and the gateways are told. To be stored with
   * the next write, since each would leave a hole in the ranges that stays as long as its epoch.
   */
  readonly refusedRanges: () => CommitEntry[];
  /** Notes that the store has those ranges. No notice becomes due: one of the records may be on its way again. */
  readonly refusedStored: (entries: readonly CommitEntry[]) => void;
  /** Notes what the store has confirmed; notices become due. */
  readonly stored: (entries: readonly CommitEntry[]) => void;
  /** Notes that a gateway gave an offset of this epoch to two records; each notice tells it so from now on, and nothing else. */
  readonly setBack: (group: string, node: string, epoch: string) => void;
  /** The last record of an epoch that is stored; without its time of writing where this process has not seen it stored. */
  readonly lastStored: (
    group: string,
    node: string,
    epoch: string,
  ) => { offset: number; writtenAtMs: number | undefined } | undefined;
  /** The notices that are due, as NCMD messages; they are due no longer. */
  readonly notices: (atMs: number) => { topic: string; payload: Uint8Array }[];
};

export type CommitBookOptions = {
  /** Told whenever a gateway is found to have been set back; perhaps many times for one case. */
  onSetBack?: (group: string, node: string, epoch: string) => void;
  /** A clock that only goes forward, ms. */
  nowMs?: () => number;
  /** Epochs kept in mind; the one unused for longest is forgotten first: what comes of it is stored again, which changes nothing. */
  maxEpochs?: number;
  /** Records, of one epoch and of all, whose time of writing is kept in mind. */
  maxRemembered?: { ofEpoch: number; all: number };
};

type Epoch = {
  group: string;
  node: string;
  epoch: string;
  stored: RangeSet;
  /** Highest offset stored; -1 for none. */
  last: number;
  /** Offsets whose notice is due, with the time at which their record was written. */
  due: Map<number, number>;
  refusedDue: Map<number, Refusal>;
  /** Refused offsets that are not noted as stored yet. */
  refused: RangeSet | undefined;
  /** An offset was given to two records: for good, since a notice that says so may be lost. */
  isSetBack: boolean;
  /** The same times of what is on its way. */
  claimed: Map<number, number>;
  /** And of what was stored last, the oldest first. */
  written: Map<number, number>;
};

/** Most ranges and records in one notice: it must stay a small message. */
const perNotice = { ranges: 500, records: 2000 };

/** Stored records, in parts of a notice each: as ranges, with the time at which each record was written. */
function rangesOf(due: ReadonlyMap<number, number>): { ranges: Range[]; writtenAtMs: number[] }[] {
  const parts: { ranges: [first: number, last: number][]; writtenAtMs: number[] }[] = [];
  for (const [offset, writtenAtMs] of [...due].sort(([a], [b]) => a - b)) {
    let part = parts.at(-1);
    let range = part?.ranges.at(-1);
    if (range?.[1] !== offset - 1) range = undefined;
    const isFull = !range && part?.ranges.length === perNotice.ranges;
    if (!part || isFull || part.writtenAtMs.length === perNotice.records) {
      part = { ranges: [], writtenAtMs: [] };
      range = undefined;
      parts.push(part);
    }
    if (range) range[1] = offset;
    else part.ranges.push([offset, offset]);
    part.writtenAtMs.push(writtenAtMs);
  }
  return parts;
}

function noticesOf({ group, node, epoch, last, due, refusedDue, isSetBack }: Epoch, atMs: number) {
  const told: Pick<CommitNotice, "ranges" | "writtenAtMs" | "setBack" | "refused">[] = isSetBack
    ? [{ ranges: [], setBack: true }]
    : [...rangesOf(due), ...refusalsOf(refusedDue).map((refused) => ({ ranges: [], refused }))];
  return told.map((each) => {
    const value = encodeNotice({ epoch, atMs, ...each, ...(last >= 0 ? { last } : {}) });
    const metric = { name: commitMetric, timestampMs: atMs, datatype: DataType.String, declare: true, value };
    return {
      topic: topicOf({ group, type: "NCMD", node }),
      payload: encodePayload({ timestampMs: atMs, metrics: [metric] }),
    };
  });
}

function isWithin(set: RangeSet, first: number, last: number): boolean {
  const [found] = set.within(first, last);
  return found?.[0] === first && found[1] === last;
}

/** @param committed what the store holds at the start */
export function commitBook(committed: readonly CommitEntry[], options: CommitBookOptions = {}): CommitBook {
  const { onSetBack, nowMs = () => performance.now(), maxEpochs = 50_000 } = options;
  const { ofEpoch, all } = options.maxRemembered ?? { ofEpoch: 4000, all: 500_000 };
  const epochs = new Map<string, Epoch>();
  /** Those with notices due: epochs are as many as gateways ever started, and few of them are alive. */
  const owed = new Set<Epoch>();
  /** Those with refused offsets that are not noted as stored yet. */
  const refusing = new Set<Epoch>();
  /** Those with times of writing in mind, the one that was stored longest ago first. */
  const remembering = new Set<Epoch>();
  const refused = refusalBook(nowMs);
  let remembered = 0;

  function epochOf(group: string, node: string, epoch: string): Epoch {
    return getOrMake(epochs, `${group}/${node}/${epoch}`, () => ({
      group,
      node,
      epoch,
      stored: rangeSet(),
      last: -1,
      due: new Map(),
      refusedDue: new Map(),
      refused: undefined,
      isSetBack: false,
      claimed: new Map(),
      written: new Map(),
    }));
  }

  /** Makes room: an epoch on which nothing hangs is forgotten. */
  function forgetEpochs(): void {
    if (epochs.size <= maxEpochs) return;
    for (const [key, epoch] of epochs) {
      if (epochs.size <= maxEpochs) return;
      if (epoch.claimed.size > 0 || owed.has(epoch) || refusing.has(epoch)) continue;
      remembered -= epoch.written.size;
      remembering.delete(epoch);
      epochs.delete(key);
    }
  }

  function owe(epoch: Epoch, offset: number, writtenAtMs: number): void {
    epoch.due.set(offset, writtenAtMs);
    owed.add(epoch);
  }

  function oweRefusal(epoch: Epoch, { offset, writtenAtMs }: RecordHeader, told: Refusal | undefined): void {
    if (!told) return;
    epoch.refusedDue.set(offset, { writtenAtMs, ...told });
    owed.add(epoch);
  }

  function remember(epoch: Epoch, offset: number, writtenAtMs: number): void {
    if (!epoch.written.delete(offset)) remembered += 1;
    epoch.written.set(offset, writtenAtMs);
    if (epoch.written.size > ofEpoch) {
      epoch.written.delete(epoch.written.keys().next().value as number);
      remembered -= 1;
    }
    for (const other of remembering) {
      if (remembered <= all || other === epoch) break;
      remembered -= other.written.size;
      other.written.clear();
      remembering.delete(other);
    }
  }

  function setBack(group: string, node: string, name: string): void {
    const epoch = epochOf(group, node, name);
    epoch.isSetBack = true;
    owed.add(epoch);
    onSetBack?.(group, node, name);
  }

  function claim(group: string, node: string, record: RecordHeader): Claim {
    const { epoch: name, offset, writtenAtMs } = record;
    const epoch = epochOf(group, node, name);
    // Whatever comes of it is answered, until its gateway has heard.
    if (epoch.isSetBack) owed.add(epoch);
    const underWay = epoch.claimed.get(offset);
    if (underWay === writtenAtMs) return "on its way";
    if (underWay !== undefined) {
      setBack(group, node, name);
      return "contested";
    }
    const refusal = refused.find(group, node, record);
    if (refusal) {
      oweRefusal(epoch, record, refusal.told);
      return "refused";
    }
    const known = epoch.written.get(offset) ?? epoch.due.get(offset);
    if (known === writtenAtMs) {
      owe(epoch, offset, writtenAtMs);
      return "repeat";
    }
    const refusedAtMs = refused.writtenAtMs(group, node, record);
    if ((known ?? refusedAtMs ?? writtenAtMs) !== writtenAtMs) setBack(group, node, name);
    epoch.claimed.set(offset, writtenAtMs);
    // What was refused may be taken now: that shows nothing else.
    return epoch.stored.has(offset) && refusedAtMs !== writtenAtMs ? "again" : "new";
  }

  function release(group: string, node: string, { epoch: name, offset }: RecordId): void {
    epochOf(group, node, name).claimed.delete(offset);
  }

  function note(epoch: Epoch, first: number, last: number): void {
    epoch.stored.add(first, last);
    epoch.last = Math.max(epoch.last, last);
  }

  /** Notices for stored offsets become due, for the records that were on their way. */
  function settle(epoch: Epoch, first: number, last: number): void {
    for (let n = first; n <= last; n += 1) {
      const writtenAtMs = epoch.claimed.get(n);
      if (writtenAtMs === undefined) continue;
      epoch.claimed.delete(n);
      remember(epoch, n, writtenAtMs);
      owe(epoch, n, writtenAtMs);
    }
  }

  for (const { group, node, epoch: name, ranges } of committed) {
    const epoch = epochOf(group, node, name);
    for (const [first, last] of ranges) note(epoch, first, last);
    forgetEpochs();
  }
  return {
    claim,
    release,
    refuse: (group, node, record, told) => {
      release(group, node, record);
      refused.add(group, node, record, told);
      if (!told) return;
      const epoch = epochOf(group, node, record.epoch);
      oweRefusal(epoch, record, told);
      epoch.refused ??= rangeSet();
      epoch.refused.add(record.offset, record.offset);
      refusing.add(epoch);
    },
    refusedRanges: () =>
      [...refusing].map(({ group, node, epoch, refused: found }) => ({
        group,
        node,
        epoch,
        ranges: found?.ranges() ?? [],
      })),
    refusedStored: (entries) => {
      for (const { group, node, epoch: name, ranges } of entries) {
        const epoch = epochOf(group, node, name);
        for (const [first, last] of ranges) note(epoch, first, last);
        const left = epoch.refused?.ranges().filter(([first, last]) => !isWithin(epoch.stored, first, last));
        epoch.refused = left && left.length > 0 ? rangeSet(left) : undefined;
        if (!epoch.refused) refusing.delete(epoch);
      }
    },
    stored: (entries) => {
      for (const { group, node, epoch: name, ranges } of entries) {
        const epoch = epochOf(group, node, name);
        // Used last, forgotten last.
        const key = `${group}/${node}/${name}`;
        epochs.delete(key);
        epochs.set(key, epoch);
        remembering.delete(epoch);
        remembering.add(epoch);
        for (const [first, last] of ranges) {
          note(epoch, first, last);
          settle(epoch, first, last);
        }
      }
      forgetEpochs();
    },
    setBack,
    lastStored: (group, node, name) => {
      const epoch = epochs.get(`${group}/${node}/${name}`);
      if (!epoch || epoch.last < 0) return undefined;
      return { offset: epoch.last, writtenAtMs: epoch.written.get(epoch.last) };
    },
    notices: (atMs) => {
      const messages = [...owed].flatMap((epoch) => noticesOf(epoch, atMs));
      for (const epoch of owed) {
        epoch.due.clear();
        epoch.refusedDue.clear();
      }
      owed.clear();
      return messages;
    },
  };
}
