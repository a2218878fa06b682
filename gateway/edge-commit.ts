import type { CommitNotice, RefusedRecord } from "@jilian/domain/commit.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import type { Logger } from "pino";
import { addBounded } from "./bounded-set.ts";
import { atMostEvery } from "./log-limit.ts";
import type { Outbox } from "./model.ts";
import type { Sender } from "./sender.ts";

export type CommitStats = {
  /** How often this process found itself set back to an earlier moment and took a new epoch. */
  setBacks: number;
  /** Notices of that which came too soon after one that was obeyed, and waited for their time. */
  heldSetBacks: number;
  /** Notices that named records which this process has not sent: late for a process before it, or forged. */
  unsentNotices: number;
  /** Records of which the platform said that its store refuses some samples: those were set aside, or the record was split. */
  refusedRecords: number;
};

const tellMs = 60_000;
/** Between two set-backs: each has all that is pending sent again, and costs an fsync, so that forged notices must not come by the hundred. */
const setBackEveryMs = 60_000;
/** Epochs remembered as renewed: notices for them may be on their way for as long as the platform repeats them. */
const maxRenewed = 1000;

/** `now` is a monotonic clock in ms; by default the machine's. `onConfirmed` hears of notices for records that this process has sent. */
export type CommitReaderParts = {
  outbox: Outbox;
  sender: Sender;
  log: Logger;
  now?: () => number;
  onConfirmed?: (notice: CommitNotice) => void;
};

/**
 * Obeys commit notices (CONTRACTS 2). A notice frees what this process has sent and nothing else, so that a late or forged one cannot
 * free a reading that the platform has never seen. Where it tells when its records were written, it frees those alone and no others that
 * have their numbers now. One that only a process set back in time can get (a virtual machine reverted to a snapshot) frees nothing: the
 * epoch gets another name, and everything pending of it goes again. Samples that the store refuses, as a notice
 * says, are set aside on its word, for a person to look at and replay, and the rest of their record is freed.
 */
export function commitReader({ outbox, sender, log, now = () => performance.now(), onConfirmed }: CommitReaderParts) {
  const tellUnsent = atMostEvery(tellMs);
  const tellSetBack = atMostEvery(tellMs);
  const renewed = new Set<string>();
  const stats: CommitStats = { setBacks: 0, heldSetBacks: 0, unsentNotices: 0, refusedRecords: 0 };
  let obeyedMs = Number.NEGATIVE_INFINITY;

  const mayRenew = (): boolean => now() - obeyedMs >= setBackEveryMs;

  /** Offsets of the epoch in use that the platform has and this process has not sent; or the platform has seen it write twice under one. */
  function isSetBack({ epoch, last, setBack }: CommitNotice): boolean {
    if (sender.doubts(epoch) && mayRenew()) return true;
    if (!sender.sent.knows(epoch)) return false;
    return setBack === true || (epoch === outbox.epoch && last !== undefined && last > sender.sent.last(epoch));
  }

  /** Whether a notice is about other records than those that are pending under its numbers; undefined when that cannot be told. */
  function isOther({ epoch, ranges, writtenAtMs, refused = [] }: CommitNotice): boolean | undefined {
    const differ = (of: readonly Range[], times: readonly number[] | undefined): boolean | undefined => {
      if (of.length === 0) return false;
      if (times) return outbox.isOther(epoch, of, times);
      // Of an epoch that is to be renewed records are known by their times alone.
      return sender.doubts(epoch) ? undefined : false;
    };
    const found = refused.map(({ offset, writtenAtMs: ms }) =>
      differ([[offset, offset]], ms === undefined ? undefined : [ms]),
    );
    found.push(differ(ranges, writtenAtMs));
    return found.includes(true) || (found.includes(undefined) ? undefined : false);
  }

  function renew({ epoch, last }: CommitNotice): void {
    if (!mayRenew()) {
      stats.heldSetBacks += 1;
      sender.doubt(epoch);
      return;
    }
    obeyedMs = now();
    stats.setBacks += 1;
    const sentLast = sender.sent.last(epoch);
    const inUse = outbox.renewEpoch(epoch);
    addBounded(renewed, epoch, maxRenewed);
    tellSetBack((heldBack) =>
      log.error(
        { code: "OUTBOX_SET_BACK", epoch, renewed: inUse, storedLast: last, sentLast, heldBack },
        "the platform has other records under numbers of this epoch: this process was set back to an earlier moment (a reverted " +
          "virtual machine?). What is pending goes again under a new epoch; restart the gateway after a revert",
      ),
    );
    sender.renewed(epoch);
  }

  /** @returns whether this process has sent the record */
  function obeyRefusal(epoch: string, { offset, code, samples }: RefusedRecord): boolean {
    const id = { epoch, offset };
    if (!sender.sent.within(epoch, [[offset, offset]]).isAll) return false;
    // A notice comes again when it was lost on the way, or when the file could not be written.
    if (!samples) stats.refusedRecords += sender.divide(id) ? 1 : 0;
    else if (outbox.setAside(id, `the platform's store refuses it: ${code}`, samples)) {
      stats.refusedRecords += 1;
      sender.settled(id);
    }
    return true;
  }

  return {
    read: (notice: CommitNotice): void => {
      const { epoch, ranges, refused = [] } = notice;
      // One set-back comes as several notices, and nothing is pending under that name any more.
      if (renewed.has(epoch)) return;
      const isOthers = isSetBack(notice) || isOther(notice);
      if (isOthers) renew(notice);
      if (isOthers !== false) return;
      const { sent, isAll } = sender.sent.within(epoch, ranges);
      const foreign = refused.filter((record) => !obeyRefusal(epoch, record));
      if (!isAll || foreign.length > 0) {
        stats.unsentNotices += 1;
        tellUnsent((heldBack) =>
          log.warn(
            { code: "COMMIT_UNSENT", epoch, ranges: ranges.slice(0, 10), heldBack },
            "a commit notice names records that this process has not sent: they are kept; if this goes on after a restart, check who writes to Jilian/Commit",
          ),
        );
      }
      if (isAll && sent.length > 0) onConfirmed?.(notice);
      if (sent.length > 0) sender.committed(epoch, sent, outbox.commit(epoch, sent));
      else if (foreign.length < refused.length) sender.pump();
    },
    stats: (): CommitStats => ({ ...stats }),
  };
}
