import type { DatabaseSync, SQLInputValue, SQLOutputValue } from "node:sqlite";
import {
  type AlarmEnding,
  type AlarmEvent,
  type AlarmKind,
  type AlarmPart,
  type AlarmPriority,
  type AlarmValue,
  alarmPriorities,
  raisedMsOf,
  unknownSinceMs,
} from "@jilian/domain/alarm.ts";
import { atScale, formatScaled, parseDecimal } from "@jilian/domain/decimal.ts";
import { gaugeScale } from "@jilian/domain/gauge-leaf.ts";
import { greatestOf } from "@jilian/domain/lists.ts";
import {
  type AlarmLedger,
  type AlarmStateName,
  type AlarmStretch,
  type AlarmWrite,
  maxAlarms,
  type StoredAlarm,
} from "../alarms.ts";
import type { Ledger } from "../ledger.ts";

/** Step of the ledger's schema. `parts` is null where an event is one part from raised to cleared. */
export const alarmSchema = `
   CREATE TABLE alarm (
     id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, device TEXT NOT NULL, metric TEXT NOT NULL, kind TEXT NOT NULL,
     priority TEXT NOT NULL, zh TEXT NOT NULL, en TEXT, unit TEXT, registry_version TEXT NOT NULL, simulated INTEGER NOT NULL,
     raised_ms INTEGER NOT NULL, cleared_ms INTEGER, ending TEXT, unknown_ms INTEGER, parts TEXT, peak TEXT NOT NULL,
     peak_ms INTEGER NOT NULL, withdrawn_ms INTEGER, acknowledged_ms INTEGER, acknowledged_by TEXT, note TEXT,
     revision INTEGER NOT NULL, noted_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL, change INTEGER NOT NULL,
     state TEXT NOT NULL AS (CASE WHEN withdrawn_ms IS NOT NULL THEN 'withdrawn' ELSE
       CASE WHEN cleared_ms IS NOT NULL THEN 'returned' WHEN unknown_ms IS NOT NULL THEN 'unknown' ELSE 'active' END ||
       CASE WHEN acknowledged_ms IS NULL THEN '_unacknowledged' ELSE '_acknowledged' END END) VIRTUAL
   ) STRICT;
   CREATE UNIQUE INDEX alarm_change ON alarm (change);
   CREATE INDEX alarm_raised ON alarm (raised_ms, id);
   CREATE INDEX alarm_track ON alarm (rule, device, metric, raised_ms) WHERE withdrawn_ms IS NULL;
   CREATE INDEX alarm_cleared ON alarm (cleared_ms) WHERE withdrawn_ms IS NULL;
   CREATE INDEX alarm_unacknowledged ON alarm (raised_ms) WHERE withdrawn_ms IS NULL AND acknowledged_ms IS NULL;
   CREATE TABLE alarm_stretch (from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, PRIMARY KEY (from_ms, to_ms)) STRICT, WITHOUT ROWID;`;

/** Step of the ledger's schema: what a recompute has still to judge again. */
export const alarmAgainSchema = `
   CREATE TABLE alarm_again (from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, PRIMARY KEY (from_ms, to_ms)) STRICT, WITHOUT ROWID;`;

const columns = `id, rule, device, metric, kind, priority, zh, en, unit, registry_version, simulated, raised_ms, cleared_ms, ending,
  parts, peak, peak_ms, withdrawn_ms, acknowledged_ms, acknowledged_by, note, revision, noted_ms, changed_ms, change, state`;

const droppedName = "alarms.dropped";
const droppedUntilName = "alarms.droppedUntilMs";

const textOf = (value: AlarmValue) => (typeof value === "bigint" ? formatScaled(value, gaugeScale) : value);
const readPeak = (text: string, kind: AlarmKind): AlarmValue =>
  kind === "state" ? text : atScale(parseDecimal(text), gaugeScale);

function partsText({ parts, clearedMs }: AlarmEvent): string | null {
  if (parts.length === 1 && parts[0]?.toMs === clearedMs) return null;
  return JSON.stringify(parts.map(({ fromMs, toMs, peak, peakMs }) => [fromMs, toMs ?? null, textOf(peak), peakMs]));
}

