import { encodeNotice, type RecordId } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";
import { encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { commitMetric, topicOf } from "@jilian/domain/topics.ts";
import type { CommitEntry } from "@jilian/store/telemetry.ts";

/**
 * Which outbox records are stored, which are on their way, and which notices are due. A record is stored once: a repeated one is answered
 * with a notice (the first was lost) or left to the one on its way.
 */
export type CommitBook = {
  /** True when the record is new here and is now on its way. False: it is stored (a notice becomes due) or on its way already. */
  readonly claim: (group: string, node: string, record: RecordId) => boolean;
  /** Gives up a record that was claimed and shed: it may come again. */
  readonly release: (group: string, node: string, record: RecordId) => void;
  /** Notes what the store has confirmed; notices become due. */
  readonly stored: (entries: readonly CommitEntry[]) => void;
  /** The notices that are due, as NCMD messages; they are due no longer. */
  readonly notices: (atMs: number) => { topic: string; payload: Uint8Array }[];
};

type Epoch = {
  group: string;
  node: string;
  epoch: string;
  stored: RangeSet;
  claimed: Set<number>;
  due: RangeSet;
};

/** Most ranges in one notice: it must stay a small message. */
const rangesPerNotice = 500;

export function commitBook(committed: readonly CommitEntry[]): CommitBook {
  const epochs = new Map<string, Epoch>();
  /** Those with notices due: epochs are as many as gateways ever started, and few of them are alive. */
  const owed = new Set<Epoch>();

  function epochOf(group: string, node: string, epoch: string): Epoch {
    return getOrMake(epochs, `${group}/${node}/${epoch}`, () => ({
      group,
      node,
      epoch,
      stored: rangeSet(),
      claimed: new Set(),
      due: rangeSet(),
    }));
  }

  function owe(epoch: Epoch, first: number, last: number): void {
    epoch.due.add(first, last);
    owed.add(epoch);
  }

  for (const { group, node, epoch, ranges } of committed) {
    for (const [first, last] of ranges) epochOf(group, node, epoch).stored.add(first, last);
  }
  return {
    claim: (group, node, { epoch: epochId, offset }) => {
      const epoch = epochOf(group, node, epochId);
      if (epoch.stored.has(offset)) {
        owe(epoch, offset, offset);
        return false;
      }
      if (epoch.claimed.has(offset)) return false;
      epoch.claimed.add(offset);
      return true;
    },
    release: (group, node, { epoch, offset }) => epochOf(group, node, epoch).claimed.delete(offset),
    stored: (entries) => {
      for (const { group, node, epoch: epochId, ranges } of entries) {
        const epoch = epochOf(group, node, epochId);
        for (const [first, last] of ranges) {
          epoch.stored.add(first, last);
          owe(epoch, first, last);
          for (let n = first; n <= last; n += 1) epoch.claimed.delete(n);
        }
      }
    },
    notices: (atMs) => {
      const messages: { topic: string; payload: Uint8Array }[] = [];
      for (const epoch of owed) {
        const ranges = epoch.due.ranges();
        epoch.due = rangeSet();
        for (let i = 0; i < ranges.length; i += rangesPerNotice) {
          const value = encodeNotice({ epoch: epoch.epoch, ranges: ranges.slice(i, i + rangesPerNotice), atMs });
          const metric = { name: commitMetric, timestampMs: atMs, datatype: DataType.String, declare: true, value };
          const topic = topicOf({ group: epoch.group, type: "NCMD", node: epoch.node });
          messages.push({ topic, payload: encodePayload({ timestampMs: atMs, metrics: [metric] }) });
        }
      }
      owed.clear();
      return messages;
    },
  };
}
