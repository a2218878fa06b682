/** Answers as a platform gives them, by operation. A test holds each to its schema. */

const figure = {
  indicator: "energy.electricity",
  level: "factory",
  entity: "xinghua-casting",
  entityName: "铜材熔铸厂",
  period: "hour",
  start: "2026-11-23T04:00:00+08:00",
  end: "2026-11-23T05:00:00+08:00",
  value: "544.93308",
  reason: null,
  unit: "kWh",
  completeness: 1,
  estimatedShare: 0,
  lowerBound: false,
  status: "final",
  revision: 0,
  definitionVersion: 1,
  factorTable: null,
  registryVersion: "f80dd828e979",
  inputWatermark: 1468,
  asOf: "2026-11-23T05:15:00.412+08:00",
  simulated: true,
  change: 1204,
};
const oee = {
  ...figure,
  indicator: "oee",
  value: null,
  reason: "no_calendar",
  unit: "1",
  completeness: null,
  estimatedShare: null,
  change: 1205,
};
const notice = "模拟数据 / simulated data: a demonstration, not a plant";
const revised = {
  ...figure,
  value: "545.10224",
  status: "revised",
  revision: 1,
  inputWatermark: 1502,
  asOf: "2026-11-23T05:48:10.027+08:00",
  change: 1311,
};
const log = "d58ce62c4c87c18a";
const monthly = (start: string, end: string, value: string) => ({
  ...figure,
  ...{ indicator: "energy.unit_product", unit: "kgce/pcs", factorTable: "GB/T 2589-2020" },
  ...{ period: "month", start, end, value, asOf: end },
});

export const examples: Readonly<Record<string, unknown>> = {
  listFigures: {
    notice,
    pinned: true,
    asOfChange: 1310,
    from: "2026-11-23T04:00:00+08:00",
    to: "2026-11-23T05:00:00+08:00",
    figures: [figure, oee],
    next: null,
  },
  latestFigures: { notice, now: "2026-11-23T05:20:00.000+08:00", figures: [figure] },
  figureHistory: { notice, log, revisions: [figure, revised] },
  compareFigures: {
    notice,
    ...{ level: "factory", entity: "xinghua-casting", entityName: "铜材熔铸厂" },
    baseline: { period: "month", start: "2026-09-01T00:00:00+08:00", end: "2026-10-01T00:00:00+08:00" },
    current: { period: "month", start: "2026-10-01T00:00:00+08:00", end: "2026-11-01T00:00:00+08:00" },
    mix: {
      ...{ mixChange: 0.02, mixChanged: false },
      products: [
        { product: "copper-rod", baseline: "70000", current: "136000" },
        { product: "copper-bar", baseline: "30000", current: "64000" },
      ],
    },
    comparisons: [
      {
        ...{ indicator: "energy.unit_product", better: "less" },
        baseline: monthly("2026-09-01T00:00:00+08:00", "2026-10-01T00:00:00+08:00", "0.032"),
        current: monthly("2026-10-01T00:00:00+08:00", "2026-11-01T00:00:00+08:00", "0.0304"),
        ...{ difference: "-0.0016", ratio: "0.95", reason: null, direction: "better", caveats: [], comparable: true },
      },
    ],
  },
  listChanges: { notice, log, changes: [figure, oee, revised], next: 1311, last: 1311 },
  streamChanges: `retry: 2000\n\nid: 1310\nevent: position\ndata: ${JSON.stringify({ log, after: 1310, last: 1310 })}\n\nid: 1311\nevent: change\ndata: ${JSON.stringify(revised)}\n\n`,
  streamWallState: 'retry: 2000\n\nevent: now\ndata: {"nowMs":1795386834717}\n\n',
  listCompleteness: {
    notice,
    from: "2026-11-23T04:00:00+08:00",
    to: "2026-11-23T05:00:00+08:00",
    completeness: [
      {
        level: "device",
        entity: "xinghua-casting/gw-casting/furnace-1",
        entityName: "1 号熔炼炉",
        period: "hour",
        start: "2026-11-23T04:00:00+08:00",
        end: "2026-11-23T05:00:00+08:00",
        deviceHours: { total: 1, withoutAccount: 0 },
        polls: { scheduled: 3600, answered: 3492, skipped: 3 },
        readings: { polled: 31428, suppressed: 25902, bad: 0 },
        samples: {
          marked: 9,
          queued: 5535,
          dropped: { full: 0, age: 0, unwritable: 0 },
          missing: 0,
          uncounted: 0,
        },
        stored: 5535,
        gaps: [
          { reason: "MODBUS_TIMEOUT", ms: 88021 },
          { reason: "GATEWAY_DOWN", ms: 16874 },
        ],
        droppedByMetric: [],
        collectionRate: 0.97,
        accountTime: "2026-11-23T05:00:00.512+08:00",
      },
    ],
    next: null,
  },
  getDefinition: {
    id: "energy.comprehensive",
    zh: "综合能耗",
    en: "Comprehensive energy",
    version: 2,
    unit: "kgce",
    levels: ["line", "factory", "enterprise", "cluster", "pilot"],
    periods: ["hour", "day", "month"],
    formula:
      "E = sum(e_i * k_i): over all carriers with incoming meters what came in, times its factor to standard coal",
    formulaZh: "E = Σ(e_i × k_i)：各进线能源实物量乘以折标准煤系数（当量值）",
    source: "GB/T 2589-2020, 6.1 and annex A",
    reasons: [{ id: "no_meter", zh: "无进线电表", en: "no incoming meter is registered" }],
    example: {
      zh: "用电 1,000 kWh × 0.1229 = 122.9 kgce。",
      en: "Electricity 1,000 kWh x 0.1229 = 122.9 kgce.",
      value: "122.9",
    },
    versions: [
      {
        ...{ version: 2, inForce: true, spans: [{ from: "2026-11-26T09:12:40.103+08:00", until: null }] },
        formula: "E = sum(e_i * k_i): over all carriers with incoming meters",
        formulaZh: "E = Σ(e_i × k_i)：各进线能源",
        ...{ source: "GB/T 2589-2020, 6.1 and annex A", reasons: [] },
      },
      {
        ...{ version: 1, inForce: false, spans: [{ from: null, until: "2026-11-26T09:12:40.103+08:00" }] },
        ...{ formula: "E = e * k: electricity alone", formulaZh: "E = e × k：仅电力" },
        ...{ source: "GB/T 2589-2020, 6.1 and annex A", reasons: [] },
      },
    ],
  },
  isLive: { status: "ok" },
  isReady: { status: "ok" },
};
