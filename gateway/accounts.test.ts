import { DatabaseSync } from "node:sqlite";
import { accountMetric, gapReasons } from "@jilian/domain/account.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  bench,
  device,
  hour,
  only,
  pass,
  poll,
  setUp,
  start,
  t0,
  tearDown,
  time,
  told,
  written,
} from "./test-accounts.ts";

beforeEach(setUp);
afterEach(tearDown);

describe("what is told", () => {
  it("every five minutes while the hour is open, when it ends, and again when it changes; cumulative", () => {
    const run = start();
    for (let i = 0; i < 50 * 60 + 1; i += 1) {
      poll(run, 1);
      run.accounts.tick();
    }
    expect(told().map(({ hourMs: at, queued }) => [at - hour, queued])).toEqual([
      ...Array.from({ length: 9 }, (_, i) => [0, (i + 1) * 300]),
      [0, 3000],
    ]);
    expect(only(hour)).toMatchObject({ scheduled: 3000, answered: 3000, polled: 6000, suppressed: 3000, queued: 3000 });
    // A sample with a source time of the hour before.
    run.write(hour + 1);
    run.accounts.tick();
    expect(only(hour).queued).toBe(3000);
    pass(5 * minuteMs);
    run.accounts.tick();
    expect(only(hour).queued).toBe(3001);
    expect(only(hour + hourMs).queued).toBe(1);
  });

  it("of readings that were held back when they make samples after all, and of samples without a reading", () => {
    const run = start();
    poll(run, 1);
    run.accounts.polls.released(device, 2, 3);
    pass(5 * minuteMs);
    run.accounts.tick();
    expect(only(hour)).toMatchObject({ scheduled: 1, answered: 1, polled: 4, suppressed: 1, marked: 3 });
  });

  it("as samples of the device's own metric, their source times strictly increasing over restarts, apart from those of its readings", async () => {
    const run = start();
    const [definition] = run.accounts.withAccount([]);
    expect(definition).toEqual({ name: accountMetric, datatype: DataType.String, simulated: false });
    poll(run, 1);
    pass(5 * minuteMs);
    run.accounts.tick();
    expect(written[0]).toMatchObject({
      device,
      samples: [{ metricId: run.ids[1], status: 0, sourceTimeMs: time.clockMs }],
    });
    const toldMs = time.clockMs;
    await bench.stop(run.outbox);
    const again = start();
    expect(again.accounts.lastSourceTimeMs(device)).toBe(t0);
    poll(again, 1);
    // A clock that ran back.
    time.clockMs = toldMs - 2 * hourMs;
    pass(5 * minuteMs);
    again.accounts.tick();
    pass(5 * minuteMs);
    again.accounts.tick();
    const times = written.flatMap(({ samples }) => samples.map(({ sourceTimeMs }) => sourceTimeMs));
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(new Set(times).size).toBe(times.length);
  });

  it("nothing of a device that was never read; once an hour of one that cannot be read", () => {
    const run = start();
    run.accounts.polls.failed(device, "MODBUS_CONNECT_REFUSED", time.clockMs, 0);
    for (let i = 0; i < 60; i += 1) {
      pass(minuteMs);
      run.accounts.tick();
    }
    expect(written).toEqual([]);
    poll(run, 1);
    run.accounts.polls.failed(device, "MODBUS_TIMEOUT", time.clockMs, 1);
    const before = written.length;
    for (let i = 0; i < 180; i += 1) {
      pass(minuteMs);
      run.accounts.tick();
    }
    expect(written.length - before).toBeLessThanOrEqual(4);
    expect(only(hour).gapMs).toEqual({ MODBUS_CONNECT_REFUSED: 50 * minuteMs });
    expect(only(hour + 2 * hourMs).gapMs).toEqual({ MODBUS_TIMEOUT: hourMs });
    expect(only(hour + 2 * hourMs)).toMatchObject({ scheduled: 3600, answered: 0, queued: 0 });
  });
});

