import type { DefinitionSince } from "@jilian/domain/indicators/in-force.ts";
import type { Period } from "@jilian/domain/periods.ts";
import type { Result, ResultKey } from "@jilian/domain/result.ts";
import type { AlarmLedger } from "./alarms.ts";
import type { CertificateLedger } from "./certificates.ts";
import type { CompletenessLedger } from "./completeness.ts";
import type { FindingLedger } from "./findings.ts";
import type { KpiLedger } from "./kpi-ledger.ts";
import type { LeaseLedger } from "./leases.ts";
import type { RegistryLedger } from "./registry-versions.ts";
import type { ResultQuery } from "./telemetry.ts";

/** Whom a credential lets in, and as what. */
export type Principal =
  /** A gateway: publishes only under its own group and node. MQTT user name `group/node`. */
  | { kind: "gateway"; name: string; group: string; node: string }
  /** A Sparkplug host application (ingest): hears all nodes, commands them. */
  | { kind: "host"; name: string }
  /** A user of the open data interface, which reads. */
  | { kind: "api"; name: string }
  /** Who may change the registry over the operator interface. */
  | { kind: "operator"; name: string };

/** A credential as it may be shown: who, and since when the present secret holds. Never the secret, nor its hash. */
export type CredentialView = {
  kind: Principal["kind"];
  name: string;
  /** When the present secret was set, UTC ms; null for one of a ledger older than version 2. */
  createdMs: number | null;
};

/** A figure with its place in the change log, and the epoch of the lease under which it was written; 0 where there was none. */
export type LoggedResult = Result & { change: number; leaseEpoch: number };

/** Where the change log stands. */
export type ChangeLog = {
  /** Names this log: another one, in a ledger made anew, numbers its changes from 1 again. */
  id: string;
  /** Number of the last change; 0 when there is none. */
  last: number;
};

/** A question for figures as they stood once a change was made; `after`: start, entity and indicator of the last one that was read. */
export type PinnedQuery = ResultQuery & {
  asOfChange: number;
  after?: readonly [startMs: number, entity: string, indicator: string];
};

/** A device that was seen but is not in the registry: listed, never counted. */
export type UnregisteredDevice = {
  group: string;
  node: string;
  device: string;
  firstSeenMs: number;
  lastSeenMs: number;
};

/** When a device was first seen connected through its own gateway. */
export type FirstBirth = { group: string; node: string; device: string; firstBirthMs: number };

/**
 * What the births of one outbox file said last. A file is made with a random name; a gateway whose births name another one is another
 * box, or has another disk.
 */
export type NodeBox = {
  group: string;
  node: string;
  box: string;
  /** Epochs that the file has begun, and the last of them. */
  starts: number;
  epoch: string;
  /** Counters of the file, and of the process in the case of `setBacks`. */
  droppedSamples: number;
  setAsideRecords: number;
  setBacks: number;
  lastSeenMs: number;
};

/** A change that someone made, as the audit table keeps it: nothing there is ever changed or deleted. */
export type AuditEntry = {
  /** Grows with every entry, from 1. */
  id: number;
  atMs: number;
  /** Who: the name of an operator's key, or `user@host` of who called a command. */
  actor: string;
  /** From where: `command`, `start`, or the address of the caller of the operator interface. */
  origin: string;
  /** What was done: `registry.apply`, `credential.set`, `credential.revoke`. */
  action: string;
  /** To what: a version of the registry, kind and name of a credential. */
  subject: string;
  /** What it was, as a JSON object. */
  detail: string;
};

/** Since when versions of definitions are in force at this installation. */
export type DefinitionLedger = {
  /** In the order in which they were noted. */
  readonly definitionVersions: () => DefinitionSince[];
  /** Notes one for good. */
  readonly addDefinitionVersion: (since: DefinitionSince) => void;
  /** The newest version that made a figure of each indicator of which there are figures. Reads all figures: for the first start of a release. */
  readonly figureVersions: () => Pick<DefinitionSince, "indicator" | "version">[];
};

