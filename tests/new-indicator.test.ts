import { openWorld } from "@jilian/api/test-app.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { allPeriods, type Indicator, siteLevels } from "@jilian/domain/indicators/definition.ts";
import { device, site } from "@jilian/domain/indicators/examples.ts";
import { countFigure, devicesOf } from "@jilian/domain/indicators/parts.ts";
import { siteFigures } from "@jilian/domain/site-figures.ts";
import { expect, test } from "vitest";

/** All that a new indicator is: what its file holds. One line in the catalogue lists it. */
const devicesSilent: Indicator = {
  id: "devices.silent",
  version: 1,
  zh: "静默设备数",
  en: "Silent devices",
  unit: "1",
  levels: siteLevels,
  periods: allPeriods,
  reasons: [],
  formula: "Registered devices that were connected before and not online in the period",
  formulaZh: "曾联网而本期不在线的登记设备数",
  source: "a test",
  figure: (of) => countFigure(devicesOf(of).filter((one) => one.everConnected && one.onlineMs === 0).length),
  example: {
    zh: "3 台设备：一台在线，一台曾联网而本期离线，一台从未联网。静默 1。",
    en: "Of 3 devices one is online, one was connected before, one never. Silent is 1.",
    site: site([
      device("f1/gw-1/a"),
      device("f1/gw-1/b", { onlineMs: 0 }),
      device("f1/gw-1/c", { onlineMs: 0, everConnected: false }),
    ]),
    value: "1",
  },
};
const catalogue = [...indicators, devicesSilent];

test("a new indicator is computed with all others, to its own definition", () => {
  const stamp = { registryVersion: "0123456789ab", inputWatermark: 7, asOfMs: 1, simulated: false };
  const results = siteFigures(devicesSilent.example.site, stamp, catalogue);
  const own = results.find(({ indicator }) => indicator === devicesSilent.id);
  expect(own).toMatchObject({ value: "1", unit: "1", definitionVersion: 1, factorTable: null, ...stamp });
  expect(results.length).toBe(siteFigures(devicesSilent.example.site, stamp).length + 1);
});

test("a second version is served beside the first, each with its words, its example and when it is in force", async () => {
  const second: Indicator = {
    ...devicesSilent,
    version: 2,
    formulaZh: "本期不在线的登记设备数",
    example: { ...devicesSilent.example, value: "2" },
    earlier: [devicesSilent],
  };
  const world = await openWorld({ catalogue: [...indicators, second] });
  try {
    const versions = async () =>
      (await world.get("/open/v1/definitions/devices.silent")).body.versions as Record<string, unknown>[];
    expect((await versions()).map(({ version, inForce }) => [version, inForce])).toEqual([
      [2, true],
      [1, false],
    ]);
    const sinceMs = Date.UTC(2026, 10, 20, 2);
    world.ledger.addDefinitionVersion({ indicator: second.id, version: 1, fromMs: 0 });
    world.ledger.addDefinitionVersion({ indicator: second.id, version: 2, fromMs: sinceMs });
    const since = "2026-11-20T10:00:00+08:00";
    const own = { version: 2, inForce: true, spans: [{ from: since, until: null }], formulaZh: second.formulaZh };
    const before = { version: 1, inForce: false, spans: [{ from: null, until: since }] };
    expect(await versions()).toMatchObject([
      { ...own, example: { value: "2" } },
      { ...before, formulaZh: devicesSilent.formulaZh, example: { value: "1" } },
    ]);
  } finally {
    await world.close();
  }
});

test("and served with its definition and worked example", async () => {
  const world = await openWorld({ catalogue });
  try {
    const { status, body } = await world.get("/open/v1/definitions/devices.silent");
    expect(status).toBe(200);
    expect(body).toMatchObject({
      ...{ id: "devices.silent", zh: "静默设备数", version: 1, formulaZh: devicesSilent.formulaZh },
      example: { zh: devicesSilent.example.zh, en: devicesSilent.example.en, value: "1" },
    });
    const all = (await world.get("/open/v1/definitions")).body.definitions as { id: string }[];
    expect(all.map(({ id }) => id)).toEqual(expect.arrayContaining(catalogue.map(({ id }) => id)));
    expect((await world.get("/open/v1/metrics?indicator=devices.silent&level=factory&period=hour")).status).toBe(200);
  } finally {
    await world.close();
  }
});
