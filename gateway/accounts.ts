import {
  type AccountDropReason,
  accountMetric,
  encodeAccount,
  gapReason,
  gapReasons,
  hourOf,
} from "@jilian/domain/account.ts";
import type { Clock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { MetricDefinition, Sample } from "@jilian/domain/sample.ts";
import { type AccountBook, accountBook, type BookedHour, type BookStore } from "./account-book.ts";
import { clockSteps } from "./clock-steps.ts";
import type { PollObserver } from "./collect.ts";
import type { Outbox, OutboxRecord, StoredSample } from "./model.ts";
import { phaseOf } from "./schedule.ts";

export type AccountsOptions = {
  readonly devices: readonly { readonly id: string; readonly pollIntervalMs: number }[];
  readonly outbox: Pick<Outbox, "write" | "stats" | "metrics"> & BookStore & { readonly isWritable: () => boolean };
  readonly clock: Clock;
  /** An account is on disk. */
  readonly onWritten: (record: OutboxRecord) => void;
  /** Machine time between two looks at the clock; tests pass Infinity and call `tick`. */
  readonly tickMs?: number;
  /** Machine time, ms; tests pass their own. */
  readonly machineMs?: () => number;
};

export type Accounts = {
  readonly polls: PollObserver;
  /**
   * From now on other devices are collected. Those that are no longer tell what they have counted.
   * @param changed ids of those that are not read until they answer again
   */
  readonly setDevices: (devices: AccountsOptions["devices"], changed: ReadonlySet<string>) => void;
  /** A device's metrics with the account among them, last. */
  readonly withAccount: (definitions: readonly MetricDefinition[]) => MetricDefinition[];
  /** The stable ids of those metrics. */
  readonly declared: (device: string, ids: readonly number[]) => void;
  /** Samples that are about to be written: called before `outbox.write`, so that the count is in the record's transaction. */
  readonly queued: (device: string, samples: readonly Sample[]) => void;
  /** For the outbox's `onDropped`. */
  readonly dropped: (device: string, samples: readonly StoredSample[], reason: AccountDropReason) => void;
  /** Greatest source time of the device's own samples: accounts have the gateway's time and must not push theirs. */
  readonly lastSourceTimeMs: (device: string) => number;
  /** Looks at the clock and sends the accounts that are due. */
  readonly tick: () => void;
  readonly close: () => void;
};

/** An account of an open hour, and of a change of an ended one, is sent this often at most, time of the clock. */
export const accountIntervalMs = 5 * minuteMs;
/** Hours told in one record. */
const hoursPerRecord = 24;
const defaultTickMs = 1000;
/** A clock that moves so much more or less than the machine's was set, time of the machine. */
const clockStepMs = 2000;
const aliveKey = "account-alive";
/** The sign of life is noted this often at most, time of the clock. */
const aliveEveryMs = 1000;

/** Points of a device's polling grid in (from, to]. */
function pointsIn(intervalMs: number, phaseMs: number): (fromMs: number, toMs: number) => number {
  const before = (ms: number): number => Math.floor((ms - phaseMs) / intervalMs);
  return (fromMs, toMs) => before(toMs) - before(fromMs);
}

type Device = {
  readonly id: string;
  readonly pointsIn: (fromMs: number, toMs: number) => number;
  /** Stable id of its account metric. */
  metricId: number | undefined;
  /** Why it cannot be read, and until when that is entered. */
  gap: { reason: string; untilMs: number } | undefined;
  /** When accounts of it were last sent or could not be. */
  sentMs: number;
};

/** Watches the gateway's clock against the machine's. Each look tells the time, by how much it was set since the last one, and that one's. */
function clockWatch({ clock, machineMs = () => performance.now() }: Pick<AccountsOptions, "clock" | "machineMs">) {
  const look = clockSteps(clock, machineMs);
  return (): { nowMs: number; stepMs: number; lastMs: number } => {
    const { nowMs, lastMs, driftMs } = look();
    return { nowMs, lastMs, stepMs: Math.abs(driftMs) > clockStepMs * clock.rate ? Math.round(driftMs) : 0 };
  };
}

const noPolls = () => 0;

/** Names of metrics by their stable ids, which keep them. */
function metricNames(outbox: Pick<Outbox, "metrics">): (ids: Iterable<number>) => (id: number) => string {
  const names = new Map<number, string>();
  return (ids) => {
    if ([...ids].some((id) => !names.has(id)))
      for (const { id, definition } of outbox.metrics()) names.set(id, definition.name);
    return (id) => names.get(id) ?? "";
  };
}

type Parts = {
  readonly options: AccountsOptions;
  readonly book: AccountBook;
  readonly devices: ReadonlyMap<string, Device>;
};

/** The last sign of life that is noted: of the run before, until the clock has reached it. */
function signOfLife(outbox: Pick<Outbox, "note" | "notes">) {
  let aliveMs = Number(outbox.notes(aliveKey).get(aliveKey) ?? 0);
  return {
    lastMs: (): number => aliveMs,
    note: (nowMs: number): void => {
      aliveMs = nowMs;
      outbox.note(aliveKey, String(nowMs));
    },
  };
}

/** Enters the time in which devices were not read, and what the gateway's clock left out or ran through twice. */
function gapKeeper({ options, book, devices }: Parts) {
  const { outbox, clock } = options;
  const look = clockWatch(options);
  const alive = signOfLife(outbox);
  let unwritableSinceMs: number | undefined;
  const isKnown = ({ id }: Device): boolean => book.lastSampleMs(id) > 0;

  function enter(device: Device, toMs: number): void {
    const { gap } = device;
    if (!gap || toMs <= gap.untilMs) return;
    book.gap(device.id, gap.reason, gap.untilMs, toMs, device.pointsIn);
    gap.untilMs = toMs;
  }

  /** The clock was set while the gateway ran: time that it left out is a gap, time that it runs through twice is told. */
  function clockSet(nowMs: number, stepMs: number, lastMs: number): void {
    // A box that starts in 1970 and learns the time from the network left out what no run before it had seen.
    const fromMs = Math.max(lastMs, Math.min(alive.lastMs(), nowMs));
    const toMs = fromMs > lastMs ? nowMs : lastMs + stepMs;
    for (const device of devices.values()) {
      enter(device, lastMs);
      if (stepMs > 0 && isKnown(device)) book.gap(device.id, gapReasons.forward, fromMs, toMs, device.pointsIn);
      if (stepMs < 0 && isKnown(device)) book.gap(device.id, gapReasons.back, nowMs, nowMs - stepMs, noPolls);
      if (device.gap) device.gap.untilMs = Math.min(toMs, nowMs);
      device.sentMs = Math.min(device.sentMs, nowMs);
    }
    if (unwritableSinceMs !== undefined) unwritableSinceMs = nowMs;
    if (stepMs < 0) alive.note(nowMs);
  }

  return {
    isKnown,
    enter,
    /** @returns the time, after entering what the clock did */
    now: (): number => {
      const { nowMs, stepMs, lastMs } = look();
      if (stepMs !== 0) clockSet(nowMs, stepMs, lastMs);
      // A clock that starts behind the last sign of life is wrong, or was: that sign stays until it is passed.
      if (nowMs >= alive.lastMs() + aliveEveryMs) alive.note(nowMs);
      return nowMs;
    },
    /** Time in which devices were read and nothing could be kept. */
    enterUnwritable: (nowMs: number): void => {
      if (unwritableSinceMs !== undefined) {
        for (const { id, gap } of devices.values())
          if (!gap) book.gap(id, gapReasons.unwritable, unwritableSinceMs, nowMs, noPolls);
      }
      unwritableSinceMs = outbox.isWritable() ? undefined : nowMs;
    },
    /** No gateway ran between the last sign of life and now. A file without one was not kept by a gateway with a book. */
    enterDown: (): void => {
      const [startedMs, aliveMs] = [clock.now(), alive.lastMs()];
      for (const device of aliveMs > 0 ? devices.values() : [])
        if (isKnown(device)) book.gap(device.id, gapReasons.down, aliveMs, startedMs, device.pointsIn);
      if (startedMs > aliveMs) alive.note(startedMs);
    },
  };
}

type GapKeeper = ReturnType<typeof gapKeeper>;

/** Sends the accounts of a device that are due. */
function accountSender({ options, book }: Parts, { isKnown }: GapKeeper): (device: Device, nowMs: number) => void {
  const { outbox, onWritten } = options;

  function send(device: Device, hours: readonly BookedHour[], nowMs: number): void {
    const times = book.stamp(device.id, hours.length, nowMs);
    // Told, then written: the notes that say so are in the transaction of the record.
    book.tell(device.id, hours, true, nowMs);
    const samples = hours.map(({ account }, i) => ({
      metricId: device.metricId as number,
      value: encodeAccount(account),
      status: Status.Good,
      sourceTimeMs: times[i] as number,
      gatewayTimeMs: nowMs,
    }));
    const record = outbox.write(device.id, samples);
    if (record) onWritten(record);
    else book.tell(device.id, hours, false, nowMs);
  }

  return (device, nowMs) => {
    if (device.metricId === undefined || !isKnown(device)) return;
    const rested = nowMs - device.sentMs >= accountIntervalMs;
    // While nothing can be written, trying each second would only add to what is dropped.
    if (!rested && !outbox.isWritable()) return;
    const thisHour = hourOf(nowMs);
    const due = book.changed(device.id).filter(({ account, told }) => {
      const isOver = account.hourMs < thisHour;
      return (isOver && !told) || (rested && (isOver || !device.gap));
    });
    if (rested) device.sentMs = nowMs;
    for (let i = 0; i < due.length; i += hoursPerRecord) send(device, due.slice(i, i + hoursPerRecord), nowMs);
  };
}

/** Counts polls as they go. */
function pollObserver({ book, devices }: Parts, { now, enter }: GapKeeper): PollObserver {
  return {
    answered: (id, counts) => {
      const nowMs = now();
      const device = devices.get(id);
      if (device) enter(device, nowMs);
      if (device) device.gap = undefined;
      book.count(id, nowMs, { scheduled: 1, answered: 1, ...counts });
    },
    remained: (id, counts) => book.count(id, now(), counts),
    released: (id, readings, marked) => book.count(id, now(), { polled: readings, marked }),
    skipped: (id, polls) => book.count(id, now(), { scheduled: polls, skipped: polls }),
    failed: (id, code, sinceMs, marked) => {
      const nowMs = now();
      const device = devices.get(id);
      if (!device) return;
      const attemptMs = Math.min(sinceMs, nowMs);
      enter(device, attemptMs);
      // The attempt with which a gap begins was a poll that was due; the later ones are on no grid, and the grid is counted.
      book.count(id, device.gap ? nowMs : attemptMs, { scheduled: device.gap ? 0 : 1, marked });
      device.gap = { reason: gapReason(code), untilMs: device.gap?.untilMs ?? attemptMs };
    },
  };
}

/** Takes what the outbox drops into the book, by the names of the metrics; accounts count no readings. */
function dropCounter({ options, book, devices }: Parts): Accounts["dropped"] {
  const namesOf = metricNames(options.outbox);
  return (id, samples, reason) => {
    const accountIds = new Set([...devices.values()].map(({ metricId }) => metricId));
    const own = samples.filter(({ metricId }) => !accountIds.has(metricId));
    const nameOf = namesOf(own.map(({ metricId }) => metricId));
    const named = own.map((sample) => ({ ...sample, metric: nameOf(sample.metricId) }));
    book.dropped(id, named, reason);
  };
}

/**
 * Keeps the account book of a gateway and sends it: an account of a (device, hour) when the hour ends, every five minutes while it is open,
 * and when something of an ended hour changes. A device that was never read has none; one that cannot be read is told of once an hour, so
 * that its births do not come and go all the time. Accounts are samples like any other, and count themselves nowhere.
 */
export function startAccounts(options: AccountsOptions): Accounts {
  const { outbox, clock, tickMs = defaultTickMs } = options;
  const gridOf = ({ id, pollIntervalMs }: AccountsOptions["devices"][number]) =>
    pointsIn(pollIntervalMs, phaseOf(id, pollIntervalMs));
  const newDevice = (device: AccountsOptions["devices"][number]): [string, Device] => [
    device.id,
    { id: device.id, pointsIn: gridOf(device), metricId: undefined, gap: undefined, sentMs: clock.now() },
  ];
  const devices = new Map<string, Device>(options.devices.map(newDevice));
  const book = accountBook(outbox, [...devices.keys()]);
  const parts = { options, book, devices };
  const gaps = gapKeeper(parts);
  const sendDue = accountSender(parts, gaps);

  function tick(): void {
    const nowMs = gaps.now();
    gaps.enterUnwritable(nowMs);
    for (const device of devices.values()) {
      gaps.enter(device, nowMs);
      sendDue(device, nowMs);
    }
    book.save();
    book.forget(nowMs, outbox.stats().oldestWrittenAtMs);
  }

  function setDevices(configured: AccountsOptions["devices"], changed: ReadonlySet<string>): void {
    const nowMs = gaps.now();
    const ids = new Set(configured.map(({ id }) => id));
    for (const device of [...devices.values()]) {
      if (!ids.has(device.id) || changed.has(device.id)) gaps.enter(device, nowMs);
      if (ids.has(device.id)) continue;
      device.gap = undefined;
      device.sentMs = Number.NEGATIVE_INFINITY;
      sendDue(device, nowMs);
      devices.delete(device.id);
    }
    for (const one of configured) {
      book.open(one.id);
      const known = devices.get(one.id);
      if (!known) devices.set(...newDevice(one));
      else if (changed.has(one.id)) {
        const gap = known.gap ?? { reason: gapReasons.down, untilMs: nowMs };
        devices.set(one.id, { ...known, pointsIn: gridOf(one), gap: gaps.isKnown(known) ? gap : known.gap });
      }
    }
  }

  gaps.enterDown();
  const timer = Number.isFinite(tickMs) ? setInterval(tick, tickMs) : undefined;
  return {
    polls: pollObserver(parts, gaps),
    setDevices,
    withAccount: (definitions) => {
      const simulated = definitions.some((definition) => definition.simulated);
      return [...definitions, { name: accountMetric, datatype: DataType.String, simulated }];
    },
    declared: (id, ids) => {
      const device = devices.get(id);
      if (device) device.metricId = ids.at(-1);
    },
    queued: (id, samples) => book.queued(id, samples, gaps.now()),
    dropped: dropCounter(parts),
    lastSourceTimeMs: book.lastSampleMs,
    tick,
    close: () => {
      clearInterval(timer);
      book.close();
    },
  };
}
