import { type Account, accountMetric, decodeAccount, hourOf } from "@jilian/domain/account.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKeyOf, factoryOf } from "@jilian/domain/identity.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { qualityOf } from "@jilian/domain/quality.ts";
import {
  type CompletenessLedger,
  type DeviceHour,
  hoursKeptMs,
  maxParts,
  type StoredAccount,
} from "@jilian/store/completeness.ts";
import type { ChangedMinute, Series, SeriesId, Telemetry, Window } from "@jilian/store/telemetry.ts";
import { countJobs } from "./count-jobs.ts";
import { runsOf } from "./runs.ts";
import type { SeriesIndex } from "./series-index.ts";

/** What is counted when. */
export type CountOptions = {
  nowMs: number;
  /** Everything, the open hours too, however short ago they were counted. */
  thorough?: boolean;
  /** Does not wait for the pace: an hour is about to be final. */
  urgent?: boolean;
  /** Hours that are not to be counted yet. */
  isHeld?: ((hourMs: number) => boolean) | undefined;
};

/** By start, UTC ms. Of which factory's devices it is; of all of them where that was not kept over a restart. */
export type DifferingHour = { readonly hour: number; readonly factory: string | undefined };

/**
 * Keeps the completeness ledger: takes accounts from what changed in the store, and counts what is stored of the hours that changed. What it
 * is still to do is in the ledger before the engine notes its progress, so that nothing waits for a count and a kill loses none.
 */
export type CompletenessKeeper = {
  /** Takes the accounts among changed minutes, and notes the hours that are to be counted. */
  readonly fold: (changed: readonly ChangedMinute[], nowMs: number) => Promise<void>;
  /** Counts noted hours. Waits for `patienceMs` at most: a count that takes longer goes on by itself. Never rejects. */
  readonly count: (options: CountOptions) => Promise<void>;
  /** Hours whose loss differs from what figures were made of, each told once. */
  readonly differing: () => DifferingHour[];
  /** The figures of the hours that were told are published. */
  readonly published: () => void;
  /** True while a thorough count has something to do, and does not fail. */
  readonly isBehind: () => boolean;
  /** Resolves when no count is under way; none begins any more. */
  readonly close: () => Promise<void>;
};

export type KeeperParts = {
  telemetry: Telemetry;
  ledger: CompletenessLedger;
  index: SeriesIndex;
  /** Told of a series whose account cannot be taken, once a minute at most. */
  onInvalid: (series: Series, error: unknown) => void;
  /** Told of a count that failed, once a minute at most; it is tried again. */
  onFailed: (error: unknown) => void;
  /** How long `count` waits, machine time; 5 s if undefined. */
  patienceMs: number | undefined;
};

const defaultPatienceMs = 5000;
/** No count is begun so long after the first of a row. */
const budgetMs = 15_000;
/** After a count that failed, ms of the machine. */
const retryMs = 30_000;
/** Counting rests nine times as long as it took, but not longer than this. */
const longestRestMs = 300_000;
/** Device hours that are kept waiting. */
const heldAtMost = 200_000;
/** An open hour is counted as often as accounts of it come, time of the clock (gateway/accounts.ts). */
const openIntervalMs = 5 * minuteMs;
/** What may repeat with every tick is told, and what is old is pruned, this often at most. */
const seldomMs = 60_000;
/** Windows of accounts that are read together, and rows that the ledger takes in one transaction. */
const windowsAtOnce = 500;
const rowsAtOnce = 300;

function* slices<T>(rows: readonly T[], size: number): Generator<T[]> {
  for (let i = 0; i < rows.length; i += size) yield rows.slice(i, i + size);
}

/** Lets something be done for each key once in `seldomMs`, machine time. */
function seldom<K>(): (key: K, act: () => void) => void {
  const doneMs = new Map<K, number>();
  return (key, act) => {
    const nowMs = performance.now();
    if (nowMs - (doneMs.get(key) ?? Number.NEGATIVE_INFINITY) < seldomMs) return;
    doneMs.set(key, nowMs);
    act();
  };
}

function tooManyParts(): JilianError {
  return new JilianError(`an hour has ${maxParts} parts already`, {
    code: "ACCOUNT_INVALID",
    action: `take a sample of ${accountMetric}`,
    remedy: "check which program publishes this metric: a gateway begins a new part only when it lost its book",
  });
}

