import type { Clock } from "@jilian/domain/clock.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import type { Finding } from "@jilian/store/findings.ts";
import type { FirstBirth, Ledger } from "@jilian/store/ledger.ts";
import type { Logger } from "pino";

/** What ingest notes in the ledger beside the way of the readings. A ledger that cannot be written (a full disk) must not end that way. */
export type LedgerNotes = {
  /**
   * Notes something that needs a person's eye, at most every 10 s for one code and subject.
   * @returns `lately` when one of them was noted less than 10 s ago, `failed` when the ledger did not take it
   */
  readonly finding: (finding: Pick<Finding, "code" | "subject" | "detail">) => "noted" | "lately" | "failed";
  readonly birth: (birth: FirstBirth) => void;
  readonly unregistered: (device: { group: string; node: string; device: string }) => void;
  /** Runs several notes as one transaction. @returns false when nothing of it was written */
  readonly together: (work: (ledger: Ledger) => void) => boolean;
};

export type LedgerNotesParts = {
  ledger: Ledger;
  clock: Clock;
  log: Logger;
  /** Told of each note that the ledger did not take. */
  onFailure?: () => void;
};

const intervalMs = 10_000;
/** Codes and subjects told lately; who publishes under ever new names must not fill the memory. */
const maxTold = 5000;

export function ledgerNotes({ ledger, clock, log, onFailure }: LedgerNotesParts): LedgerNotes {
  const toldMs = new Map<string, number>();
  let loggedMs = Number.NEGATIVE_INFINITY;

  /** @returns whether the ledger took it */
  function attempt(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      onFailure?.();
      if (performance.now() - loggedMs >= intervalMs) {
        loggedMs = performance.now();
        const remedy = "look for room on the disk of dataDir; readings are stored and confirmed meanwhile";
        log.error({ code: "LEDGER_WRITE", err: messageOf(error), remedy }, "the ledger did not take a note");
      }
      return false;
    }
  }

  return {
    finding: (finding) => {
      const key = `${finding.code} ${finding.subject}`;
      const nowMs = performance.now();
      if (nowMs - (toldMs.get(key) ?? Number.NEGATIVE_INFINITY) < intervalMs) return "lately";
      if (!attempt(() => ledger.noteFinding(finding, clock.now()))) return "failed";
      toldMs.delete(key);
      toldMs.set(key, nowMs);
      const [oldest] = toldMs.keys();
      if (toldMs.size > maxTold && oldest !== undefined) toldMs.delete(oldest);
      return "noted";
    },
    birth: (birth) => void attempt(() => ledger.noteBirth(birth)),
    unregistered: (device) => void attempt(() => ledger.noteUnregistered(device, clock.now())),
    together: (work) => attempt(() => ledger.transaction(() => work(ledger))),
  };
}
