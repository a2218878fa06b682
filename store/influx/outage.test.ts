import { DataType } from "@jilian/domain/datatypes.ts";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { SampleRow, WriteBatch } from "../telemetry.ts";
import { brief, makeSeries, readAll, sample, startMs } from "../telemetry-fixtures.ts";
import type { OwnedTelemetry } from "../thread/owner.ts";
import { hasInfluxd, type Influxd, startInfluxd } from "./influxd.ts";
import { openInfluxTelemetry } from "./telemetry.ts";
import { type FaultProxy, type Seen, startProxy, type Told } from "./test-proxy.ts";
import { settingOf } from "./test-setting.ts";

const log = pino({ level: "silent" });

/** What InfluxDB says of writes, told apart at the store's calls: provoked on a real one where that can be done, recorded elsewhere. */
describe.skipIf(!hasInfluxd())(
  "an InfluxDB that does not take a write (skipped where influxd is not installed)",
  () => {
    let server: Influxd;
    let proxy: FaultProxy;
    let store: OwnedTelemetry;
    let databases = 0;
    const database = () => `outage-${databases}`;
    beforeAll(async () => {
      server = await startInfluxd();
    });
    afterAll(() => server.stop());
    beforeEach(async () => {
      databases += 1;
      proxy = await startProxy(server.url);
      store = await openInfluxTelemetry({ ...settingOf(proxy.url, database(), { requestTimeoutMs: 5000 }), log });
    });
    afterEach(async () => {
      await store.close();
      await proxy.close();
    });

    const batch = (offset: number, samples: SampleRow[]): WriteBatch => ({
      samples,
      commits: [{ group: "f", node: "g", epoch: "e", ranges: [[offset, offset]] }],
    });
    const ranges = async () => (await store.committed()).flatMap((entry) => entry.ranges);
    const command = async (q: string) => {
      const answer = await fetch(`${server.url}/query`, { method: "POST", body: new URLSearchParams({ q }) });
      expect(await answer.json()).toEqual({ results: [{ statement_id: 0 }] });
    };
    const isSamples = ({ path, body }: Seen) => path.startsWith("/write") && body.startsWith("sample,");
    const answerSamples = (told: Told) => proxy.decide((seen) => (isSamples(seen) ? told : "pass"));

    it.each([
      ["429 and seconds", { status: 429, headers: { "retry-after": "7" } }, 7000],
      ["503 and a date", { status: 503, headers: { "retry-after": "Fri, 01 Jan 2100 00:00:00 GMT" } }, 1e11],
      ["503 alone", { status: 503, body: '{"error":"throttled"}' }, undefined],
    ])(
      "busy, by %s: what it asks for comes to the caller, and the batch is stored later as it was",
      async (_, told, waitMs) => {
        const [series] = (await makeSeries(store, ["a"])) as [number];
        answerSamples(told);
        const refused = await store.write(batch(0, [sample(series, 0, 1)])).catch((thrown: unknown) => thrown);
        expect(refused).toMatchObject({ code: "STORE_BUSY_REMOTE" });
        const askedMs = (refused as { retryAfterMs?: number }).retryAfterMs;
        if (waitMs === 1e11) expect(askedMs).toBeGreaterThan(waitMs);
        else expect(askedMs).toBe(waitMs);
        expect(await ranges()).toEqual([]);
        proxy.decide(() => "pass");
        expect(await store.write(batch(0, [sample(series, 0, 1)]))).toMatchObject({ tx: 1, written: 1 });
      },
    );

    it("too late: the samples are at fault, and others are stored", async () => {
      const [series] = (await makeSeries(store, ["a"])) as [number];
      const body = '{"error":"partial write: points beyond retention policy dropped=1"}';
      proxy.decide((seen) => (isSamples(seen) && seen.body.endsWith(` ${startMs}`) ? { status: 400, body } : "pass"));
      await expect(store.write(batch(0, [sample(series, 0, 1)]))).rejects.toMatchObject({ code: "SAMPLE_TOO_LATE" });
      await store.write(batch(1, [sample(series, 5, 2)]));
      expect(await ranges()).toEqual([[1, 1]]);
      expect((await readAll(store, series)).map(brief)).toEqual([[5, 2]]);
    });

    it("a field of another type: the answer names it, and samples of other types are stored", async () => {
      const [number, text] = (await makeSeries(store, ["a", "b"], DataType.Double)) as [number, number];
      const spoil = await fetch(`${server.url}/write?db=${database()}&precision=ms`, {
        method: "POST",
        body: `sample vt=1i ${startMs}`,
      });
      expect(spoil.status).toBe(204);
      const refused = store.write(batch(0, [sample(text, 0, "x")]));
      await expect(refused).rejects.toMatchObject({
        code: "VALUE_MISFIT",
        message: expect.stringContaining('field "vt"'),
      });
      await store.write(batch(1, [sample(number, 0, 2)]));
      expect(await ranges()).toEqual([[1, 1]]);
    });

    it("a retention set amid the work is nobody's samples' fault: all waits, and goes on once it is taken back", async () => {
      const [series] = (await makeSeries(store, ["a"])) as [number];
      const now = Date.now() - startMs;
      await store.write(batch(0, [sample(series, now, 1)]));
      await command(`ALTER RETENTION POLICY "autogen" ON "${database()}" DURATION 30d`);
      for (const rows of [[sample(series, now + 1, 2)], [sample(series, now + 2, 3)]]) {
        await expect(store.write(batch(1, rows))).rejects.toMatchObject({ code: "STORE_RETENTION" });
      }
      await expect(makeSeries(store, ["b"])).rejects.toMatchObject({ code: "STORE_RETENTION" });
      expect(await ranges()).toEqual([[0, 0]]);
      await command(`ALTER RETENTION POLICY "autogen" ON "${database()}" DURATION INF`);
      await store.write(batch(2, [sample(series, now + 3, 4)]));
      await store.write(batch(1, [sample(series, now + 2, 3)]));
      expect((await readAll(store, series)).map(({ value }) => value)).toEqual([1, 2, 3, 4]);
      expect(await makeSeries(store, ["b"])).toEqual([2]);
    });

    it("its own records refused for another reason: the store is at fault, not the batch", async () => {
      const [series] = (await makeSeries(store, ["a"])) as [number];
      const body =
        '{"error":"partial write: field type conflict: input field \\"changed\\" on measurement \\"store_journal\\" dropped=1"}';
      proxy.decide(({ body: lines }) => (lines.startsWith("store_journal") ? { status: 400, body } : "pass"));
      await expect(store.write(batch(0, [sample(series, 0, 1)]))).rejects.toMatchObject({ code: "STORE_FAILED" });
      proxy.decide(() => "pass");
      expect(await store.write(batch(0, [sample(series, 0, 1)]))).toMatchObject({ tx: 1 });
    });

    it("a series of a name that InfluxDB finds too long is refused alone", async () => {
      const body = '{"error":"partial write: max key length exceeded: 70000 > 65535 dropped=1"}';
      proxy.decide(({ body: lines }) => (lines.startsWith("series,") ? { status: 400, body } : "pass"));
      await expect(makeSeries(store, ["new"])).rejects.toMatchObject({ code: "VALUE_MISFIT" });
    });

    it("gone: told as that", async () => {
      const [series] = (await makeSeries(store, ["a"])) as [number];
      proxy.decide(() => "lose");
      await expect(store.write(batch(0, [sample(series, 0, 1)]))).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
      proxy.decide(() => "pass");
      expect(await store.write(batch(0, [sample(series, 0, 1)]))).toMatchObject({ tx: 1, written: 1 });
    });
  },
);