/** Waits for work, but not longer than this. */
async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, patience]);
  clearTimeout(timer);
}

/** Takes the accounts of changed minutes out of the store. */
function accountReader({ telemetry, index }: KeeperParts, onInvalid: KeeperParts["onInvalid"]) {
  /** The newest account of each hour and part of a device. */
  return async (minutes: ReadonlyMap<SeriesId, readonly number[]>): Promise<Map<string, StoredAccount>> => {
    const windows: Window[] = [...minutes].flatMap(([series, own]) =>
      runsOf(own, minuteMs, { holes: 60 }).map(({ fromMs, toMs }) => ({ series, fromMs, toMs })),
    );
    const found = new Map<string, StoredAccount>();
    for (const some of slices(windows, windowsAtOnce)) {
      const answers = await telemetry.readMany(some);
      for (const [i, { series: id }] of some.entries()) {
        const series = index.seriesOf(id) as Series;
        for (const { value, sourceTimeMs, status } of answers[i] ?? []) {
          if (value === null || qualityOf(status) === "bad") continue;
          try {
            const account: Account = decodeAccount(String(value));
            const device = deviceKeyOf(series);
            found.set(`${device}/${account.hourMs}/${account.part}`, { device, sourceTimeMs, account });
          } catch (error) {
            onInvalid(series, error);
          }
        }
      }
    }
    return found;
  };
}

/** Hours that are to be counted, in memory as in the ledger. */
function dueHours(ledger: CompletenessLedger) {
  const byHour = new Map<number, Set<string>>();
  for (const { hourMs: hour, device } of ledger.dueHours()) getOrMake(byHour, hour, () => new Set()).add(device);
  return {
    byHour,
    size: (): number => byHour.values().reduce((sum, devices) => sum + devices.size, 0),
    has: ({ hourMs: hour, device }: DeviceHour): boolean => byHour.get(hour)?.has(device) ?? false,
    add: ({ hourMs: hour, device }: DeviceHour): void => {
      getOrMake(byHour, hour, () => new Set<string>()).add(device);
    },
    delete: ({ hourMs: hour, device }: DeviceHour): void => {
      byHour.get(hour)?.delete(device);
      if (byHour.get(hour)?.size === 0) byHour.delete(hour);
    },
  };
}

