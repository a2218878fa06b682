import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs } from "@jilian/domain/periods.ts";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasInfluxd, type Influxd, startInfluxd } from "./influxd.ts";
import { openInfluxTelemetry } from "./telemetry.ts";
import { type FaultProxy, startProxy } from "./test-proxy.ts";
import { settingOf } from "./test-setting.ts";

const log = pino({ level: "silent" });
const t0 = Date.UTC(2026, 10, 22, 2);

describe.skipIf(!hasInfluxd())("counting in InfluxDB (skipped where it is not installed)", () => {
  let server: Influxd;
  let proxy: FaultProxy;
  beforeAll(async () => {
    server = await startInfluxd();
    proxy = await startProxy(server.url);
  });
  afterAll(async () => {
    await proxy.close();
    await server.stop();
  });

  it("asks for the nodes of the devices alone, few devices by name, in pieces of a day", async () => {
    const store = await openInfluxTelemetry({ ...settingOf(proxy.url, "counts"), log });
    const key = (node: string, i: number) => ({ group: "f", node, device: `d-${i}`, metric: "m" });
    const keys = [
      ...Array.from({ length: 60 }, (_, i) => key("many", i)),
      ...Array.from({ length: 3 }, (_, i) => key("it's few", i)),
      key("other", 0),
    ];
    const definition = { name: "m", datatype: DataType.Double, simulated: false };
    const series = await store.ensureSeries(keys.map((one) => ({ ...one, definition })));
    const samples = series.flatMap((id) =>
      [0, 30 * hourMs].map((ms) => {
        return { series: id, sourceTimeMs: t0 + ms, value: 1, status: 0, gatewayTimeMs: t0, ingestTimeMs: t0 };
      }),
    );
    await store.write({ samples, commits: [] });
    const asked: string[] = [];
    proxy.decide(({ path, body }) => {
      asked.push(...decodeURIComponent(`${path}&${body}`.replaceAll("+", " ")).split(";"));
      return "pass";
    });
    // All of one node but its last device, one device of another.
    const wanted = [...series.slice(0, 59), series[61] as number];
    const found = await store.countSamples(wanted, t0, t0 + 31 * hourMs);
    expect(found).toHaveLength(2 * wanted.length);
    expect(new Set(found.map((row) => row.series))).toEqual(new Set(wanted));
    const statements = asked.filter((text) => text.includes("count("));
    expect(statements).toHaveLength(4);
    for (const text of statements) {
      expect(text).toMatch(/"group" = 'f' AND "node" = '(many|it\\'s few)'/);
      expect(text.includes(`"device" = 'd-1'`)).toBe(text.includes("few"));
      expect(text).not.toContain(`"device" = 'd-2'`);
    }
    await store.close();
  });
});
