import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import { roles } from "@jilian/domain/roles.ts";
import {
  countsPanel,
  devicesPanel,
  factoriesPanel,
  onlineSharePanel,
  powerPanel,
  simulatedPanel,
  todayPanel,
  todayRange,
} from "./common-panels.ts";
import { influxQuery, kpiQuery, lastMinutes } from "./influxql.ts";
import { completenessText, headingOf, nameOf, todayOf } from "./labels.ts";
import { column, markedShare, noneMapping, simulatedWords, statPanel, tablePanel, textPanel } from "./panels.ts";
import type { Say } from "./texts.ts";
import { joinByEntity } from "./transforms.ts";
import { countFormat, formatOf, shareFormat } from "./units.ts";

/** When the newest figure was computed for: the platform is silent when it stands still. */
function newestPanel(say: Say): Panel {
  const query = kpiQuery({
    select: `last("value") AS "registered"`,
    indicator: "devices.registered",
    level: "cluster",
    period: "minute",
  });
  return statPanel(say, {
    id: 3,
    at: { x: 18, y: 0, w: 6, h: 3 },
    title: { zh: "数据更新至", en: "Figures up to" },
    about: {
      zh: "最新一分钟数字的时间（北京时间）。停滞即平台无数据。/ Time of the newest figure.",
      en: "Minute of the newest figure. When it stands still, the platform is silent.",
    },
    queries: [influxQuery({ query, table: true })],
    field: "Time",
    format: { unit: "time:MM-DD HH:mm", decimals: 0 },
    range: todayRange,
  });
}

/** Every factory in one row: now, and today so far. */
function factoriesTable(say: Say): Panel {
  const now = kpiQuery({
    select: `last("value") AS "online"`,
    indicator: "devices.online",
    level: "factory",
    period: "minute",
    range: lastMinutes,
  });
  const today = (refId: string, select: string, indicator: string) =>
    influxQuery({ refId, query: kpiQuery({ select, indicator, level: "factory", period: "day" }), table: true });
  const names = ["online", "registered", "simulated", "electricity", "completeness", "carbon", "oee", "fpy"];
  return tablePanel(say, {
    id: 20,
    at: { x: 0, y: 13, w: 14, h: 8 },
    title: { zh: "各工厂", en: "Factories" },
    about: {
      zh: `${nameOf("devices.online").zh}为最近五分钟内的数字；其余为今日累计。空格表示无数据，不是零。/ Empty cells mean no data, not zero.`,
      en: "Devices online as of the last five minutes; the rest is today so far. An empty cell means no data, not zero.",
    },
    queries: [
      influxQuery({ refId: "A", query: now, table: true }),
      today("B", `last("value") AS "registered", "simulated"`, "devices.registered"),
      today("C", `last("value") AS "electricity", "completeness"`, "energy.electricity"),
      today("D", `last("value") AS "carbon"`, "carbon.electricity"),
      today("E", `last("value") AS "oee"`, "oee"),
      today("F", `last("value") AS "fpy"`, "quality.fpy"),
    ],
    range: todayRange,
    transformations: joinByEntity(names),
    columns: {
      entity: column(say, { zh: "工厂", en: "Factory" }),
      online: column(say, headingOf("devices.online", "Online"), countFormat),
      registered: column(say, headingOf("devices.registered", "Registered"), countFormat),
      electricity: column(say, todayOf("energy.electricity"), formatOf("energy.electricity")),
      completeness: [...column(say, completenessText, shareFormat, [noneMapping]), ...markedShare],
      carbon: column(say, { zh: todayOf("carbon.electricity").zh, en: "Carbon today" }, formatOf("carbon.electricity")),
      oee: column(say, headingOf("oee", "OEE"), shareFormat),
      fpy: column(say, headingOf("quality.fpy", "FPY"), shareFormat),
      simulated: column(say, { zh: "数据性质", en: "Kind of data" }, undefined, simulatedWords(say)),
    },
  });
}

/** Devices online in the cluster, and power of every factory, over the last day. */
function trends(say: Say): Panel[] {
  const online = countsPanel(say, {
    id: 21,
    at: { x: 14, y: 13, w: 10, h: 8 },
    title: nameOf("devices.online"),
    about: {
      zh: "每分钟的在线与登记设备数。断线表示该时段无数字。/ A gap means no figures.",
      en: "Devices online and registered in each minute. A gap means that there are no figures.",
    },
    of: ["devices.online", "devices.registered"],
    level: "cluster",
  });
  return [online, powerPanel(say, { id: 22, at: { x: 0, y: 21, w: 24, h: 6 }, level: "factory" })];
}

/**
 * The wall: for a screen in kiosk mode. No variables, because kiosk mode would show them; 27 grid rows, which fill 1920 x 1080.
 */
export function clusterWallPanels(say: Say): Panel[] {
  const zh = (id: string) => nameOf(id).zh;
  const factors = ["oee.availability", "oee.effectiveness", "oee.quality"].map(zh).join(" × ");
  const [passed, inspected] = [roles["inspection.passed"].zh, roles["inspection.inspected"].zh];
  const day = (id: number, x: number, of: string, about: string, en: string) =>
    todayPanel(say, { id, at: { x, y: 8, w: 4, h: 5 }, of, about: { zh: `${about} / ${en}`, en } });
  return [
    textPanel(say, {
      id: 1,
      at: { x: 0, y: 0, w: 12, h: 3 },
      content: { zh: "# 集联 · 产业集群运行大屏", en: "# Jilian · Cluster in operation" },
    }),
    simulatedPanel(say, { id: 2, at: { x: 12, y: 0, w: 6, h: 3 } }),
    newestPanel(say),
    factoriesPanel(say, { id: 4, at: { x: 0, y: 3, w: 4, h: 5 } }),
    devicesPanel(say, { id: 5, at: { x: 4, y: 3, w: 10, h: 5 } }),
    onlineSharePanel(say, { id: 6, at: { x: 14, y: 3, w: 4, h: 5 } }),
    powerPanel(say, { id: 7, at: { x: 18, y: 3, w: 6, h: 5 }, level: "cluster", range: "1h" }),
    day(
      10,
      0,
      "energy.electricity",
      `进线电表的${todayOf("energy.electricity").zh}。`,
      "Electricity through the incoming meters.",
    ),
    day(11, 4, "energy.comprehensive", "当量值，GB/T 2589-2020。", "Equivalent value, GB/T 2589-2020."),
    day(12, 8, "carbon.electricity", `${zh("energy.electricity")} × 电网排放因子。`, "Electricity x grid factor."),
    day(
      13,
      12,
      "energy.unit_product",
      `${zh("energy.comprehensive")} ÷ ${roles["production.good"].zh}。`,
      "Comprehensive energy over good production.",
    ),
    day(14, 16, "oee", `ISO 22400-2：${factors}。`, "ISO 22400-2: A x E x Q."),
    day(15, 20, "quality.fpy", `${passed} ÷ ${inspected}。`, "Passed at first inspection over inspected."),
    factoriesTable(say),
    ...trends(say),
  ];
}