function partsOf(text: string, kind: AlarmKind): AlarmPart[] {
  const rows = JSON.parse(text) as [number, number | null, string, number][];
  return rows.map(([fromMs, toMs, peak, peakMs]) => ({
    ...{ fromMs, toMs: toMs ?? undefined, peakMs },
    peak: readPeak(peak, kind),
  }));
}

type Row = Record<string, SQLOutputValue>;

function fromRow(row: Row): StoredAlarm {
  const kind = row.kind as AlarmKind;
  const raisedMs = row.raised_ms as number;
  const clearedMs = (row.cleared_ms ?? undefined) as number | undefined;
  const peak = readPeak(row.peak as string, kind);
  const peakMs = row.peak_ms as number;
  return {
    id: row.id as number,
    ...{ rule: row.rule as string, device: row.device as string, metric: row.metric as string },
    ...{ kind, priority: row.priority as AlarmPriority, zh: row.zh as string, en: row.en as string | null },
    unit: row.unit as string | null,
    registryVersion: row.registry_version as string,
    simulated: row.simulated === 1,
    ...{ raisedMs, clearedMs, ending: (row.ending ?? undefined) as AlarmEnding | undefined, peak, peakMs },
    parts:
      row.parts === null ? [{ fromMs: raisedMs, toMs: clearedMs, peak, peakMs }] : partsOf(row.parts as string, kind),
    state: row.state as AlarmStateName,
    withdrawnMs: row.withdrawn_ms as number | null,
    acknowledgedMs: row.acknowledged_ms as number | null,
    acknowledgedBy: row.acknowledged_by as string | null,
    note: row.note as string | null,
    ...{ revision: row.revision as number, notedMs: row.noted_ms as number, changedMs: row.changed_ms as number },
    change: row.change as number,
  };
}

type Written = NonNullable<AlarmWrite["event"]>;

/** The columns that an event decides, in the order of the statements below. */
function eventColumns(event: Written): SQLInputValue[] {
  return [
    ...[raisedMsOf(event), event.clearedMs ?? null, event.ending ?? null, unknownSinceMs(event) ?? null],
    ...[partsText(event), textOf(event.peak), event.peakMs],
  ];
}

/** True where what was told of an alarm has turned out otherwise: by late readings alone. */
function isRevised(before: StoredAlarm, event: Written | undefined): boolean {
  if (!event || before.withdrawnMs !== null) return true;
  return (
    raisedMsOf(event) !== before.raisedMs || (before.clearedMs !== undefined && event.clearedMs !== before.clearedMs)
  );
}

/** True where only the peak differs. */
function isSameTime(before: StoredAlarm, event: Written): boolean {
  const times = ({ parts }: AlarmEvent) => parts.map(({ fromMs, toMs }) => `${fromMs}-${toMs}`).join();
  return (
    before.withdrawnMs === null &&
    before.clearedMs === event.clearedMs &&
    before.ending === event.ending &&
    times(before) === times(event)
  );
}

