import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataType } from "@jilian/domain/datatypes.ts";
import { emptyLeaf } from "@jilian/domain/leaf.ts";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Series } from "../telemetry.ts";
import { brief, makeSeries, readAll, sample, startMs } from "../telemetry-fixtures.ts";
import { influxSetting } from "./config.ts";
import { hasInfluxd, type Influxd, startInfluxd } from "./influxd.ts";
import { schemaVersion } from "./schema.ts";
import { openInfluxTelemetry } from "./telemetry.ts";
import { settingOf } from "./test-setting.ts";
import { type Shim, shimOrg, shimToken, startShim } from "./test-shim.ts";

const log = pino({ level: "silent" });
const commits = [{ group: "f", node: "g", epoch: "e", ranges: [[0, 5]] as [number, number][] }];

describe.skipIf(!hasInfluxd())(
  "versions of InfluxDB, with Debian's influxd (skipped where it is not installed)",
  () => {
    let server: Influxd;
    beforeAll(async () => {
      server = await startInfluxd();
    });
    afterAll(() => server.stop());

    const ask = async (q: string, database = "") => {
      const body = new URLSearchParams({ q });
      const answer = await fetch(`${server.url}/query?db=${database}&epoch=ms`, { method: "POST", body });
      return (await answer.json()) as { results: { series: { values: unknown[][] }[] }[] };
    };
    const post = (database: string, body: string) =>
      fetch(`${server.url}/write?db=${database}&precision=ms`, { method: "POST", body });

    describe.each([2, 3] as const)("%i.x, as its documentation says", (version) => {
      let shim: Shim;
      const database = `shim ${version}`;
      const setting = (more = {}) =>
        settingOf(shim.url, database, { token: shimToken, ...(version === 2 ? { org: shimOrg } : {}), ...more });
      beforeAll(async () => {
        // A bucket of 2.x is made by its operator, a database of 3.x by the first write.
        if (version === 2) await ask(`CREATE DATABASE "${database}"`);
        shim = await startShim(server.url, version, version === 2 ? [database] : []);
      });
      afterAll(() => shim.close());

      it("stores and reads back everything, over a restart", async () => {
        const store = await openInfluxTelemetry({ ...setting(), log });
        const series = await makeSeries(store, ["a", "b;c", "d'e"], DataType.Int64);
        const rows = series.flatMap((id) => [sample(id, 0, 2n ** 62n + 1n), sample(id, 60_000, "x;y")]);
        expect(await store.write({ samples: rows, commits })).toMatchObject({ tx: 1, written: 6 });
        const leaf = { series: series[0] as number, minuteMs: startMs, leaf: { ...emptyLeaf, amount: 2n ** 90n } };
        const online = { device: "f/g/d", minuteMs: startMs, onlineMs: 60_000 };
        await store.writeLeaves([leaf], [online]);
        await store.close();
        const again = await openInfluxTelemetry({ ...setting(), log });
        for (const id of series) {
          expect((await readAll(again, id)).map(brief)).toEqual([
            [0, 2n ** 62n + 1n],
            [60_000, "x;y"],
          ]);
        }
        expect(await again.committed()).toEqual(commits);
        expect(await again.changedMinutes(0, 1)).toHaveLength(6);
        expect(await again.readLeaves(series, 0, Infinity)).toEqual([leaf]);
        expect(await again.readConnections(["f/g/d"], 0, Infinity)).toEqual([online]);
        expect(await again.write({ samples: rows, commits: [] })).toMatchObject({ written: 0, duplicates: 6 });
        const windows = series.map((id) => ({ series: id, fromMs: startMs + 1000, toMs: startMs + 2000 }));
        expect((await again.readWithNeighbours(windows)).map(({ first, end }) => end - first)).toEqual([2, 2, 2]);
        await again.close();
        expect(new Set(shim.paths)).toEqual(new Set(["/ping", "/query", "/api/v2/write"]));
      });

      it.each(version === 3 ? ([400, 201] as const) : ([422] as const))(
        "takes %i for refused lines, and counts none as stored",
        async (status) => {
          if (status !== 422) shim.partialStatus = status;
          const store = await openInfluxTelemetry({ ...setting(), log });
          const [a, b] = (await makeSeries(store, [`a ${status}`, `b ${status}`])) as [number, number];
          await post(encodeURIComponent(database), `sample vd=1i ${startMs + 9e11}`);
          const samples = [sample(a, 9e11, true), sample(b, 9e11, 1.5)];
          await expect(store.write({ samples, commits: [] })).rejects.toMatchObject({
            code: "VALUE_MISFIT",
            message: expect.stringContaining(`(${status})`),
          });
          expect(await store.write({ samples: samples.slice(0, 1), commits: [] })).toMatchObject({
            written: 1,
            duplicates: 0,
          });
          await store.close();
        },
      );

      it("says which right is missing, without the token", async () => {
        const wrong = openInfluxTelemetry({ ...setting({ token: "wrong-secret" }), log });
        const error = await wrong.catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ code: "STORE_UNAUTHORISED", address: expect.stringContaining(shim.url) });
        expect(JSON.stringify(error) + String(error)).not.toContain("wrong-secret");
      });

      it("a database that is not there: how to make the bucket is told (2.x), or it is made (3.x)", async () => {
        const opening = openInfluxTelemetry({ ...setting({ database: "none" }), log });
        if (version === 3) return await (await opening).close();
        await expect(opening).rejects.toMatchObject({
          code: "STORE_DATABASE_MISSING",
          remedy: expect.stringContaining("influx bucket create"),
        });
      });
    });

    it("1.x with users: a wrong password is told, a right one works, and neither is in the error", async () => {
      await using guarded = await startInfluxd({ auth: true });
      const make = new URLSearchParams({ q: `CREATE USER "jilian" WITH PASSWORD 'right-secret' WITH ALL PRIVILEGES` });
      await fetch(`${guarded.url}/query`, { method: "POST", body: make });
      const setting = (password: string) => settingOf(guarded.url, "users", { username: "jilian", password });
      const error = await openInfluxTelemetry({ ...setting("wrong-secret"), log }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "STORE_UNAUTHORISED" });
      expect(JSON.stringify(error) + String(error)).not.toContain("wrong-secret");
      const store = await openInfluxTelemetry({ ...setting("right-secret"), log });
      const [series] = (await makeSeries(store, ["a"])) as [number];
      expect(await store.write({ samples: [sample(series, 0, 1)], commits })).toMatchObject({ written: 1 });
      await store.close();
    });

    describe("opening", () => {
      it("a layout of a newer program is refused", async () => {
        const setting = settingOf(server.url, "newer");
        await (await openInfluxTelemetry({ ...setting, log })).close();
        await post("newer", `store_schema version=${schemaVersion + 1}i 1`);
        await expect(openInfluxTelemetry({ ...setting, log })).rejects.toMatchObject({ code: "STORE_TOO_NEW" });
      });

      it("a layout of the first release: what is known of a series holds since ever", async () => {
        const setting = settingOf(server.url, "older");
        const first = await openInfluxTelemetry({ ...setting, log });
        const [id] = (await makeSeries(first, ["a"])) as [number];
        const [made] = await first.series();
        const { group, node, device, metric, definition } = made as Series;
        await first.close();
        const text = JSON.stringify(definition).replaceAll('"', '\\"');
        const tags = `device=${device},group=${group},metric=${metric},node=${node}`;
        await post("older", `series,${tags} id=${id}i,definition="${text}" 1\nstore_schema version=1i 1`);
        const store = await openInfluxTelemetry({ ...setting, log });
        expect(await store.series()).toEqual([made]);
        const changed = { ...definition, role: "energy.export" };
        await store.ensureSeries([{ group, node, device, metric, definition: changed, sinceMs: 5000 }]);
        const dated = [
          { fromMs: 0, definition },
          { fromMs: 5000, definition: changed },
        ];
        expect(await store.series()).toEqual([{ ...made, definition: changed, dated }]);
        await store.close();
        const answer = await ask(`SELECT "version" FROM "store_schema"`, "older");
        // What is written from now on, a program of before would not understand: it refuses the store.
        expect(answer.results[0]?.series[0]?.values[0]?.[1]).toBe(3);
      });

      it("a database that forgets is refused", async () => {
        await ask(`CREATE DATABASE "forgets" WITH DURATION 30d`);
        await expect(openInfluxTelemetry({ ...settingOf(server.url, "forgets"), log })).rejects.toMatchObject({
          code: "STORE_RETENTION",
          remedy: expect.stringContaining("DURATION INF"),
        });
      });

      it("samples without what tells which are whole are refused", async () => {
        await ask(`CREATE DATABASE "stray"`);
        await post("stray", `sample,group=f status=0i ${startMs}`);
        await expect(openInfluxTelemetry({ ...settingOf(server.url, "stray"), log })).rejects.toMatchObject({
          code: "STORE_UNREADABLE",
        });
      });

      it("a server that is not there is told at once, or waited for", async () => {
        const free = createServer();
        await new Promise<void>((resolve) => free.listen(0, "127.0.0.1", resolve));
        const { port } = free.address() as { port: number };
        await new Promise((resolve) => free.close(resolve));
        const setting = settingOf(`http://127.0.0.1:${port}`, "none");
        await expect(openInfluxTelemetry({ ...setting, log })).rejects.toMatchObject({
          code: "STORE_UNREACHABLE",
          address: setting.url,
        });
        const url = server.url;
        await server.kill();
        const waiting = openInfluxTelemetry({ ...settingOf(url, "waited", { startWaitMs: 20_000 }), log });
        await server.restart();
        await (await waiting).close();
      });

      it("what is no InfluxDB is refused", async () => {
        const shim = await startShim(server.url, 2, []);
        const path = await openInfluxTelemetry({
          ...settingOf(`${shim.url}/elsewhere`, "x", { token: shimToken }),
          log,
        }).catch((thrown: unknown) => thrown);
        expect(path).toMatchObject({ code: "STORE_UNSUPPORTED" });
        await shim.close();
      });
    });

    it("what Grafana reads: samples, connections and figures as fields of their types", async () => {
      const store = await openInfluxTelemetry({ ...settingOf(server.url, "grafana"), log });
      const [series] = (await makeSeries(store, ["energy"])) as [number];
      await store.write({ samples: [sample(series, 0, 1.5)], commits: [] });
      await store.writeLeaves([], [{ device: "f/g/d", minuteMs: startMs, onlineMs: 59_000 }]);
      const result = {
        indicator: "energy.electricity",
        level: "factory",
        entity: "f",
        period: "hour",
        startMs,
        endMs: startMs + 3_600_000,
        value: "12.50",
        reason: null,
        unit: "kWh",
        completeness: 0.9833,
        estimatedShare: null,
        lowerBound: false,
        status: "provisional",
        revision: 0,
        definitionVersion: 1,
        factorTable: null,
        registryVersion: "0123456789ab",
        inputWatermark: 77,
        asOfMs: startMs,
        simulated: true,
      } as const;
      await store.showResults([result]);
      await store.showResults([{ ...result, period: "day", value: null, reason: "no_data", completeness: null }]);
      const rows = async (q: string) => (await ask(q, "grafana")).results[0]?.series[0]?.values;
      const kpi = `"value","known","text","reason","completeness","estimated_share","lower_bound","simulated","status","revision","unit"`;
      const where = `WHERE "indicator"='energy.electricity' AND "level"='factory' AND "entity"='f'`;
      expect(await rows(`SELECT ${kpi} FROM "kpi" ${where} AND "period"='hour'`)).toEqual([
        [startMs, 12.5, true, "12.50", "", 0.9833, -1, false, true, "provisional", 0, "kWh"],
      ]);
      expect(await rows(`SELECT ${kpi} FROM "kpi" ${where} AND "period"='day'`)).toEqual([
        [startMs, null, false, "", "no_data", -1, -1, false, true, "provisional", 0, "kWh"],
      ]);
      const device = `"factory"='f' AND "gateway"='g' AND "device"='d'`;
      expect(await rows(`SELECT "online_ms" FROM "connection" WHERE ${device}`)).toEqual([[startMs, 59_000]]);
      expect(
        await rows(
          `SELECT "vd","status","gateway_ms","ingest_ms","tx","metric" FROM "sample" WHERE "device"='press-1'`,
        ),
      ).toEqual([[startMs, 1.5, 0, startMs + 20, startMs + 300, 1, "energy"]]);
      await store.close();
    });
  },
);

it("secrets come from the first line of their files; one that cannot be read is told by its path", async () => {
  const dir = mkdtempSync(join(tmpdir(), "jilian-secret-"));
  const [token, none] = [join(dir, "token"), join(dir, "none")];
  writeFileSync(token, "abc\nrest\n");
  const { startWaitMs, ...config } = settingOf("http://127.0.0.1:1", "x");
  expect(await influxSetting({ ...config, startWaitMs, tokenFile: token })).toMatchObject({ token: "abc" });
  await expect(influxSetting({ ...config, startWaitMs, passwordFile: none })).rejects.toMatchObject({
    code: "SECRET_UNREADABLE",
    address: none,
  });
  rmSync(dir, { recursive: true });
});