export function completenessKeeper(parts: KeeperParts): CompletenessKeeper {
  const { telemetry, ledger, index } = parts;
  const invalid = seldom<SeriesId>();
  const failure = seldom<"count">();
  const housekeeping = seldom<"prune">();
  const onInvalid = (series: Series, error: unknown) => invalid(series.id, () => parts.onInvalid(series, error));
  const readAccounts = accountReader(parts, onInvalid);
  const due = dueHours(ledger);
  const jobs = countJobs(due.byHour, openIntervalMs);
  const differing = new Map(ledger.differingHours().map((hour) => [hour, new Set<string | undefined>([undefined])]));
  const told = new Set<number>();
  /** Device hours that were noted, and those that got an account, since the count that is under way began. */
  const noted = new Set<string>();
  const accounted = new Set<string>();
  let running: Promise<void> | undefined;
  let restsUntilMs = Number.NEGATIVE_INFINITY;
  let failing = false;
  let closed = false;

  const idOf = ({ hourMs: hour, device }: DeviceHour) => `${hour}/${device}`;

  async function fold(changed: readonly ChangedMinute[], nowMs: number): Promise<void> {
    const minutes = new Map<SeriesId, number[]>();
    const touched = new Map<string, DeviceHour>();
    const oldestMs = nowMs - hoursKeptMs;
    for (const { series: id, minuteMs: minute } of changed) {
      const series = index.seriesOf(id);
      if (!series || series.device === "") continue;
      const hour = { device: deviceKeyOf(series), hourMs: hourOf(minute) };
      if (index.isAccount(id)) getOrMake(minutes, id, () => []).push(minute);
      else if (hour.hourMs >= oldestMs) touched.set(idOf(hour), hour);
    }
    const read = minutes.size > 0 ? await readAccounts(minutes) : [];
    const accounts = [...read.values()].filter(({ account }) => account.hourMs >= oldestMs);
    for (const some of slices(accounts, rowsAtOnce)) {
      const refused = new Set(ledger.writeAccounts(some));
      for (const one of some) {
        const hour = { device: one.device, hourMs: one.account.hourMs };
        const series = refused.has(one) && index.accountOf(one.device);
        if (series) onInvalid(series, tooManyParts());
        touched.set(idOf(hour), hour);
        if (running) accounted.add(idOf(hour));
      }
    }
    for (const some of slices(
      [...touched.values()].filter((hour) => !due.has(hour)),
      rowsAtOnce,
    )) {
      ledger.noteDue(some);
      for (const hour of some) due.add(hour);
    }
    if (running) for (const id of touched.keys()) noted.add(id);
    housekeeping("prune", () => ledger.prune(nowMs));
  }

  /** Counts some devices in neighbouring hours. */
  async function countJob(hours: readonly number[], devices: readonly string[]): Promise<void> {
    const deviceOf = new Map<SeriesId, string>();
    const stored = new Map<string, DeviceHour & { stored: number }>();
    for (const device of devices) {
      for (const hour of hours) stored.set(`${hour}/${device}`, { device, hourMs: hour, stored: 0 });
      for (const id of index.ofDevice(device)) deviceOf.set(id, device);
    }
    const [fromMs, toMs] = [hours[0] as number, (hours.at(-1) as number) + hourMs];
    for (const { series, hourMs: hour, samples } of await telemetry.countSamples([...deviceOf.keys()], fromMs, toMs)) {
      const count = stored.get(`${hour}/${deviceOf.get(series)}`);
      if (count) count.stored += samples;
    }
    if (closed) return;
    // An account that came since then speaks of samples that this count has not: that hour is counted again.
    const counted = [...stored.values()].filter((hour) => !accounted.has(idOf(hour)));
    for (const some of slices(counted, rowsAtOnce)) {
      const rows = some.map((hour) => ({ ...hour, again: noted.has(idOf(hour)) }));
      for (const { hourMs: hour, device } of ledger.writeStored(rows))
        getOrMake(differing, hour, () => new Set()).add(factoryOf(device));
      for (const { again, ...hour } of rows) if (!again) due.delete(hour);
    }
  }

  async function run(options: CountOptions): Promise<void> {
    const startedMs = performance.now();
    noted.clear();
    accounted.clear();
    failing = false;
    // What is held is counted all the same before it fills the memory.
    const isHeld = due.size() > heldAtMost ? undefined : options.isHeld;
    for (const job of jobs.due({ ...options, isHeld })) {
      if (closed || performance.now() - startedMs > budgetMs) break;
      try {
        await countJob(job.hours, job.devices);
        jobs.counted(job, options.nowMs);
      } catch (error) {
        failing = true;
        jobs.failed(job);
        failure("count", () => parts.onFailed(error));
      }
    }
    const endedMs = performance.now();
    const restMs = Math.min(longestRestMs, 9 * (endedMs - startedMs));
    restsUntilMs = endedMs + (failing ? Math.max(retryMs, restMs) : restMs);
  }

  const rests = () => performance.now() < restsUntilMs;

  async function count(options: CountOptions): Promise<void> {
    const { thorough = false, urgent = false } = options;
    const begins = !running && !closed && due.byHour.size > 0 && (!rests() || (!failing && (thorough || urgent)));
    if (begins) {
      running = run(options).finally(() => {
        running = undefined;
      });
    }
    // Figures have waited once for a count that takes long; whoever wants everything goes on waiting.
    if (running && (begins || thorough)) await within(running, parts.patienceMs ?? defaultPatienceMs);
  }

  return {
    fold,
    count,
    differing: () => {
      const hours = [...differing].flatMap(([hour, own]) => {
        told.add(hour);
        return [...own].map((factory) => ({ hour, factory }));
      });
      differing.clear();
      return hours;
    },
    published: () => {
      const hours = [...told].filter((hour) => !differing.has(hour));
      for (const some of slices(hours, rowsAtOnce)) ledger.notePublished(some);
      told.clear();
    },
    isBehind: () => differing.size > 0 || running !== undefined || (due.byHour.size > 0 && !(failing && rests())),
    close: async () => {
      closed = true;
      await running;
    },
  };
}
