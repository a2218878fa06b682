import { cpSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { gapReasons } from "@jilian/domain/account.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { accountBook } from "./account-book.ts";
import { bench, device, hour, newest, only, pass, poll, setUp, start, t0, tearDown, time } from "./test-accounts.ts";

beforeEach(setUp);
afterEach(tearDown);

describe("over restarts", () => {
  it("a kill at any point leaves a record and its count, or neither", () => {
    const run = start();
    /** What a gateway finds that starts after a kill now: the files as they are. */
    const killed = (): { queued: number; pending: number } => {
      const path = join(mkdtempSync(join(bench.folder, "killed-")), "outbox.db");
      for (const end of ["", "-wal"]) cpSync(`${bench.path}${end}`, `${path}${end}`);
      const outbox = bench.start({ path, clock: { now: () => time.clockMs, rate: 1 } });
      const own = outbox.pending(0, 1000).flatMap(({ record }) => record.samples);
      const book = accountBook(outbox, [device]);
      const queued = book.changed(device).reduce((sum, { account }) => sum + account.queued, 0);
      return { queued, pending: own.filter(({ metricId }) => metricId === run.ids[0]).length };
    };
    expect(killed()).toEqual({ queued: 0, pending: 0 });
    poll(run, 1);
    expect(killed()).toEqual({ queued: 1, pending: 1 });
    const next = { value: 1, status: 0, sourceTimeMs: time.clockMs, gatewayTimeMs: time.clockMs };
    run.accounts.polls.answered(device, { polled: 1, suppressed: 0, bad: 0 });
    run.accounts.queued(device, [next]);
    // Counted, and killed before the record was written.
    expect(killed()).toEqual({ queued: 1, pending: 1 });
    run.outbox.write(device, [{ ...next, metricId: run.ids[0] as number }]);
    expect(killed()).toEqual({ queued: 2, pending: 2 });
  });

  it("source times are raised after a power cut also where another program opened the file first, or the start was killed", async () => {
    const run = start({ bootId: "boot-1" });
    poll(run, 3);
    const last = run.accounts.lastSourceTimeMs(device);
    const path = join(mkdtempSync(join(bench.folder, "cut-")), "outbox.db");
    for (const end of ["", "-wal"]) cpSync(`${bench.path}${end}`, `${path}${end}`);
    const clock = { now: () => time.clockMs, rate: 1 };
    const again = { path, clock, bootId: "boot-2" };
    await bench.stop(bench.start(again));
    const second = bench.start(again);
    expect(accountBook(second, [device]).lastSampleMs(device)).toBe(last + 2000);
    // Durable with any transaction, once: it is not raised again.
    second.declare(device, []);
    await bench.stop(second);
    const third = bench.start(again);
    expect([third.raisedMs, accountBook(third, [device]).lastSampleMs(device)]).toEqual([0, last + 2000]);
  });

  it("counts go to the outbox in memory and back, once, whatever the file still says of them", async () => {
    const run = start();
    poll(run, 3);
    // The file as it stays when its last transaction fails: with counts of its own.
    const path = join(mkdtempSync(join(bench.folder, "failed-")), "outbox.db");
    for (const end of ["", "-wal"]) cpSync(`${bench.path}${end}`, `${path}${end}`);
    run.accounts.close();
    await bench.stop(run.outbox);
    const clock = { now: () => time.clockMs, rate: 1 };
    const memory = bench.start({ path: undefined, clock, durability: "process" });
    memory.handover.take({ ...run.outbox.handover.remains(), notes: run.outbox.notes("") });
    const away = accountBook(memory, [device]);
    const next = [1, 2].map((ms) => ({ value: 1, status: 0, sourceTimeMs: time.clockMs + ms, gatewayTimeMs: 1 }));
    away.count(device, time.clockMs, { answered: 1, scheduled: 1 });
    away.queued(device, next, time.clockMs);
    away.close();
    const back = bench.start({ path, clock });
    back.handover.take(memory.handover.remains());
    const book = accountBook(back, [device]);
    expect(book.changed(device).map(({ account: { queued, answered } }) => [queued, answered])).toEqual([[5, 4]]);
    expect(book.lastSampleMs(device)).toBe(time.clockMs + 2);
  });

  it("counts go on where they were, and the time without a gateway is a gap", async () => {
    const run = start();
    poll(run, 100);
    await bench.stop(run.outbox);
    pass(2 * hourMs);
    const again = start();
    poll(again, 1);
    again.accounts.tick();
    const counts = only(hour);
    expect(counts).toMatchObject({ answered: 100, queued: 100 });
    const alive = t0 + 99_000;
    expect(counts.gapMs).toEqual({ [gapReasons.down]: hour + hourMs - alive });
    expect(only(hour + hourMs)).toMatchObject({ scheduled: 3600, queued: 0, gapMs: { [gapReasons.down]: hourMs } });
  });

  it("a longer time is entered for a week, and the book stays small", async () => {
    const run = start();
    poll(run, 1);
    await bench.stop(run.outbox);
    pass(400 * hourMs);
    const again = start();
    poll(again, 1);
    again.accounts.tick();
    pass(5 * minuteMs);
    again.accounts.tick();
    const gaps = [...newest().values()].flat().map((account) => account.gapMs[gapReasons.down] ?? 0);
    expect(gaps.reduce((sum, ms) => sum + ms, 0)).toBe(168 * hourMs);
    again.outbox.commit(again.outbox.epoch, [[0, 1e6]]);
    again.outbox.commit(run.outbox.epoch, [[0, 1e6]]);
    again.accounts.tick();
    expect(again.outbox.notes("account/").size).toBeLessThan(6);
  });

  it("hours that nothing can change any more are forgotten, and what is late begins another part", () => {
    const run = start();
    poll(run, 10);
    for (let i = 0; i < 6 * 12; i += 1) {
      pass(5 * minuteMs);
      run.accounts.polls.answered(device, { polled: 1, suppressed: 1, bad: 0 });
      run.accounts.tick();
    }
    const held = () => run.outbox.notes("account/").size;
    // Samples of the first hour wait and may be dropped yet; of others there are none.
    const ofHour = () => run.outbox.notes(`account/${device}/${hour}/`).size;
    expect([ofHour(), held()]).toEqual([1, 5]);
    run.outbox.commit(run.outbox.epoch, [[0, 1e6]]);
    run.accounts.tick();
    expect([ofHour(), held()]).toEqual([0, 4]);
    run.write(hour + 5);
    pass(5 * minuteMs);
    run.accounts.tick();
    expect(
      newest()
        .get(hour)
        ?.map(({ queued }) => queued),
    ).toEqual([10, 1]);
  });
});

describe("a clock that is set", () => {
  it("forward: the time that it leaves out is a gap with the polls that were due; backward: what is run through twice is told", () => {
    const run = start();
    poll(run, 60);
    time.clockMs += 90 * minuteMs;
    poll(run, 60);
    run.accounts.tick();
    // Nobody knows when it was set since the last look: the whole step counts from there.
    expect(only(hour).gapMs).toEqual({ [gapReasons.forward]: 50 * minuteMs - 59_000 });
    time.clockMs -= 10 * minuteMs;
    poll(run, 1);
    pass(5 * minuteMs);
    run.accounts.tick();
    const second = only(hour + hourMs);
    expect(second.gapMs).toEqual({
      [gapReasons.forward]: 40 * minuteMs + 59_000,
      [gapReasons.back]: 10 * minuteMs,
    });
    expect(only(hour).scheduled + second.scheduled).toBe(60 + 90 * 60 + 60 + 1);
  });

  it("a box that starts in 1970 left out what no run before it had seen", async () => {
    const run = start();
    poll(run, 60);
    await bench.stop(run.outbox);
    const offMs = time.clockMs;
    Object.assign(time, { clockMs: 1000, machineMs: 0 });
    const again = start();
    poll(again, 3);
    time.clockMs = offMs + 5 * minuteMs;
    poll(again, 1);
    pass(5 * minuteMs);
    again.accounts.tick();
    const gap = only(hour).gapMs[gapReasons.forward] ?? 0;
    expect(gap).toBeGreaterThanOrEqual(5 * minuteMs);
    expect(gap).toBeLessThan(5 * minuteMs + 3000);
    expect(only(0)).toMatchObject({ answered: 3 });
  });
});