type LedgerParts = AlarmLedger &
  CertificateLedger &
  CompletenessLedger &
  FindingLedger &
  KpiLedger &
  LeaseLedger &
  RegistryLedger &
  DefinitionLedger;

/**
 * Results from the quarter hour and from factory upward, credentials, births, findings: what several processes share. Implementations: SQLite
 * (embedded); PostgreSQL follows. Calls are synchronous in SQLite and cheap; none is made per sample.
 */
export type Ledger = LedgerParts & {
  /** Replaces the credential of a name by a new secret; only a salted hash is kept. */
  readonly setCredential: (principal: Principal, secret: string) => void;
  /** The principal of a name and secret, or undefined; takes the same time for a wrong name as for a wrong secret. */
  readonly authenticate: (kind: Principal["kind"], name: string, secret: string) => Principal | undefined;
  /** The principal a key belongs to, one of the open data interface unless another kind is said: keys are `name.secret`. */
  readonly authenticateKey: (key: string, kind?: "api" | "operator") => Principal | undefined;
  /** Withdraws a credential; it counts nowhere from the next check on. @returns false when there was none */
  readonly revokeCredential: (kind: Principal["kind"], name: string) => boolean;
  /** Who has a credential, by kind and name. */
  readonly credentials: () => CredentialView[];

  /** Writes results that differ from what is there, moves the old ones to history, numbers each change without gaps. */
  readonly writeResults: (results: readonly Result[], leaseEpoch?: number) => number;
  readonly readResults: (query: ResultQuery) => LoggedResult[];
  readonly readResult: (key: ResultKey) => LoggedResult | undefined;
  /** Older revisions of a figure, oldest first. */
  readonly history: (key: ResultKey) => LoggedResult[];
  /** Every revision of a figure that was kept, oldest first, the present one last; of one moment. */
  readonly revisions: (key: ResultKey) => LoggedResult[];
  readonly changeLog: () => ChangeLog;
  /**
   * What the log says after a change, in its order, present figures and old revisions alike, at most `limit`. Numbers grow; one that is
   * left out was a provisional look that a later change in the log has replaced. A number that is not there yet never comes before one
   * that is: who goes on from the last number it was given misses nothing and sees nothing twice.
   */
  readonly changesAfter: (after: number, limit: number) => LoggedResult[];
  /**
   * Figures as they stood once a change was made, by start, entity, indicator: the same figures however the log has grown since. Each
   * has the digits it had then, out of history; where it was provisional then and was looked at again since, which is not kept, it has
   * its oldest kept digits after it, and a `change` beyond `asOfChange` that says so.
   */
  readonly readResultsAsOf: (query: PinnedQuery) => LoggedResult[];
  /** Results that are still provisional and whose period ended before a time. */
  readonly provisionalBefore: (period: Period, endMs: number) => LoggedResult[];

  /** Notes a birth; keeps the earliest. Returns true when it is the first of the device. */
  readonly noteBirth: (birth: FirstBirth) => boolean;
  readonly firstBirths: () => FirstBirth[];
  readonly noteUnregistered: (device: { group: string; node: string; device: string }, atMs: number) => void;
  readonly unregistered: () => UnregisteredDevice[];

  /** The boxes that were seen under a gateway's name, the last one first, at most 16. */
  readonly nodeBoxes: (group: string, node: string) => NodeBox[];
  /** Notes what a box said, in place of what it said before. */
  readonly noteNodeBox: (box: NodeBox) => void;

  readonly addAudit: (entry: Omit<AuditEntry, "id">) => void;
  /** What was changed, the newest first, at most `limit`, older than the entry `beforeId`. */
  readonly audit: (question: { beforeId?: number; limit: number }) => AuditEntry[];

  /** Small durable numbers of the services: progress of the KPI engine. */
  readonly getNumber: (name: string) => number | undefined;
  readonly setNumber: (name: string, value: number) => void;
  /** Runs several writes as one transaction. */
  readonly transaction: <T>(work: () => T) => T;
  readonly close: () => void;
};
