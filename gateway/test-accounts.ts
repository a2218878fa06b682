import { type Account, decodeAccount } from "@jilian/domain/account.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import { type Accounts, startAccounts } from "./accounts.ts";
import type { OutboxRecord, StoredSample } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import type { OutboxOptions } from "./outbox-box.ts";
import { type OutboxBench, outboxBench } from "./test-outbox.ts";

/** Ten minutes into an hour. */
export const t0 = Date.UTC(2026, 10, 22, 2, 10);
export const hour = t0 - 10 * minuteMs;
export const device = "press-1";

export let bench: OutboxBench;
/** The gateway's clock, and the machine's time that it does not always follow. */
export let time: { clockMs: number; machineMs: number };
export let written: OutboxRecord[];

/** For tests: an outbox on a real file with its accounts and a clock that the test sets. Called in `beforeEach`. */
export function setUp(): void {
  bench = outboxBench();
  time = { clockMs: t0, machineMs: 0 };
  written = [];
}

export const tearDown = (): Promise<void> => bench.close();

export function pass(ms: number): void {
  time.clockMs += ms;
  time.machineMs += ms;
}

export type Run = { outbox: OpenedOutbox; accounts: Accounts; ids: number[]; write: (...atMs: number[]) => void };

/** A gateway's outbox with its accounts, as run.ts joins them; opened again it is the next run. */
export function start(options: Partial<OutboxOptions> = {}): Run {
  const clock = { now: () => time.clockMs, rate: 1 };
  let accounts: Accounts | undefined;
  const outbox = bench.start({ clock, onDropped: (...dropped) => accounts?.dropped(...dropped), ...options });
  const own = startAccounts({
    devices: [{ id: device, pollIntervalMs: 1000 }],
    outbox,
    clock,
    tickMs: Number.POSITIVE_INFINITY,
    machineMs: () => time.machineMs,
    onWritten: (record) => written.push(record),
  });
  accounts = own;
  const metrics = own.withAccount([{ name: "a", datatype: DataType.Double, simulated: true }]);
  const ids = outbox.declare(device, metrics);
  own.declared(device, ids);
  return {
    outbox,
    accounts: own,
    ids,
    write: (...atMs) => {
      const samples: StoredSample[] = atMs.map((sourceTimeMs) => ({
        metricId: ids[0] as number,
        value: 1.5,
        status: 0,
        sourceTimeMs,
        gatewayTimeMs: time.clockMs,
      }));
      own.queued(device, samples);
      outbox.write(device, samples);
    },
  };
}

/** Polls once a second: each makes a sample of one reading, suppresses another. */
export function poll({ accounts, write }: Run, times: number): void {
  for (let i = 0; i < times; i += 1) {
    accounts.polls.answered(device, { polled: 2, suppressed: 1, bad: 0 });
    write(time.clockMs);
    pass(1000);
  }
}

/** Every account that was written. */
export const told = (): Account[] =>
  written.flatMap(({ samples }) => samples.map(({ value }) => decodeAccount(String(value))));

/** The newest account of each hour and part. */
export function newest(): Map<number, Account[]> {
  const parts = new Map(told().map((account) => [`${account.hourMs}/${account.part}`, account]));
  return Map.groupBy(parts.values(), (account) => account.hourMs);
}
/** The newest account of an hour that has one part. */
export const only = (at: number): Account => {
  const found = newest().get(at) ?? [];
  if (found.length !== 1) throw new Error(`${found.length} parts of ${new Date(at).toISOString()}`);
  return found[0] as Account;
};