/** Writing of alarms. `transaction` must take the write lock at its start: the change counter is read under it. */
function alarmWriter(db: DatabaseSync, transaction: Ledger["transaction"], most: number) {
  const nextChange = db.prepare("UPDATE change_counter SET last = last + 1 RETURNING last");
  const insert = db.prepare(
    `INSERT INTO alarm (raised_ms, cleared_ms, ending, unknown_ms, parts, peak, peak_ms, rule, device, metric, kind, priority, zh, en, unit,
       registry_version, simulated, revision, noted_ms, changed_ms, change)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)`,
  );
  const update = db.prepare(
    `UPDATE alarm SET raised_ms = ?, cleared_ms = ?, ending = ?, unknown_ms = ?, parts = ?, peak = ?, peak_ms = ?, withdrawn_ms = NULL,
       revision = ?, changed_ms = ?, change = ? WHERE id = ?`,
  );
  const withdraw = db.prepare(
    "UPDATE alarm SET withdrawn_ms = ?1, revision = revision + 1, changed_ms = ?1, change = ?2 WHERE id = ?3",
  );
  const acknowledge = db.prepare(
    `UPDATE alarm SET acknowledged_ms = ?1, acknowledged_by = ?2, note = ?3, changed_ms = ?1, change = ?4 WHERE id = ?5`,
  );
  const one = db.prepare(`SELECT ${columns} FROM alarm WHERE id = ?`);
  const count = db.prepare("SELECT count(*) AS n FROM alarm");
  const drop = db.prepare(
    `DELETE FROM alarm WHERE id IN (SELECT id FROM alarm WHERE cleared_ms IS NOT NULL OR withdrawn_ms IS NOT NULL
       ORDER BY raised_ms, id LIMIT ?) RETURNING withdrawn_ms, cleared_ms`,
  );
  const raiseNumber = db.prepare(
    `INSERT INTO number VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = CASE ?3 WHEN 'add' THEN value + ?2 ELSE max(value, ?2) END`,
  );
  const change = () => Number(nextChange.get()?.last);

  function alarm(id: number): StoredAlarm | undefined {
    const row = one.get(id);
    return row && fromRow(row);
  }

  function write({ id, track, facts, event }: AlarmWrite, nowMs: number): number {
    const before = id === undefined ? undefined : alarm(id);
    if (before && !event) withdraw.run(nowMs, change(), before.id);
    if (!event) return id ?? 0;
    if (before) {
      const quiet = isSameTime(before, event);
      const revision = before.revision + (isRevised(before, event) ? 1 : 0);
      const [changedMs, number] = quiet ? [before.changedMs, before.change] : [nowMs, change()];
      update.run(...eventColumns(event), revision, changedMs, number, before.id);
      return before.id;
    }
    const { kind, priority, zh, en, unit, registryVersion, simulated } = facts;
    const own = [
      track.rule,
      track.device,
      track.metric,
      kind,
      priority,
      zh,
      en,
      unit,
      registryVersion,
      Number(simulated),
    ];
    return Number(insert.run(...eventColumns(event), ...own, nowMs, nowMs, change()).lastInsertRowid);
  }

  function dropOldest(): void {
    const over = Number(count.get()?.n) - most;
    if (over <= 0) return;
    const gone = drop.all(over).filter((row) => row.withdrawn_ms === null);
    if (gone.length === 0) return;
    raiseNumber.run(droppedName, gone.length, "add");
    raiseNumber.run(droppedUntilName, greatestOf(gone.map((row) => row.cleared_ms as number)), "max");
  }

  return {
    alarm,
    writeAlarms: (writes: readonly AlarmWrite[], nowMs: number) =>
      transaction(() => {
        const ids = writes.map((one) => write(one, nowMs));
        if (writes.some(({ id }) => id === undefined)) dropOldest();
        return ids;
      }),
    acknowledgeAlarm: (id: number, by: string, note: string, nowMs: number) =>
      transaction(() => {
        const before = alarm(id);
        if (!before || before.withdrawnMs !== null || before.acknowledgedMs !== null) return undefined;
        acknowledge.run(nowMs, by, note, change(), id);
        return alarm(id);
      }),
  };
}

/** Stretches that are noted until all are forgotten. */
function stretchTable(db: DatabaseSync, table: "alarm_stretch" | "alarm_again") {
  const insert = db.prepare(`INSERT OR IGNORE INTO ${table} VALUES (?, ?)`);
  const select = db.prepare(`SELECT from_ms AS fromMs, to_ms AS toMs FROM ${table} ORDER BY from_ms, to_ms`);
  const clear = db.prepare(`DELETE FROM ${table}`);
  return {
    note: ({ fromMs, toMs }: AlarmStretch): void => {
      insert.run(fromMs, toMs);
    },
    all: () => select.all().map((row) => ({ ...row }) as AlarmStretch),
    // Most of the time there are none: a write would cost a sync of the disk.
    forget: (): void => {
      if (select.get()) clear.run();
    },
  };
}

