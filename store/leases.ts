import type { Ledger } from "./ledger.ts";

/** A lease as the ledger has it. */
export type LeaseView = {
  /** Grows by one each time that it is taken. */
  readonly epoch: number;
  /** Grows with every sign of life of its holder. */
  readonly beat: number;
  /** Who holds it, for people; null: nobody. */
  readonly holder: string | null;
};

/** What one process at a time may do. A lease is named, and held under an epoch that nobody else has ever held it under. */
export type LeaseLedger = {
  readonly lease: (name: string) => LeaseView | undefined;
  /**
   * Takes a lease that nobody holds, or whose holder has given no sign of life since it was seen.
   * @returns the new epoch; undefined when somebody holds it, or writes to the ledger for longer than one waits for that
   */
  readonly takeLease: (name: string, holder: string, seen?: LeaseView) => number | undefined;
  /** Gives a sign of life. @returns false when the epoch does not hold the lease any more */
  readonly renewLease: (name: string, epoch: number) => boolean;
  /** Gives it back; nothing where the epoch does not hold it any more. */
  readonly releaseLease: (name: string, epoch: number) => void;
};

/** Every function of a ledger: whether it writes. A new one has to be said here, so that none escapes the fence. */
const kinds: Readonly<Record<keyof Ledger, "reads" | "writes" | "neither">> = {
  ...{ setCredential: "writes", authenticate: "reads", authenticateKey: "reads" },
  ...{ revokeCredential: "writes", credentials: "reads" },
  ...{ addToken: "writes", token: "reads", useToken: "writes", withdrawTokens: "writes", addCertificate: "writes" },
  ...{ certificate: "reads", certificates: "reads", revokeCertificate: "writes" },
  ...{ accessRevision: "reads", credentialStamp: "reads" },
  ...{ writeResults: "writes", readResults: "reads", readResult: "reads", history: "reads", revisions: "reads" },
  ...{ changeLog: "reads", changesAfter: "reads", readResultsAsOf: "reads", provisionalBefore: "reads" },
  ...{ noteBirth: "writes", firstBirths: "reads", noteUnregistered: "writes", unregistered: "reads" },
  ...{ noteFinding: "writes", judgeFindings: "writes", findings: "reads" },
  ...{ findingPeriods: "reads", droppedFindingPeriods: "reads" },
  ...{ nodeBoxes: "reads", noteNodeBox: "writes", addAudit: "writes", audit: "reads" },
  ...{ getNumber: "reads", setNumber: "writes", transaction: "neither", close: "neither" },
  ...{ noteHours: "writes", knownHours: "reads" },
  ...{
    addRecompute: "writes",
    nextRecompute: "reads",
    recompute: "reads",
    moveRecompute: "writes",
    endRecompute: "writes",
  },
  ...{ takenUp: "reads", noteTakenUp: "writes", forgetTakenUp: "writes" },
  ...{ registryVersions: "reads", lastRegistryNumber: "reads", addRegistryVersion: "writes" },
  ...{ definitionVersions: "reads", addDefinitionVersion: "writes", figureVersions: "reads" },
  ...{ writeAccounts: "writes", noteDue: "writes", dueHours: "reads", writeStored: "writes", differingHours: "reads" },
  ...{ notePublished: "writes", lossyHours: "reads", polls: "reads", pollDays: "reads", completeness: "reads" },
  ...{ prune: "writes", writeAlarms: "writes", alarmsOfTrack: "reads", alarmTracks: "reads", alarmsOver: "reads" },
  ...{ alarm: "reads", alarms: "reads", openAlarms: "reads", alarmCounts: "reads", droppedAlarms: "reads" },
  ...{ noteAlarmStretches: "writes", alarmStretches: "reads", forgetAlarmStretches: "writes" },
  ...{ noteAlarmsAgain: "writes", alarmsAgain: "reads", forgetAlarmsAgain: "writes" },
  ...{ alarmChangesAfter: "reads", acknowledgeAlarm: "writes" },
  ...{ lease: "reads", takeLease: "neither", renewLease: "neither", releaseLease: "neither" },
};

/** What a holder of a lease may do with the ledger. */
export type Fence = {
  readonly epoch: number;
  /** Called inside of each transaction, before it writes. @throws where the lease is not held any more: nothing is written */
  readonly hold: () => void;
};

/**
 * A ledger that is written under a lease alone. The lease is looked at inside the transaction that writes, whose lock keeps everybody else
 * from taking it before the end: a process that stood still for however long after it had looked writes nothing. Results carry the epoch.
 */
export function fencedLedger(ledger: Ledger, { epoch, hold }: Fence): Ledger {
  let isHeld = false;
  const transaction: Ledger["transaction"] = (work) => {
    if (isHeld) return ledger.transaction(work);
    return ledger.transaction(() => {
      hold();
      isHeld = true;
      try {
        return work();
      } finally {
        isHeld = false;
      }
    });
  };
  const fenced =
    (write: (...given: never[]) => unknown) =>
    (...given: never[]) =>
      transaction(() => write(...given));
  const writes = Object.entries(kinds).filter(([, kind]) => kind === "writes");
  return {
    ...ledger,
    ...Object.fromEntries(writes.map(([name]) => [name, fenced(ledger[name as keyof Ledger])])),
    transaction,
    writeResults: (results) => transaction(() => ledger.writeResults(results, epoch)),
  };
}
