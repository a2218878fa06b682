import type { JilianError } from "@jilian/domain/errors.ts";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { SampleRow, Telemetry, WriteBatch } from "../telemetry.ts";
import { brief, makeSeries, readAll, sample, startMs } from "../telemetry-fixtures.ts";
import type { OwnedTelemetry } from "../thread/owner.ts";
import { hasInfluxd, type Influxd, startInfluxd } from "./influxd.ts";
import { openInfluxTelemetry } from "./telemetry.ts";
import { type Fate, type FaultProxy, type Seen, startProxy } from "./test-proxy.ts";
import { settingOf } from "./test-setting.ts";

const log = pino({ level: "silent" });
const minute = 60_000;

describe.skipIf(!hasInfluxd())("faults, with Debian's influxd (skipped where it is not installed)", () => {
  let server: Influxd;
  let proxy: FaultProxy;
  let store: OwnedTelemetry;
  let databases = 0;
  beforeAll(async () => {
    server = await startInfluxd();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    databases += 1;
    proxy = await startProxy(server.url);
    store = await open();
  });
  afterEach(async () => {
    await store.close();
    await proxy.close();
  });

  const open = (more = {}) =>
    openInfluxTelemetry({ ...settingOf(proxy.url, `faults-${databases}`, { requestTimeoutMs: 5_000, ...more }), log });

  /** Ends the store so that nothing of its end reaches InfluxDB, as a kill does, and opens it anew. */
  async function killAndReopen(): Promise<Telemetry> {
    const old = store;
    proxy.decide(() => "lose");
    await old.close();
    proxy.decide(() => "pass");
    store = await open();
    return store;
  }

  const batch = (offset: number, samples: SampleRow[]): WriteBatch => ({
    samples,
    commits: [{ group: "f", node: "g", epoch: "e", ranges: [[offset, offset]] }],
  });
  const isSamples = ({ path, body }: Seen) => path.startsWith("/write") && body.startsWith("sample,");
  const isEntry = ({ path, body }: Seen) => path.startsWith("/write") && body.startsWith("store_journal");
  const entries = (fate: Fate) => (seen: Seen) => (isEntry(seen) ? fate : "pass");
  const changed = async (after: number) =>
    (await store.changedMinutes(after, await store.lastTx())).map((row) => (row.minuteMs - startMs) / minute);

  /** A foreign writer gives the field for texts another type; InfluxDB then takes no text any more. */
  async function spoilTexts(): Promise<void> {
    const line = `sample vt=1i ${startMs}`;
    const answer = await fetch(`${server.url}/write?db=faults-${databases}&precision=ms`, {
      method: "POST",
      body: line,
    });
    expect(answer.status).toBe(204);
  }

  it("killed between samples and journal: nothing is committed, and what comes again counts as stored and changed then", async () => {
    const [series] = (await makeSeries(store, ["a"])) as [number];
    await store.write(batch(0, [sample(series, 0, 0)]));
    const second = batch(1, [sample(series, minute, 1), sample(series, 3 * minute, 3)]);
    proxy.decide(entries("lose"));
    await expect(store.write(second)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    expect(await store.committed()).toMatchObject([{ ranges: [[0, 0]] }]);
    await killAndReopen();
    expect(await store.committed()).toMatchObject([{ ranges: [[0, 0]] }]);
    const tx = await store.lastTx();
    expect(await changed(1)).toEqual([]);
    // Another batch takes no number that the lost one had.
    const other = await store.write(batch(7, [sample(series, 5 * minute, 5)]));
    expect(other.tx).toBeGreaterThan(2);
    expect(await store.write(second)).toMatchObject({ written: 2, duplicates: 0, conflicts: 0 });
    expect(await changed(tx)).toEqual([1, 3, 5]);
    expect((await readAll(store, series)).map(brief).map(([, value]) => value)).toEqual([0, 1, 3, 5]);
    expect(await store.write(second)).toMatchObject({ written: 0, duplicates: 2 });
    await killAndReopen();
    expect(await changed(tx)).toEqual([1, 3, 5]);
    expect(await store.committed()).toMatchObject([
      {
        ranges: [
          [0, 1],
          [7, 7],
        ],
      },
    ]);
    expect(await store.write(second)).toMatchObject({ written: 0, duplicates: 2 });
  });

  it("what a lost transaction left behind stays and counts as changed when a conflict finds it; a confirmed one does not", async () => {
    const [series] = (await makeSeries(store, ["a"])) as [number];
    await store.write(batch(0, [sample(series, 0, 0)]));
    proxy.decide(entries("lose"));
    const lost = batch(1, [sample(series, 2 * minute, 2)]);
    await expect(store.write(lost)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    await killAndReopen();
    const tx = await store.lastTx();
    const others = [sample(series, 0, 90), sample(series, 2 * minute, 92)];
    // Without ranges to commit, the change alone makes it a transaction.
    const outcome = await store.write({ samples: others, commits: [] });
    expect(outcome).toEqual({ tx: tx + 1, written: 0, duplicates: 0, conflicts: 2 });
    expect(await changed(tx)).toEqual([2]);
    expect((await readAll(store, series)).map(({ value }) => value)).toEqual([0, 2]);
    await killAndReopen();
    expect(await changed(tx)).toEqual([2]);
    expect(await store.write(lost)).toMatchObject({ written: 1, duplicates: 0, conflicts: 0 });
    expect(await store.write(lost)).toMatchObject({ written: 0, duplicates: 1, conflicts: 0 });
  });

  it.each(["lose", "lose answer"] as const)(
    "an entry that the network does %s: the batch again is the same transaction",
    async (fate) => {
      const [series] = (await makeSeries(store, ["a"])) as [number];
      const first = batch(0, [sample(series, 0, 0), sample(series, 0, 0)]);
      proxy.decide(entries(fate));
      await expect(store.write(first)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
      expect(await store.lastTx()).toBe(0);
      proxy.decide(() => "pass");
      expect(await store.write(first)).toEqual({ tx: 1, written: 1, duplicates: 1, conflicts: 0 });
      expect(await store.write(first)).toEqual({ tx: 1 + 1, written: 0, duplicates: 2, conflicts: 0 });
      expect(await changed(0)).toEqual([0]);
    },
  );

  it("another batch after a lost answer: the first is completed before, each keeps its number", async () => {
    const [series] = (await makeSeries(store, ["a"])) as [number];
    proxy.decide((seen) => (isSamples(seen) ? "lose answer" : "pass"));
    await expect(store.write(batch(0, [sample(series, 0, 0)]))).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    proxy.decide(() => "pass");
    expect(await store.write(batch(1, [sample(series, 1, 1)]))).toMatchObject({ tx: 2, written: 1 });
    expect(await store.committed()).toMatchObject([{ ranges: [[0, 1]] }]);
    expect((await readAll(store, series)).map(({ value, tx }) => [value, tx])).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });

  it("an entry that arrives after its process is dead and followed: it stays void, its batch comes again", async () => {
    const [series] = (await makeSeries(store, ["a"])) as [number];
    await store.close();
    store = await open({ requestTimeoutMs: 1000 });
    proxy.decide(entries("hold"));
    const lost = batch(0, [sample(series, 0, 0)]);
    await expect(store.write(lost)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    expect(proxy.held()).toBe(1);
    await killAndReopen();
    await store.write(batch(1, [sample(series, 5 * minute, 5)]));
    const tx = await store.lastTx();
    await proxy.release();
    for (const reopen of [async () => store, killAndReopen]) {
      await reopen();
      expect(await store.committed()).toMatchObject([{ ranges: [[1, 1]] }]);
      expect(await changed(0)).toEqual([5]);
    }
    expect(await store.write(lost)).toMatchObject({ written: 1, duplicates: 0 });
    expect(await changed(tx)).toEqual([0]);
    expect(await store.committed()).toMatchObject([{ ranges: [[0, 1]] }]);
  });

  it("samples that arrive after their process is dead and the batch has come again: each once, as it was", async () => {
    const [series] = (await makeSeries(store, ["a"])) as [number];
    await store.close();
    store = await open({ requestTimeoutMs: 1000 });
    proxy.decide((seen) => (isSamples(seen) ? "hold" : "pass"));
    const lost = batch(0, [sample(series, 0, 2n ** 60n + 1n), sample(series, minute, null, 0x80310000)]);
    await expect(store.write(lost)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    await killAndReopen();
    expect(await store.write(lost)).toMatchObject({ written: 2 });
    const stored = (await readAll(store, series)).map(({ tx, ...row }) => row);
    await proxy.release();
    await killAndReopen();
    expect((await readAll(store, series)).map(({ tx, ...row }) => row)).toEqual(stored);
    expect(await store.write(lost)).toMatchObject({ conflicts: 0 });
  });

  it("lines that InfluxDB refuses: the batch counts as not stored, also where it took some of them", async () => {
    const [series, text] = (await makeSeries(store, ["a", "b"])) as [number, number];
    await spoilTexts();
    const good = batch(0, [sample(series, 0, 1)]);
    const mixed = batch(0, [sample(series, 0, 1), sample(text, 0, "x")]);
    const refusal: JilianError = await store.write(mixed).then(
      () => expect.fail("stored"),
      (error: unknown) => error as JilianError,
    );
    expect(refusal).toMatchObject({ code: "VALUE_MISFIT", message: expect.stringContaining("vt") });
    expect(await store.committed()).toEqual([]);
    expect(await changed(0)).toEqual([]);
    expect(await store.write(good)).toMatchObject({ written: 1, duplicates: 0 });
    expect(await changed(0)).toEqual([0]);
    await killAndReopen();
    expect(await store.write(good)).toMatchObject({ written: 0, duplicates: 1 });
    expect(await changed(0)).toEqual([0]);
  });

  it("the void of refused lines is lost on the way: it is written before the next batch", async () => {
    const [series, text] = (await makeSeries(store, ["a", "b"])) as [number, number];
    await spoilTexts();
    proxy.decide(({ body }) => (body.startsWith("store_void") ? "lose" : "pass"));
    const mixed = batch(0, [sample(series, 0, 1), sample(text, 0, "x")]);
    await expect(store.write(mixed)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    proxy.decide(() => "pass");
    expect(await store.write(batch(1, [sample(series, 0, 1)]))).toMatchObject({ tx: 2, written: 1 });
    await killAndReopen();
    expect(await store.committed()).toMatchObject([{ ranges: [[1, 1]] }]);
    expect(await changed(0)).toEqual([0]);
  });

  it("whoever opens last owns the store; the one before acknowledges nothing more and ends", async () => {
    const [series] = (await makeSeries(store, ["a"])) as [number];
    await store.write(batch(0, [sample(series, 0, 0)]));
    const later = await open();
    try {
      await expect(store.write(batch(1, [sample(series, 1, 1)]))).rejects.toMatchObject({ code: "STORE_LOCKED" });
      expect(await store.failed).toMatchObject({ code: "STORE_LOCKED" });
      expect(await later.write(batch(1, [sample(series, 1, 1)]))).toMatchObject({ written: 1 });
      expect(await later.committed()).toMatchObject([{ ranges: [[0, 1]] }]);
    } finally {
      await later.close();
    }
  });

  it("an InfluxDB that is away ends nothing: calls are rejected, later ones succeed", async () => {
    const [series] = (await makeSeries(store, ["a"])) as [number];
    let failed = false;
    void store.failed.then(() => {
      failed = true;
    });
    await server.kill();
    const away = batch(0, [sample(series, 0, 0)]);
    await expect(store.write(away)).rejects.toMatchObject({ code: expect.stringMatching(/STORE_UNREACHABLE/) });
    await expect(readAll(store, series)).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
    await server.restart();
    expect(await store.write(away)).toMatchObject({ tx: 1, written: 1 });
    expect(failed).toBe(false);
  });

  it("SIGKILL of influxd, round after round: nothing acknowledged is lost or doubled, and every minute is told", async () => {
    const series = await makeSeries(store, ["a", "b", "c", "d", "e"]);
    const rows = (n: number) => series.map((id) => sample(id, n * 20_000, BigInt(n)));
    let acknowledged = -1;
    let stopping = false;
    /** Writes on, and asks again what was not acknowledged, as ingest does. */
    const writing = (async () => {
      for (let n = 0; !stopping; n += 1) {
        for (let done = false; !done && !stopping; ) {
          done = await store.write(batch(n, rows(n))).then(
            () => true,
            () => false,
          );
          if (done) acknowledged = n;
        }
      }
    })();
    for (let round = 0; round < 4; round += 1) {
      const goal = acknowledged + 15 + round * 7;
      await expect.poll(() => acknowledged, { timeout: 20_000, interval: 1 }).toBeGreaterThan(goal);
      await server.kill();
      await server.restart();
    }
    stopping = true;
    await writing;
    await killAndReopen();
    const [committed] = await store.committed();
    const last = committed?.ranges[0]?.[1] as number;
    expect(committed?.ranges).toEqual([[0, last]]);
    expect(last).toBeGreaterThanOrEqual(acknowledged);
    const told = await store.changedMinutes(0, await store.lastTx());
    for (const id of series) {
      const stored = await readAll(store, id);
      expect(stored.slice(0, last + 1).map(({ value }) => value)).toEqual(
        Array.from({ length: last + 1 }, (_, n) => BigInt(n)),
      );
      const minutes = told.filter((row) => row.series === id).map((row) => (row.minuteMs - startMs) / minute);
      expect(minutes).toEqual(Array.from({ length: Math.floor(last / 3) + 1 }, (_, m) => m));
    }
  });
});
