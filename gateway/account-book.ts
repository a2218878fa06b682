import { randomBytes } from "node:crypto";
import {
  type Account,
  type AccountCounts,
  type AccountDropReason,
  addDroppedTag,
  addGap,
  decodeAccount,
  encodeAccount,
  hourOf,
  noCounts,
} from "@jilian/domain/account.ts";
import { greatestOf } from "@jilian/domain/lists.ts";
import { hourMs } from "@jilian/domain/periods.ts";
import type { Sample } from "@jilian/domain/sample.ts";
import { type Outbox, raiseNote } from "./model.ts";

/** What the book needs of the outbox: its small durable texts, and what it knows of source times. */
export type BookStore = Pick<Outbox, "note" | "notes" | "noteDevice" | "noteOf" | "lastSourceTimeMs" | "raisedMs">;

/** An hour of a device, as the book has it. */
export type BookedHour = {
  readonly account: Account;
  /** True when it has changed since an account of it was made. */
  changed: boolean;
  /** True when an account was made of it after it had ended. */
  told: boolean;
  /** When a sample of it was last handed to the outbox: once everything older has left that, no more of it can be dropped. */
  queuedAtMs: number;
  /** True when it has a note, to which counts in the text of its device belong. */
  noted: boolean;
};

/** Longest time whose gaps are entered hour by hour: of a longer one the last part is. */
export const longestGapMs = 168 * hourMs;
/** Hours of a device that are kept, those with changes that are not told included; the one that rested longest makes room. */
export const maxHours = 200;
/** Hours of a device whose counts stand in its text at most: as many as are counted into at a time, and a few for readings that come late. */
const maxCounting = 3;
/** Hours that are kept after their end even when all of them is stored: source times may come late. */
const keptAfterMs = 3 * hourMs;

type Device = {
  /** By hour, the one that was changed last comes last. */
  readonly hours: Map<number, BookedHour>;
  /** Other parts of these hours that are still to be told: of a run that could not read the notes of the one before. */
  readonly others: BookedHour[];
  /** Hours whose counts have risen since they were noted: these counts are in the device's text. */
  readonly counting: Set<BookedHour>;
  /** Greatest source time of the device's own samples. */
  sampleMs: number;
  /** Source time of the last account. */
  madeMs: number;
};

const prefix = "account/";
const keyOf = (device: string, { hourMs: hour, part }: Account): string => `${prefix}${device}/${hour}/${part}`;

function encodeHour({ sampleMs, madeMs }: Device, { account, changed, told, queuedAtMs }: BookedHour): string {
  return JSON.stringify([encodeAccount(account), queuedAtMs, sampleMs, madeMs, changed ? 1 : 0, told ? 1 : 0]);
}

/** Takes an hour from its note into its device; what does not read is left: the hour goes on as another part. */
function loadHour(device: Device, text: string, raisedMs: number): void {
  try {
    const [account, queuedAtMs, sampleMs, madeMs, changed, told] = JSON.parse(text) as [string, ...number[]];
    const read = decodeAccount(account);
    const before = device.hours.get(read.hourMs);
    if (before) device.others.push(before);
    device.hours.set(read.hourMs, {
      account: read,
      changed: changed === 1,
      told: told === 1,
      queuedAtMs: Number(queuedAtMs),
      noted: true,
    });
    // What a power cut took was perhaps sent: no source time of it is used again.
    device.sampleMs = Math.max(device.sampleMs, Number(sampleMs) + raisedMs);
    device.madeMs = Math.max(device.madeMs, Number(madeMs) + raisedMs);
  } catch {
    // Written by another release: what it counted was told, or is told by the platform as missing from the count.
  }
}

/** What a poll or a record adds to, in the order of the device's text. */
const counted = ["scheduled", "answered", "skipped", "polled", "suppressed", "bad", "marked", "queued"] as const;

/** The counts as they stand, not what was added: to read them twice, or beside a note that is newer, changes nothing. */
function encodeCounting({ counting, sampleMs }: Device): string {
  if (counting.size === 0) return "";
  const rows = [...counting].map(({ account, queuedAtMs }) => [
    account.hourMs,
    account.part,
    queuedAtMs,
    ...counted.map((field) => account[field]),
  ]);
  return JSON.stringify([sampleMs, ...rows]);
}

/** Takes counts from the text of a device into the hours that have notes; what does not read, or has no note, is left. */
function loadCounting(device: Device, text: string, raisedMs: number): void {
  if (text === "") return;
  let rows: unknown[];
  try {
    const [sampleMs, ...found] = JSON.parse(text) as unknown[];
    device.sampleMs = Math.max(device.sampleMs, Number(sampleMs) + raisedMs || 0);
    rows = found;
  } catch {
    return;
  }
  for (const row of rows) {
    if (!Array.isArray(row)) continue;
    const [hour, part, queuedAtMs, ...counts] = row as unknown[];
    const isHour = ({ account }: BookedHour): boolean => account.hourMs === hour && account.part === part;
    const booked = [...device.hours.values(), ...device.others].find(isHour);
    if (!booked) continue;
    device.counting.add(booked);
    for (const [i, field] of counted.entries()) {
      const count = counts[i];
      if (!Number.isSafeInteger(count) || (count as number) <= booked.account[field]) continue;
      booked.account[field] = count as number;
      booked.changed = true;
    }
    booked.queuedAtMs = Math.max(booked.queuedAtMs, Number(queuedAtMs) || 0);
  }
}

