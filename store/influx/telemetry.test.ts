import { pino } from "pino";
import { afterAll, beforeAll, describe } from "vitest";
import { telemetrySuite } from "../telemetry-suite.ts";
import { connectTelemetry } from "../thread/owner.ts";
import { hasInfluxd, type Influxd, startInfluxd } from "./influxd.ts";
import { openInfluxTelemetry } from "./telemetry.ts";
import { settingOf } from "./test-setting.ts";

const log = pino({ level: "silent" });

/** One server for all tests; each has a database of its own. */
describe.skipIf(!hasInfluxd())("with Debian's influxdb (skipped where it is not installed)", () => {
  let server: Influxd;
  let databases = 0;
  beforeAll(async () => {
    server = await startInfluxd();
  });
  afterAll(() => server.stop());

  telemetrySuite("InfluxDB 1.x", async () => {
    databases += 1;
    // Every second one remembers next to nothing, so that every read is also made from InfluxDB.
    const setting = settingOf(server.url, `suite-${databases}`, databases % 2 ? {} : { recentSamples: 7 });
    return {
      open: () => openInfluxTelemetry({ ...setting, log }),
      connect: connectTelemetry,
      remove: async () => undefined,
    };
  });
});
