import type { Result } from "@jilian/domain/result.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectInflux, type InfluxClient } from "./client.ts";
import { hasInfluxd, type Influxd, startInfluxd } from "./influxd.ts";
import { readResults, resultPoint } from "./results.ts";
import { prepareSchema } from "./schema.ts";
import { settingOf } from "./test-setting.ts";

const startMs = Date.UTC(2026, 10, 22, 2);
const minute = 60_000;
const figure = (more: Partial<Result>): Result => ({
  ...{ indicator: "energy.electricity", level: "factory", entity: "f", period: "minute" },
  ...{ startMs, endMs: startMs + minute, value: "12.50", reason: null, unit: "kWh" },
  ...{ completeness: 0.9833, estimatedShare: 0, lowerBound: false, status: "final", revision: 0 },
  ...{
    definitionVersion: 2,
    factorTable: "2025",
    registryVersion: "0123456789ab",
    inputWatermark: 77,
    asOfMs: startMs,
  },
  ...{ simulated: true, ...more },
});
const query = {
  period: "minute",
  fromMs: startMs,
  toMs: startMs + 10 * minute,
  limit: Number.MAX_SAFE_INTEGER,
} as const;

describe.skipIf(!hasInfluxd())("figures, with Debian's influxd (skipped where it is not installed)", () => {
  let server: Influxd;
  let client: InfluxClient;
  beforeAll(async () => {
    server = await startInfluxd();
    client = await connectInflux(settingOf(server.url, "figures"));
    await prepareSchema(client, "test");
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });
  const write = (figures: readonly Result[]) =>
    client.write(figures.map(resultPoint).map(({ head, fields, timeMs }) => `${head} ${fields} ${timeMs}`));

  it("of any entity come back whole, in the order and to the number that were asked for", async () => {
    const figures = [0, 1, 2].flatMap((n) =>
      ["a", "f/线 1, a=b\\", "␛5c 'x' \"y\""].map((entity) =>
        figure({ entity, startMs: startMs + n * minute, endMs: startMs + (n + 1) * minute, revision: n }),
      ),
    );
    await write(figures.toReversed());
    expect(await readResults(client, query)).toEqual(figures);
    for (const limit of [0, 1, 3, 4, 8]) {
      expect(await readResults(client, { ...query, limit })).toEqual(figures.slice(0, limit));
    }
    const odd = figures[1] as Result;
    expect(await readResults(client, { ...query, entity: odd.entity })).toEqual(
      figures.filter(({ entity }) => entity === odd.entity),
    );
  });

  it("come back in many pieces where they are many: whole", async () => {
    const rows = 120_000;
    await client.write(Array.from({ length: 2 * rows }, (_, n) => `many,e=${n % 2} v=${n}i ${startMs + n}`));
    const blocks = await client.query('SELECT "v" FROM "many" GROUP BY "e"');
    expect(blocks.map(({ tags, values }) => [tags.e, values.length, values[0]?.[1], values.at(-1)?.[1]])).toEqual([
      ["0", rows, 0, 2 * rows - 2],
      ["1", rows, 1, 2 * rows - 1],
    ]);
  });

  it("at one time and in all more than 10,000, are read whole", async () => {
    const entities = Array.from({ length: 10_500 }, (_, n) => `e${String(n).padStart(5, "0")}`);
    const figures = entities.map((entity) => figure({ period: "hour", entity }));
    const more = entities.slice(0, 1000).map((entity) => figure({ period: "hour", entity, startMs: startMs + minute }));
    await write([...figures, ...more]);
    const found = await readResults(client, { ...query, period: "hour" });
    expect(found.map(({ entity, startMs: at }) => [entity, at])).toEqual(
      [...figures, ...more].map(({ entity, startMs: at }) => [entity, at]),
    );
    const some = await readResults(client, { ...query, period: "hour", limit: 10_200 });
    expect(some).toEqual(figures.slice(0, 10_200));
  });

  it("are read as stores of before hold them: with all their names, in one text", async () => {
    const old = figure({ period: "day", entity: "old", value: null, reason: "no_data", completeness: null });
    const text = JSON.stringify(old).replaceAll(/["\\]/g, "\\$&");
    await client.write([
      `kpi,entity=old,indicator=energy.electricity,level=factory,period=day result="${text}" ${startMs}`,
    ]);
    expect(await readResults(client, { ...query, period: "day" })).toEqual([old]);
    const revised: Result = { ...old, value: "1", reason: null, status: "revised", revision: 1 };
    await write([revised]);
    expect(await readResults(client, { ...query, period: "day" })).toEqual([revised]);
  });
});
