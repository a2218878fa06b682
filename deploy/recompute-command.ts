import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "@jilian/domain/clock.ts";
import { codeOf, JilianError } from "@jilian/domain/errors.ts";
import { isoTime, periodStart } from "@jilian/domain/periods.ts";
import type { Recompute } from "@jilian/store/kpi-ledger.ts";
import type { Ledger, LoggedResult } from "@jilian/store/ledger.ts";
import { readMoment } from "@jilian/store/registry-apply.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import type { OwnedTelemetry } from "@jilian/store/thread/owner.ts";

export const recomputeHelp = `jilian recompute: figures again from the stored samples, leaves included

  jilian recompute --from DATE|TIME --to DATE|TIME|now --config platform.yaml
      2026-11-01 is midnight in Asia/Shanghai, 2026-11-01T06:00+08:00 a moment; --to is now if absent

It comes to the same digits unless what was stored was not what was folded; what differs becomes a revision and is printed. A running
service does it beside its work, an hour of data in each step; without one it is done here. On InfluxDB, whose owner nobody can tell,
a stopped service has to be said: --stopped.
Exit codes: 0 done, 1 failed, 2 wrong arguments (nothing was asked for).
`;

export type RecomputeOptions = { from?: string | undefined; to?: string | undefined; stopped?: boolean | undefined };

export type RecomputeParts = {
  ledger: Ledger;
  clock: Clock;
  /** True where the store's file tells whether a service has it open. */
  hasLock: boolean;
  /** Opens the telemetry store as its owner. */
  openStore: () => Promise<OwnedTelemetry>;
  /** Writes to standard output. */
  say: (text: string) => void;
  /** How often a running service is looked after, and for how long nothing may happen, ms. */
  pollMs?: number;
  patienceMs?: number;
};

/** Changes that are printed one by one. */
const mostPrinted = 1000;
const changesAtOnce = 1000;

function wrong(found: string, expected: string): JilianError {
  return new JilianError(`${found} is not ${expected}`, {
    code: "RECOMPUTE_RANGE",
    action: "read the arguments of recompute",
    remedy: "write --from 2026-11-01 --to 2026-12-01, or times with their offset",
  });
}

/** The span that is asked for, whole hours from its start on. @throws JilianError RECOMPUTE_RANGE */
export function readSpan({ from, to = "now" }: RecomputeOptions, nowMs: number): { fromMs: number; toMs: number } {
  const read = (text: string | undefined, name: string) => {
    const ms = text === undefined ? undefined : readMoment(text, nowMs);
    if (ms === undefined) throw wrong(`${name} ${text ?? "nothing"}`, "a date or a time");
    return ms;
  };
  const fromMs = periodStart("hour", read(from, "--from"));
  const toMs = Math.min(read(to, "--to"), nowMs);
  if (fromMs >= toMs) throw wrong(`${isoTime(fromMs)} to ${isoTime(toMs)}`, "a span that has passed");
  return { fromMs, toMs };
}

function nobody(id: number): JilianError {
  return new JilianError("no service takes up the recompute", {
    code: "RECOMPUTE_WAITS",
    action: `recompute (${id})`,
    remedy: "it will be done when the service runs; when it is stopped for good, say so: --stopped",
  });
}

/** Waits until a running service has done it. @throws JilianError RECOMPUTE_WAITS when nothing happens */
async function follow(id: number, parts: RecomputeParts): Promise<void> {
  const { ledger, say, pollMs = 500, patienceMs = 60_000 } = parts;
  let moved = { cursorMs: Number.NaN, atMs: performance.now() };
  let toldMs = performance.now();
  for (;;) {
    const job = ledger.recompute(id) as Recompute;
    if (job.doneMs !== null) return;
    const nowMs = performance.now();
    if (job.cursorMs !== moved.cursorMs) moved = { cursorMs: job.cursorMs, atMs: nowMs };
    else if (nowMs - moved.atMs > patienceMs) throw nobody(id);
    if (nowMs - toldMs > 10_000) {
      say(`  up to ${isoTime(job.cursorMs)}\n`);
      toldMs = nowMs;
    }
    await sleep(pollMs);
  }
}

/** Does it here, on a store that no service has open. */
async function runHere(id: number, telemetry: OwnedTelemetry, parts: RecomputeParts): Promise<void> {
  const { ledger, clock, hasLock, say } = parts;
  const setting = { provisionalIntervalMs: 0, txPerTick: 500, clock, versions: followVersions(ledger) };
  // No other command needs them.
  const { createEngine } = await import("@jilian/ingest/kpi/engine.ts");
  const { leasedStores, takeLease } = await import("@jilian/ingest/kpi/lease.ts");
  const onWait = (holder: string) => say(`waiting for the end of the engine that computes figures (${holder})\n`);
  const lease = await takeLease({ ledger, isStoreOwned: hasLock, onWait });
  try {
    const engine = await createEngine({ ...setting, ...leasedStores({ ledger, telemetry }, lease) });
    try {
      while (ledger.recompute(id)?.doneMs === null) await engine.tick();
    } finally {
      await engine.close();
    }
  } finally {
    lease.close();
  }
}

function* revisionsSince(ledger: Ledger, { firstChange, fromMs, toMs }: Recompute): Generator<LoggedResult> {
  for (let after = firstChange; ; ) {
    const changes = ledger.changesAfter(after, changesAtOnce);
    for (const change of changes)
      if (change.status === "revised" && change.startMs < toMs && change.endMs > fromMs) yield change;
    const last = changes.at(-1);
    if (!last || changes.length < changesAtOnce) return;
    after = last.change;
  }
}

const shown = ({ value, reason }: Pick<LoggedResult, "value" | "reason">) => value ?? `null (${reason})`;

/** Prints what differs now. */
function printChanges(job: Recompute, { ledger, say }: RecomputeParts): void {
  let count = 0;
  for (const change of revisionsSince(ledger, job)) {
    count += 1;
    if (count > mostPrinted) continue;
    const before = ledger.history(change).findLast((older) => older.change < change.change);
    const { period, startMs, level, entity, indicator } = change;
    const values = before && `${shown(before)} -> ${shown(change)}`;
    say(`${period} ${isoTime(startMs)} ${level} ${entity} ${indicator}: ${values ?? shown(change)}\n`);
  }
  if (count > mostPrinted) say(`... and ${count - mostPrinted} more: /open/v1/changes?after=${job.firstChange}\n`);
  say(`${isoTime(job.fromMs)} to ${isoTime(job.toMs)} computed again: ${count} figures differ.\n`);
}

/**
 * Asks for a span to be computed again, and waits for it: by the service that runs, otherwise here.
 * @throws JilianError RECOMPUTE_RANGE, RECOMPUTE_WAITS, what the store throws when it cannot be opened
 */
export async function recomputeCommand(options: RecomputeOptions, parts: RecomputeParts): Promise<void> {
  const { ledger, clock, hasLock, openStore, say } = parts;
  const span = readSpan(options, clock.now());
  const id = ledger.addRecompute({ ...span, reason: "command" }, clock.now());
  let telemetry: OwnedTelemetry | undefined;
  if (hasLock || options.stopped) {
    telemetry = await openStore().catch((error: unknown) => {
      if (codeOf(error) !== "STORE_LOCKED") throw error;
      return undefined;
    });
  }
  if (telemetry) {
    await runHere(id, telemetry, parts).finally(telemetry.close);
  } else {
    say("the running service computes it\n");
    await follow(id, parts);
  }
  printChanges(ledger.recompute(id) as Recompute, parts);
}
