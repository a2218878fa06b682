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
  listChanges: { notice, log, changes: [figure, oee, revised], next: 1311, last: 1311 },
  streamChanges: `retry: 2000\n\nid: 1310\nevent: position\ndata: ${JSON.stringify({ log, after: 1310, last: 1310 })}\n\nid: 1311\nevent: change\ndata: ${JSON.stringify(revised)}\n\n`,
  streamWallState: 'retry: 2000\n\nevent: now\ndata: {"nowMs":1795386834717}\n\n',
  getDefinition: {
    id: "energy.comprehensive",
    zh: "综合能耗",
    en: "Comprehensive energy",
    version: 1,
    unit: "kgce",
    levels: ["factory", "enterprise", "cluster"],
    periods: ["minute", "hour", "day"],
    formula: "E = sum(e_i * k_i) over the metered carriers, equivalent value; null where energy.electricity is null",
    source: "GB/T 2589-2020, 6.1 and annex A",
    reasons: [{ id: "no_meter", zh: "无进线电表", en: "no incoming meter is registered" }],
  },
  isLive: { status: "ok" },
  isReady: { status: "ok" },
};