/** Alarms of the embedded ledger. @param most kept at most */
export function alarmLedger(db: DatabaseSync, transaction: Ledger["transaction"], most = maxAlarms): AlarmLedger {
  const ofTrack = db.prepare(
    `SELECT ${columns} FROM alarm WHERE rule = ? AND device = ? AND metric = ? AND withdrawn_ms IS NULL AND raised_ms < ?
       AND (cleared_ms IS NULL OR cleared_ms >= ?) ORDER BY raised_ms, id`,
  );
  const open = "cleared_ms IS NULL AND withdrawn_ms IS NULL";
  const tracks = db.prepare(
    `SELECT DISTINCT rule, device, metric FROM (SELECT * FROM alarm WHERE ${open} UNION ALL
       SELECT * FROM alarm WHERE cleared_ms >= ? AND withdrawn_ms IS NULL)`,
  );
  // Two ways into the table, each by its index: those that ended after the begin, and the few that have not ended.
  const over = db.prepare(
    `SELECT ${columns} FROM alarm WHERE cleared_ms > $fromMs AND withdrawn_ms IS NULL AND raised_ms < $toMs UNION ALL
     SELECT ${columns} FROM alarm WHERE ${open} AND raised_ms < $toMs`,
  );
  const page = db.prepare(
    `SELECT ${columns} FROM alarm WHERE raised_ms >= $afterMs AND (raised_ms, id) > ($afterMs, $afterId) AND raised_ms < $toMs
       AND (cleared_ms IS NULL OR cleared_ms > $fromMs) AND ($state IS NULL OR state = $state)
       AND ($device IS NULL OR device = $device) ORDER BY raised_ms, id LIMIT $limit`,
  );
  const rank = alarmPriorities.map((priority, i) => `WHEN '${priority}' THEN ${i}`).join(" ");
  const pressing = db.prepare(
    `SELECT ${columns} FROM alarm WHERE ${open} ORDER BY CASE priority ${rank} END, raised_ms DESC, id DESC LIMIT ?`,
  );
  const counts = db.prepare(
    `SELECT (SELECT count(*) FROM alarm WHERE ${open} AND unknown_ms IS NULL) AS active,
       (SELECT count(*) FROM alarm WHERE ${open} AND unknown_ms IS NOT NULL) AS unknown,
       (SELECT count(*) FROM alarm WHERE withdrawn_ms IS NULL AND acknowledged_ms IS NULL) AS unacknowledged`,
  );
  const changed = db.prepare(`SELECT ${columns} FROM alarm WHERE change > ? ORDER BY change LIMIT ?`);
  const differing = stretchTable(db, "alarm_stretch");
  const again = stretchTable(db, "alarm_again");
  const number = db.prepare("SELECT value FROM number WHERE name = ?");
  const numberOf = (name: string) => Number(number.get(name)?.value ?? 0);
  return {
    ...alarmWriter(db, transaction, most),
    alarmsOfTrack: ({ rule, device, metric }, fromMs, toMs) =>
      ofTrack.all(rule, device, metric, toMs, fromMs).map(fromRow),
    alarmTracks: (fromMs) =>
      tracks.all(fromMs).map(({ rule, device, metric }) => ({
        ...{ rule: rule as string, device: device as string, metric: metric as string },
      })),
    alarmsOver: (fromMs, toMs) => over.all({ fromMs, toMs }).map(fromRow),
    alarms: ({ fromMs, toMs, state = null, device = null, after: [afterMs, afterId] = [0, 0], limit }) =>
      page.all({ fromMs, toMs, state, device, afterMs, afterId, limit }).map(fromRow),
    openAlarms: (limit) => pressing.all(limit).map(fromRow),
    alarmCounts: () => {
      const { active, unknown, unacknowledged } = counts.get() as Record<string, number>;
      return { active: active ?? 0, unknown: unknown ?? 0, unacknowledged: unacknowledged ?? 0 };
    },
    droppedAlarms: () => ({ count: numberOf(droppedName), untilMs: numberOf(droppedUntilName) }),
    noteAlarmStretches: (own) => transaction(() => own.forEach(differing.note)),
    alarmStretches: differing.all,
    forgetAlarmStretches: differing.forget,
    noteAlarmsAgain: again.note,
    alarmsAgain: again.all,
    forgetAlarmsAgain: again.forget,
    alarmChangesAfter: (after, limit) => changed.all(after, limit).map(fromRow),
  };
}
