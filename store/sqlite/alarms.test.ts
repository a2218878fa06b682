import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { AlarmPart } from "@jilian/domain/alarm.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AlarmFacts, AlarmTrackKey, AlarmWrite } from "../alarms.ts";
import type { Ledger } from "../ledger.ts";
import { figure } from "../ledger-suite.ts";
import { alarmLedger, alarmSchema } from "./alarms.ts";
import { openLedger } from "./ledger.ts";
import { migrate, migrations } from "./schema.ts";

const log = pino({ level: "silent" });
let folder = "";
let path = "";
let ledger: Ledger;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "alarms-"));
  path = join(folder, "ledger.sqlite");
  ledger = openLedger({ path, log });
});
afterEach(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

const track: AlarmTrackKey = { rule: "hot", device: "f1/gw-1/press", metric: "t" };
const facts: AlarmFacts = {
  kind: "threshold",
  priority: "high",
  zh: "过热",
  en: "Too hot",
  unit: "°C",
  registryVersion: "0123456789ab",
  simulated: false,
};
const part = (fromMs: number, toMs?: number, peak = 5n): AlarmPart => ({ fromMs, toMs, peak, peakMs: fromMs });

/** A write of an alarm with some parts. */
function alarm(parts: readonly AlarmPart[], clearedMs?: number, over: Partial<AlarmWrite> = {}): AlarmWrite {
  const { peak, peakMs } = parts[0] as AlarmPart;
  const ending = clearedMs === undefined ? undefined : ("cleared" as const);
  return { id: undefined, track, facts, event: { parts, clearedMs, ending, peak, peakMs }, ...over };
}
const write = (one: AlarmWrite, nowMs = 1000) => ledger.writeAlarms([one], nowMs)[0] as number;

describe("alarms in the ledger", () => {
  it("come back as they were written, digits, gaps and all", () => {
    const negative = -123_456_789_012_345_678n;
    const id = write(alarm([part(10, 20, negative), part(30)]), 777);
    expect(ledger.alarm(id)).toEqual({
      ...{
        id,
        ...track,
        ...facts,
        state: "active_unacknowledged",
        raisedMs: 10,
        clearedMs: undefined,
        ending: undefined,
      },
      ...{ peak: negative, peakMs: 10, parts: [part(10, 20, negative), part(30)], withdrawnMs: null },
      ...{
        acknowledgedMs: null,
        acknowledgedBy: null,
        note: null,
        revision: 0,
        notedMs: 777,
        changedMs: 777,
        change: 1,
      },
    });
    const code: AlarmPart = { fromMs: 5, toMs: 9, peak: "ERR", peakMs: 5 };
    const state = write(alarm([code], 9, { facts: { ...facts, kind: "state", unit: null } }));
    expect(ledger.alarm(state)).toMatchObject({ parts: [code], peak: "ERR", state: "returned_unacknowledged" });
  });

  it("go through their states, each with the next number of the log, and count revisions by late readings alone", () => {
    const id = write(alarm([part(10)]));
    const seen = () => [ledger.alarm(id)?.state, ledger.alarm(id)?.revision, ledger.alarm(id)?.change];
    expect(seen()).toEqual(["active_unacknowledged", 0, 1]);
    write(alarm([part(10, undefined, 9n)], undefined, { id }));
    expect([seen(), ledger.alarm(id)?.peak]).toEqual([["active_unacknowledged", 0, 1], 9n]);
    write(alarm([part(10, 40)], undefined, { id }));
    expect(seen()).toEqual(["unknown_unacknowledged", 0, 2]);
    expect(ledger.acknowledgeAlarm(id, "chen", "seen", 2000)).toMatchObject({ note: "seen", acknowledgedMs: 2000 });
    expect(seen()).toEqual(["unknown_acknowledged", 0, 3]);
    expect(ledger.acknowledgeAlarm(id, "li", "too", 3000)).toBeUndefined();
    write(alarm([part(10, 40), part(60, 70)], 70, { id }));
    expect(seen()).toEqual(["returned_acknowledged", 0, 4]);
    write(alarm([part(12, 40), part(60, 65)], 65, { id }));
    expect(seen()).toEqual(["returned_acknowledged", 1, 5]);
    write({ id, track, facts, event: undefined });
    expect(seen()).toEqual(["withdrawn", 2, 6]);
    expect(ledger.alarmsOfTrack(track, 0, 1e9)).toEqual([]);
    expect(ledger.alarmsOver(0, 1e9)).toEqual([]);
    expect(ledger.acknowledgeAlarm(id, "li", "", 3000)).toBeUndefined();
    expect(ledger.alarmChangesAfter(5, 9).map((one) => one.change)).toEqual([6]);
  });

  it("share the numbers of the change log with figures", () => {
    write(alarm([part(10)]));
    ledger.writeResults([figure()]);
    write(alarm([part(20)]));
    expect(ledger.alarmChangesAfter(0, 9).map(({ change }) => change)).toEqual([1, 3]);
    expect(ledger.changesAfter(0, 9).map(({ change }) => change)).toEqual([2]);
    expect(ledger.changeLog().last).toBe(3);
  });

  it("are found by time: what overlaps, what a track has, what is open, the most pressing first", () => {
    const old = write(alarm([part(10, 20)], 20));
    const long = write(alarm([part(15)], undefined, { facts: { ...facts, priority: "low" } }));
    const urgent = write(alarm([part(30)], undefined, { facts: { ...facts, priority: "urgent" } }));
    const other = write(alarm([part(12, 18)], 18, { track: { ...track, metric: "u" } }));
    const ids = (rows: readonly { id: number }[]) => rows.map(({ id }) => id).sort();
    expect(ids(ledger.alarmsOver(19, 25))).toEqual([old, long]);
    expect(ids(ledger.alarmsOver(20, 30))).toEqual([long]);
    expect(ids(ledger.alarmsOfTrack(track, 20, 30))).toEqual([old, long]);
    expect(ledger.openAlarms(9).map(({ id }) => id)).toEqual([urgent, long]);
    expect(ledger.alarmTracks(19)).toEqual([track]);
    expect(ledger.alarmTracks(18)).toHaveLength(2);
    expect(ledger.alarmCounts()).toEqual({ active: 2, unknown: 0, unacknowledged: 4 });
    const page = { fromMs: 0, toMs: 100, limit: 2 };
    const first = ledger.alarms(page);
    expect(first.map(({ id }) => id)).toEqual([old, other]);
    const after = [first[1]?.raisedMs as number, other] as const;
    expect(ledger.alarms({ ...page, after }).map(({ id }) => id)).toEqual([long, urgent]);
    expect(ids(ledger.alarms({ ...page, state: "returned_unacknowledged" }))).toEqual([old, other]);
  });

  it("leave stretches behind whose figures are to be made again, each once, until they are forgotten", () => {
    ledger.noteAlarmStretches([
      { fromMs: 5, toMs: 9 },
      { fromMs: 1, toMs: 2 },
    ]);
    ledger.noteAlarmStretches([{ fromMs: 5, toMs: 9 }]);
    expect(ledger.alarmStretches()).toEqual([
      { fromMs: 1, toMs: 2 },
      { fromMs: 5, toMs: 9 },
    ]);
    ledger.forgetAlarmStretches();
    expect(ledger.alarmStretches()).toEqual([]);
  });

  it("are bounded: the oldest that have returned go, counted; open ones stay", () => {
    const db = new DatabaseSync(path);
    const transaction: Ledger["transaction"] = (work) => work();
    const bounded = alarmLedger(db, transaction, 3);
    const open = bounded.writeAlarms([alarm([part(1)])], 0)[0];
    for (let i = 10; i < 60; i += 10) bounded.writeAlarms([alarm([part(i, i + 5)], i + 5)], 0);
    expect(bounded.alarms({ fromMs: 0, toMs: 100, limit: 9 }).map(({ raisedMs }) => raisedMs)).toEqual([1, 40, 50]);
    expect(bounded.alarm(open as number)?.state).toBe("active_unacknowledged");
    expect(bounded.droppedAlarms()).toEqual({ count: 3, untilMs: 35 });
    db.close();
  });

  it("get their table when an older ledger is opened, which keeps what it had", () => {
    ledger.close();
    const older = join(folder, "older.sqlite");
    const db = new DatabaseSync(older);
    expect(migrate(db, older, migrations.slice(0, migrations.indexOf(alarmSchema)))).toBe(0);
    db.exec("INSERT INTO number VALUES ('kpi.foldedTx', 42)");
    db.close();
    ledger = openLedger({ path: older, log });
    expect(ledger.getNumber("kpi.foldedTx")).toBe(42);
    expect(ledger.alarm(write(alarm([part(10)])))?.raisedMs).toBe(10);
    expect(ledger.droppedAlarms()).toEqual({ count: 0, untilMs: 0 });
  });
});