describe("what is counted", () => {
  it("gaps by their reasons, to the millisecond, with the polls that were due in them", () => {
    const run = start();
    poll(run, 10);
    const failedMs = time.clockMs;
    pass(1500);
    run.accounts.polls.failed(device, "MODBUS_TIMEOUT", failedMs, 3);
    pass(2000);
    run.accounts.polls.failed(device, "not a code", time.clockMs - 300, 0);
    pass(4000);
    run.accounts.tick();
    pass(1500);
    poll(run, 5);
    run.accounts.polls.skipped(device, 2);
    pass(5 * minuteMs);
    run.accounts.tick();
    expect(only(hour)).toMatchObject({
      // 10, the one that failed, the grid's points in 9 s, 5, 2 left out.
      scheduled: 10 + 1 + 9 + 5 + 2,
      answered: 15,
      skipped: 2,
      marked: 3,
      gapMs: { MODBUS_TIMEOUT: 3200, OTHER: 5800 },
    });
  });

  it("what the outbox drops, in the hour of the source time and by reason, but not its own accounts", async () => {
    const run = start({ maxBytes: 4000 });
    poll(run, 30);
    pass(5 * minuteMs);
    run.accounts.tick();
    pass(hourMs);
    poll(run, 200);
    const stats = run.outbox.stats();
    const kept = run.outbox.pending(0, 10_000).flatMap(({ record }) => record.samples);
    // What an account drops by being written is in the next one; this one has room.
    run.outbox.commit(run.outbox.epoch, [[0, 1e6]]);
    pass(5 * minuteMs);
    run.accounts.tick();
    const own = kept.filter(({ metricId }) => metricId === run.ids[0]);
    const [first, second] = [only(hour), only(hour + hourMs)];
    expect(stats.droppedSamples).toBeGreaterThan(100);
    expect(first).toMatchObject({ queued: 30, droppedFull: 30, droppedTags: { a: 30 } });
    expect(second.queued).toBe(200);
    expect(second.queued - second.droppedFull).toBe(own.length);
  });
});

/** The outbox's own connection answers SQLITE_READONLY to every write. */
function refuseWrites(): { refuse: (on: boolean) => void } {
  const seen = new Set<DatabaseSync>();
  const original = DatabaseSync.prototype.exec;
  vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, sql) {
    seen.add(this);
    return original.call(this, sql);
  });
  return {
    refuse: (on) => {
      vi.restoreAllMocks();
      for (const db of seen) if (db.isOpen) db.exec(`PRAGMA query_only = ${on ? 1 : 0}`);
    },
  };
}

describe("an outbox that cannot be written", () => {
  it("holds readings, and drops, counted, beyond the room for them, beside the time that it lasted; the account says so when it can be written again", () => {
    const medium = refuseWrites();
    // A quarter of this is held: some hundred readings.
    const run = start({ maxBytes: 40_000 });
    poll(run, 10);
    medium.refuse(true);
    for (let i = 0; i < 400; i += 1) {
      poll(run, 1);
      run.accounts.tick();
    }
    expect(written).toEqual([]);
    medium.refuse(false);
    poll(run, 5);
    pass(5 * minuteMs);
    run.accounts.tick();
    const { gapMs, ...counts } = only(hour);
    expect(counts).toMatchObject({ scheduled: 415, answered: 415, queued: 415, droppedFull: 0 });
    const { droppedUnwritable } = counts;
    expect(droppedUnwritable).toBeGreaterThan(100);
    expect(droppedUnwritable).toBeLessThan(300);
    // From the first look that found it so to the next after it was over.
    expect(gapMs).toEqual({ [gapReasons.unwritable]: 399_000 + 5000 + 5 * minuteMs });
    const pending = run.outbox.pending(0, 1000).flatMap(({ record }) => record.samples);
    expect(pending.filter(({ metricId }) => metricId === run.ids[0])).toHaveLength(415 - droppedUnwritable);
  });
});