function loadDevice(store: BookStore, id: string): Device {
  const device: Device = { hours: new Map(), others: [], counting: new Set(), sampleMs: 0, madeMs: 0 };
  for (const text of store.notes(`${prefix}${id}/`).values()) loadHour(device, text, store.raisedMs);
  loadCounting(device, store.noteOf(id), store.raisedMs);
  // Without a book the greatest source time may be that of an account as well as that of a sample.
  if (device.hours.size === 0) device.sampleMs = device.madeMs = store.lastSourceTimeMs(id);
  return device;
}

/**
 * Counts what becomes of a device's readings, per hour, in notes of the outbox and, what rises with every poll, in the text of the device:
 * these become durable in the transaction of the record that they count, so that a kill at any point leaves both or neither.
 * Bounded: `maxHours` a device.
 */
export function accountBook(store: BookStore, devices: readonly string[]) {
  const books = new Map<string, Device>(devices.map((id) => [id, loadDevice(store, id)]));

  /** Hours whose polls are not kept yet: a poll without a sample writes nothing that its count could go with. */
  const unsaved = new Map<BookedHour, { id: string; device: Device }>();

  /** Notes an hour whole. */
  function save(id: string, device: Device, hour: BookedHour): void {
    unsaved.delete(hour);
    hour.noted = true;
    store.note(keyOf(id, hour.account), encodeHour(device, hour));
    if (device.counting.delete(hour)) store.noteDevice(id, encodeCounting(device));
  }

  /** Keeps the counts of an hour: the record that is counted writes the row of its device anyway, and a note would be another page. */
  function saveCounts(id: string, device: Device, hour: BookedHour): void {
    if (!hour.noted) {
      save(id, device, hour);
      return;
    }
    unsaved.delete(hour);
    device.counting.add(hour);
    const [first] = device.counting;
    if (first && device.counting.size > maxCounting) save(id, device, first);
    else store.noteDevice(id, encodeCounting(device));
  }

  function forget(id: string, device: Device, hour: BookedHour): void {
    unsaved.delete(hour);
    if (device.counting.delete(hour)) store.noteDevice(id, encodeCounting(device));
    if (device.hours.get(hour.account.hourMs) === hour) device.hours.delete(hour.account.hourMs);
    else device.others.splice(device.others.indexOf(hour), 1);
    store.note(keyOf(id, hour.account), undefined);
  }

  /**
   * Changes an hour of a device; devices that are not configured have no book.
   * @param keep `whole` for what changes more than counts that only rise; `later` leaves it to the samples that follow, or to `save`
   */
  function change(
    id: string,
    timeMs: number,
    keep: "whole" | "counts" | "later",
    work: (account: Account, hour: BookedHour) => void,
  ): void {
    const device = books.get(id);
    if (!device) return;
    const at = hourOf(timeMs);
    let hour = device.hours.get(at);
    if (!hour) {
      const part = randomBytes(4).toString("hex");
      const account = { ...noCounts, hourMs: at, part, gapMs: {} };
      hour = { account, changed: true, told: false, queuedAtMs: 0, noted: false };
    }
    device.hours.delete(at);
    device.hours.set(at, hour);
    work(hour.account, hour);
    hour.changed = true;
    if (keep === "later") unsaved.set(hour, { id, device });
    else if (keep === "counts") saveCounts(id, device, hour);
    else save(id, device, hour);
    if (device.hours.size <= maxHours) return;
    // What of it was not told is not counted any more; a later change of it begins another part.
    const [idle] = device.hours.values();
    if (idle) forget(id, device, idle);
  }

  function allOf(id: string): BookedHour[] {
    const device = books.get(id);
    return device ? [...device.others, ...device.hours.values()] : [];
  }

  // The raise is durable with the newest hour of each device: the outbox need not keep it any longer, in the same transaction.
  if (store.raisedMs > 0) {
    for (const [id, device] of books) {
      const newest = [...device.hours.values()].at(-1);
      if (newest) save(id, device, newest);
    }
    store.note(raiseNote, undefined);
  }

  const dropField = { full: "droppedFull", age: "droppedAge", unwritable: "droppedUnwritable" } as const;

  return {
    /** Begins the book of a device that has none. */
    open: (id: string): void => {
      if (!books.has(id)) books.set(id, loadDevice(store, id));
    },
    /** Adds to counts of the hour that holds a time; noted with the samples that follow, or by `save`. */
    count: (id: string, timeMs: number, by: Partial<AccountCounts>): void => {
      const add = (account: Account) => {
        for (const [field, n] of Object.entries(by)) account[field as keyof AccountCounts] += n;
      };
      change(id, timeMs, "later", add);
    },
    /** Keeps what is counted and not kept yet. */
    save: (): void => {
      for (const [hour, { id, device }] of unsaved) saveCounts(id, device, hour);
    },
    /** Notes everything whole: notes alone go with the outbox that takes this one's place. */
    close: (): void => {
      for (const [hour, { id, device }] of unsaved) save(id, device, hour);
      for (const [id, device] of books) for (const hour of device.counting) save(id, device, hour);
    },
    /** Enters time in which a device was not read, hour by hour. @param pollsIn polls that were due in a part of it, (from, to] */
    gap: (
      id: string,
      reason: string,
      fromMs: number,
      toMs: number,
      pollsIn: (fromMs: number, toMs: number) => number,
    ): void => {
      for (let from = Math.max(fromMs, toMs - longestGapMs, 0); from < toMs; ) {
        const to = Math.min(toMs, hourOf(from) + hourMs);
        const part = { fromMs: from, toMs: to };
        change(id, from, "whole", (account) => {
          addGap(account.gapMs, reason, part.toMs - part.fromMs);
          account.scheduled += pollsIn(part.fromMs, part.toMs);
        });
        from = to;
      }
    },
    /** Samples that are handed to the outbox now, by the hours of their source times. */
    queued: (id: string, samples: readonly Sample[], nowMs: number): void => {
      const device = books.get(id);
      if (!device) return;
      const byHour = new Map<number, number>();
      let { sampleMs } = device;
      // Nearly all are of one hour, and in the order of their times.
      let [at, count] = [Number.NaN, 0];
      for (let i = 0; i < samples.length; i += 1) {
        const { sourceTimeMs } = samples[i] as Sample;
        if (sourceTimeMs > sampleMs) sampleMs = sourceTimeMs;
        if (!(sourceTimeMs >= at && sourceTimeMs < at + hourMs)) {
          if (count > 0) byHour.set(at, (byHour.get(at) ?? 0) + count);
          [at, count] = [hourOf(sourceTimeMs), 0];
        }
        count += 1;
      }
      if (count > 0) byHour.set(at, (byHour.get(at) ?? 0) + count);
      device.sampleMs = sampleMs;
      for (const [hourStartMs, queued] of byHour) {
        change(id, hourStartMs, "counts", (account, hour) => {
          account.queued += queued;
          hour.queuedAtMs = nowMs;
        });
      }
    },
    /** Samples that the outbox dropped, with the names of their metrics; an empty one where it is not known. */
    dropped: (id: string, samples: readonly (Sample & { metric: string })[], reason: AccountDropReason): void => {
      for (const [at, own] of Map.groupBy(samples, ({ sourceTimeMs }) => hourOf(sourceTimeMs)))
        change(id, at, "whole", (account) => {
          account[dropField[reason]] += own.length;
          for (const [metric, of] of Map.groupBy(own, (sample) => sample.metric))
            addDroppedTag(account, metric, of.length);
        });
    },
    /** The hours of a device that have changed since they were told, oldest first. */
    changed: (id: string): BookedHour[] =>
      allOf(id)
        .filter((hour) => hour.changed)
        .sort((a, b) => a.account.hourMs - b.account.hourMs),
    /** Source times for so many accounts that are made now: strictly increasing, over restarts too. */
    stamp: (id: string, count: number, nowMs: number): number[] => {
      const device = books.get(id) as Device;
      const first = Math.max(nowMs, device.madeMs + 1);
      device.madeMs = first + count - 1;
      return Array.from({ length: count }, (_, i) => first + i);
    },
    /** Marks hours as told, or as not told after all. */
    tell: (id: string, hours: readonly BookedHour[], told: boolean, nowMs: number): void => {
      const device = books.get(id) as Device;
      for (const hour of hours) {
        hour.changed = !told;
        hour.told = told && hour.account.hourMs + hourMs <= nowMs;
        save(id, device, hour);
      }
    },
    /**
     * Forgets the hours that nothing can change any more: told, over, and of which the outbox holds nothing.
     * @param oldestPendingMs when the oldest pending record was written; undefined when none is pending
     */
    forget: (nowMs: number, oldestPendingMs: number | undefined): void => {
      for (const [id, device] of books) {
        const newest = greatestOf(device.hours.keys());
        for (const hour of [...device.hours.values()]) {
          const isOver = hour.account.hourMs + hourMs + keptAfterMs < nowMs;
          const isGone = oldestPendingMs === undefined || oldestPendingMs > hour.queuedAtMs;
          // The newest stays: it knows the device's source times.
          if (!hour.changed && isOver && isGone && hour.account.hourMs !== newest) forget(id, device, hour);
        }
        for (const hour of [...device.others]) if (!hour.changed) forget(id, device, hour);
      }
    },
    /** Greatest source time that the device's own samples ever had; 0 when none. */
    lastSampleMs: (id: string): number => books.get(id)?.sampleMs ?? 0,
  };
}

export type AccountBook = ReturnType<typeof accountBook>;
