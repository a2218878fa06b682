import { hostname } from "node:os";
import { JilianError } from "@jilian/domain/errors.ts";
import { type Fence, fencedLedger } from "@jilian/store/leases.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { pause } from "../pause.ts";

/** The lease of who computes figures, alarms and findings: of factories and of their sums up to the pilot. */
export const engineLease = "kpi.engine";

/** After so long without a sign of life a lease can be taken; a holder gives one, and one that waits looks, that many times as often. */
const leaseMs = 15_000;
const looksInLease = 5;
/** Who need not wait tries again after so long, when the other one has just given a sign of life. */
const retryMs = 20;

/** The right to compute and to write figures. */
export type Lease = Fence & {
  /**
   * Looks whether it is held at this moment: for stores that cannot ask inside of their writes.
   * @throws JilianError LEASE_LOST
   */
  readonly check: () => void;
  /** Gives it back, so that nobody has to wait for its end. */
  readonly close: () => void;
};

export type LeaseParts = {
  ledger: Ledger;
  /** True where whoever has the telemetry store is its only user: nobody else computes, who held the lease is gone. */
  isStoreOwned: boolean;
  /** Told once of who holds it, when there is someone to wait for. */
  onWait: (holder: string) => void;
  leaseMs?: number | undefined;
};

function lost(epoch: number, why: string): JilianError {
  return new JilianError(`the lease ${engineLease} of epoch ${epoch} is lost: ${why}`, {
    code: "LEASE_LOST",
    action: "write figures",
    remedy:
      "none: this engine writes nothing more, and a new one begins when it gets the lease; does the machine stand still at times?",
  });
}

/** Holds a lease that was taken. Time is the machine's own, which goes on while a process stands still and is never set. */
function holdLease(ledger: Ledger, epoch: number, mostMs: number): Lease {
  let renewedMs = performance.now();
  const renewEveryMs = mostMs / looksInLease;

  function check(): void {
    // Who takes a lease waits as long by a clock of its own: it is not asked for in vain only because nobody has taken it yet.
    if (performance.now() - renewedMs >= mostMs) throw lost(epoch, "it ran out");
    if (ledger.lease(engineLease)?.epoch !== epoch) throw lost(epoch, "another engine has taken it");
  }
  function hold(): void {
    check();
    const nowMs = performance.now();
    if (nowMs - renewedMs < renewEveryMs) return;
    if (!ledger.renewLease(engineLease, epoch)) throw lost(epoch, "it was given back");
    renewedMs = nowMs;
  }
  const timer = setInterval(() => {
    try {
      ledger.transaction(hold);
    } catch {
      // Busy for the moment: the next sign of life will do. Lost: the next write says so.
    }
  }, renewEveryMs);
  return {
    epoch,
    hold,
    check,
    close: () => {
      clearInterval(timer);
      try {
        ledger.releaseLease(engineLease, epoch);
      } catch {
        // It runs out by itself.
      }
    },
  };
}

/**
 * Takes the lease: at once where nobody holds it, else when its holder has given it back or no sign of life for as long as it lasts.
 * @returns undefined when the signal was aborted before
 * @throws what the ledger throws
 */
export function takeLease(parts: LeaseParts): Promise<Lease>;
export function takeLease(parts: LeaseParts, signal: AbortSignal): Promise<Lease | undefined>;
export async function takeLease(parts: LeaseParts, signal = new AbortController().signal): Promise<Lease | undefined> {
  const { ledger, isStoreOwned, onWait, leaseMs: mostMs = leaseMs } = parts;
  const holder = `${hostname()}, process ${process.pid}`;
  let seen = ledger.lease(engineLease);
  let seenMs = performance.now();
  let isTold = false;
  while (!signal.aborted) {
    const isOver = isStoreOwned || performance.now() - seenMs >= mostMs;
    const epoch = ledger.takeLease(engineLease, holder, isOver ? seen : undefined);
    if (epoch !== undefined) return holdLease(ledger, epoch, mostMs);
    const now = ledger.lease(engineLease);
    if (now?.epoch !== seen?.epoch || now?.beat !== seen?.beat) [seen, seenMs] = [now, performance.now()];
    if (!isStoreOwned && !isTold) onWait(now?.holder ?? "nobody");
    isTold = true;
    await pause(isStoreOwned ? retryMs : mostMs / looksInLease, signal);
  }
  return undefined;
}

/** What an engine writes to, under its lease. */
export function leasedStores<T extends Telemetry>(stores: { ledger: Ledger; telemetry: T }, lease: Lease) {
  const { telemetry } = stores;
  /** The store takes whatever comes: all that can be done is not to begin. */
  const checked =
    <A extends unknown[]>(write: (...given: A) => Promise<void>) =>
    async (...given: A): Promise<void> => {
      lease.check();
      await write(...given);
    };
  return {
    ledger: fencedLedger(stores.ledger, lease),
    telemetry: {
      ...telemetry,
      writeLeaves: checked(telemetry.writeLeaves),
      writeRollups: checked(telemetry.writeRollups),
      writeMinuteResults: checked(telemetry.writeMinuteResults),
      showResults: checked(telemetry.showResults),
    },
  };
}
