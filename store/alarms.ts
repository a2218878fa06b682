import type { AlarmEvent, AlarmKind, AlarmPriority, AlarmValue } from "@jilian/domain/alarm.ts";

/** Whose events they are: one rule on one series. `device` is `factory/gateway/device`. */
export type AlarmTrackKey = { readonly rule: string; readonly device: string; readonly metric: string };

/**
 * States of an alarm after IEC 62682: active or returned to normal, each acknowledged or not. Two are ours: `unknown_…` while its readings
 * have stopped (domain/alarm.ts), and `withdrawn` where late readings show that it never was.
 */
export const alarmStates = [
  "active_unacknowledged",
  "active_acknowledged",
  "unknown_unacknowledged",
  "unknown_acknowledged",
  "returned_unacknowledged",
  "returned_acknowledged",
  "withdrawn",
] as const;
export type AlarmStateName = (typeof alarmStates)[number];

/** What the registry in force said when an alarm was raised. */
export type AlarmFacts = {
  readonly kind: AlarmKind;
  readonly priority: AlarmPriority;
  readonly zh: string;
  readonly en: string | null;
  /** Of its values; null of a state, and where the series names none. */
  readonly unit: string | null;
  readonly registryVersion: string;
  readonly simulated: boolean;
};

/** An alarm as the ledger keeps it. */
export type StoredAlarm = AlarmTrackKey &
  AlarmFacts &
  AlarmEvent & {
    /** Never used again. */
    readonly id: number;
    readonly state: AlarmStateName;
    readonly raisedMs: number;
    readonly peak: AlarmValue;
    readonly peakMs: number;
    /** When it was withdrawn, platform time; null where it was not. */
    readonly withdrawnMs: number | null;
    readonly acknowledgedMs: number | null;
    readonly acknowledgedBy: string | null;
    /** What who acknowledged it said. */
    readonly note: string | null;
    /** How often late readings changed what had been told of it. */
    readonly revision: number;
    /** When the platform first knew of it, and when it last changed, platform time. */
    readonly notedMs: number;
    readonly changedMs: number;
    /** Place of its last change in the change log, whose numbers it shares with figures. */
    readonly change: number;
  };

/** An event to be kept: a new one, or another look at a known one. */
export type AlarmWrite = {
  /** Of a known one. */
  readonly id: number | undefined;
  readonly track: AlarmTrackKey;
  /** `simulated` and all else as of now; a known one keeps what it was raised with. */
  readonly facts: AlarmFacts;
  /** Undefined: it never was. */
  readonly event: (AlarmEvent & { readonly peak: AlarmValue; readonly peakMs: number }) | undefined;
};

export type AlarmQuery = {
  /** Alarms that were raised before `toMs` and had not been cleared at `fromMs`. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly state?: AlarmStateName | undefined;
  readonly device?: string | undefined;
  /** By time of raising and id: behind this one. */
  readonly after?: readonly [raisedMs: number, id: number] | undefined;
  readonly limit: number;
};

/** How many alarms there are now. */
export type AlarmCounts = { readonly active: number; readonly unknown: number; readonly unacknowledged: number };

/** What was dropped because the ledger keeps so many alarms at most. */
export type DroppedAlarms = {
  readonly count: number;
  /** Counts and times of periods that begin before this may lack some of them, UTC ms; 0 where none was dropped. */
  readonly untilMs: number;
};

/** Alarms that the ledger keeps; beyond it the oldest that have returned go, acknowledged or not. */
export const maxAlarms = 100_000;

/** A stretch of source time, [fromMs, toMs), whose counts and times of alarms have changed, or whose readings are to be judged again. */
export type AlarmStretch = { readonly fromMs: number; readonly toMs: number };

/** Where alarms are kept. */
export type AlarmLedger = {
  /** Keeps events, in one transaction, each change with a number of the change log but for a peak alone. @returns their ids in the order given */
  readonly writeAlarms: (writes: readonly AlarmWrite[], nowMs: number) => number[];
  /** Alarms of a track that are not withdrawn, were raised before `toMs` and had not been cleared before `fromMs`, in order. */
  readonly alarmsOfTrack: (track: AlarmTrackKey, fromMs: number, toMs: number) => StoredAlarm[];
  /** The tracks that have alarms that are not withdrawn and had not been cleared before `fromMs`. */
  readonly alarmTracks: (fromMs: number) => AlarmTrackKey[];
  /** Alarms that are not withdrawn and overlap [fromMs, toMs), in any order. */
  readonly alarmsOver: (fromMs: number, toMs: number) => StoredAlarm[];
  readonly alarm: (id: number) => StoredAlarm | undefined;
  /** A page, by time of raising and id. */
  readonly alarms: (query: AlarmQuery) => StoredAlarm[];
  /** Those that have not returned, the most pressing first, of equals the newest; at most `limit`. */
  readonly openAlarms: (limit: number) => StoredAlarm[];
  readonly alarmCounts: () => AlarmCounts;
  readonly droppedAlarms: () => DroppedAlarms;
  /** Notes stretches whose figures may lack what alarms say; they stay until they are forgotten. */
  readonly noteAlarmStretches: (stretches: readonly AlarmStretch[]) => void;
  readonly alarmStretches: () => AlarmStretch[];
  readonly forgetAlarmStretches: () => void;
  /** Notes a stretch whose readings are to be judged again, whatever was made of them; it stays until all are forgotten. */
  readonly noteAlarmsAgain: (stretch: AlarmStretch) => void;
  readonly alarmsAgain: () => AlarmStretch[];
  readonly forgetAlarmsAgain: () => void;
  /** Alarms whose last change comes after a number of the change log, by it, as they are now. */
  readonly alarmChangesAfter: (after: number, limit: number) => StoredAlarm[];
  /**
   * Acknowledges an alarm. @returns the alarm as it is then; undefined where there is none, it is withdrawn or acknowledged already, and
   * nothing was done
   */
  readonly acknowledgeAlarm: (id: number, by: string, note: string, nowMs: number) => StoredAlarm | undefined;
};
