import type { GridPos, Panel, ValueMapping } from "@grafana/grafana-foundation-sdk/dashboard";
import { MappingType } from "@grafana/grafana-foundation-sdk/dashboard";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import type { Period } from "@jilian/domain/periods.ts";
import { nullReasons } from "@jilian/domain/result.ts";
import { powerPanel, simulatedPanel, todayPanel, trustPanel } from "./common-panels.ts";
import { chosenEntity, influxQuery, kpiQuery } from "./influxql.ts";
import { completenessText, estimatedShareText, lowerBoundText, nameOf, statusTexts } from "./labels.ts";
import { column, flagWords, graphPanel, markedShare, noneMapping, simulatedWords, tablePanel } from "./panels.ts";
import type { Say, Text } from "./texts.ts";
import { formatOf, shareFormat } from "./units.ts";

type Place = { id: number; at: GridPos };

/** Words for the values of a text column. */
function words(texts: Iterable<readonly [string, string]>): ValueMapping[] {
  const options = Object.fromEntries([...texts].map(([value, text]) => [value, { text }]));
  return [{ type: MappingType.ValueToText, options }];
}

/** Bars of each period of an indicator, from the period's start on. */
function bars(
  say: Say,
  { id, at, of, period, stacked, range }: Place & { of: string; period: Period; stacked: boolean; range?: string },
): Panel {
  const per: Text = period === "hour" ? { zh: "每小时", en: "by hour" } : { zh: "每日", en: "by day" };
  return graphPanel(say, {
    id,
    at,
    title: { zh: `${per.zh}${nameOf(of).zh}`, en: `${nameOf(of).en} ${per.en}` },
    about: {
      zh: "按各自周期读取，不由更短周期相加或平均。缺柱表示无数据，不是零。/ Read at its own period.",
      en: "Read at its own period, never added up or averaged from shorter ones. A missing bar means no data, not zero.",
    },
    queries: [
      influxQuery({
        query: kpiQuery({ select: `"value"`, indicator: of, level: "factory", period, chosen: true }),
        alias: "$tag_entity",
      }),
    ],
    format: formatOf(of),
    bars: true,
    stacked,
    interval: period === "hour" ? "1h" : "1d",
    ...(range === undefined ? {} : { range }),
  });
}

/** The days of the range with everything that belongs to their figures. */
function daysTable(say: Say): Panel {
  const of = "energy.electricity";
  const fields = ["value", "completeness", "estimated_share", "lower_bound", "status", "simulated"];
  const query = kpiQuery({
    select: ["entity", ...fields].map((name) => `"${name}"`).join(", "),
    indicator: of,
    level: "factory",
    period: "day",
    chosen: true,
    groupBy: null,
  });
  const status = Object.entries(statusTexts).map(([name, text]) => [name, say(text)] as const);
  return tablePanel(say, {
    id: 12,
    at: { x: 0, y: 36, w: 14, h: 9 },
    title: { zh: `每日${nameOf(of).zh}明细`, en: `${nameOf(of).en} by day, in detail` },
    about: {
      zh: "下限值：缺进线电表的读数，或电表读数有无法解释的归零。/ A lower bound: a register was reset without explanation.",
      en: "A lower bound: an incoming meter is missing, or a register was reset without explanation.",
    },
    queries: [influxQuery({ query: `${query} ORDER BY time DESC`, table: true })],
    columns: {
      Time: column(say, { zh: "日期", en: "Day" }, { unit: "time:YYYY-MM-DD", decimals: 0 }),
      entity: column(say, { zh: "工厂", en: "Factory" }),
      value: column(say, nameOf(of), formatOf(of)),
      completeness: [...column(say, completenessText, shareFormat, [noneMapping]), ...markedShare],
      estimated_share: column(say, estimatedShareText, shareFormat, [noneMapping]),
      lower_bound: column(
        say,
        lowerBoundText,
        undefined,
        flagWords(say, { zh: lowerBoundText.zh, en: "lower bound" }, { zh: "—", en: "—" }),
      ),
      status: column(say, { zh: "状态", en: "Status" }, undefined, words(status)),
      simulated: column(say, { zh: "数据性质", en: "Kind of data" }, undefined, simulatedWords(say)),
    },
  });
}

/** Figures of the range that have no value, and why. Absent is neither zero nor hidden. */
function unknownTable(say: Say): Panel {
  const query =
    `SELECT "entity", "indicator", "reason" FROM "kpi" WHERE "level" = 'factory' AND "period" = 'day' AND ` +
    `${chosenEntity} AND "known" = false AND $timeFilter ORDER BY time DESC`;
  const reasons = Object.entries(nullReasons).map(([reason, text]) => [reason, say(text)] as const);
  return tablePanel(say, {
    id: 13,
    at: { x: 14, y: 36, w: 10, h: 9 },
    title: { zh: "缺少的数字与原因", en: "Missing figures and why" },
    about: {
      zh: "算不出的数字不以零或估计代替。/ What cannot be told is not replaced by zero.",
      en: "What cannot be told is not replaced by zero or a guess.",
    },
    queries: [influxQuery({ query, table: true })],
    columns: {
      Time: column(say, { zh: "日期", en: "Day" }, { unit: "time:YYYY-MM-DD", decimals: 0 }),
      entity: column(say, { zh: "工厂", en: "Factory" }),
      indicator: column(
        say,
        { zh: "指标", en: "Indicator" },
        undefined,
        words(indicators.map((definition) => [definition.id, say(definition)])),
      ),
      reason: column(say, { zh: "原因", en: "Reason" }, undefined, words(reasons)),
    },
  });
}

/** Energy and carbon, each figure with what it rests on. */
export function energyPanels(say: Say): Panel[] {
  const byHour = ({ zh, en }: Text): Text => {
    const { zh: amount, en: english } = nameOf("energy.electricity");
    return { zh: `${amount}${zh}（每小时）`, en: `${english}: ${en.toLowerCase()} by hour` };
  };
  return [
    simulatedPanel(say, { id: 1, at: { x: 0, y: 0, w: 4, h: 4 } }),
    todayPanel(say, {
      id: 2,
      at: { x: 4, y: 0, w: 10, h: 4 },
      of: "energy.electricity",
      complete: true,
      about: {
        zh: "集群合计，与所选工厂无关。完整率：有读数的时间占比。/ Whole cluster.",
        en: "Whole cluster, whatever is chosen. Completeness: the part of the elapsed time that readings cover.",
      },
    }),
    todayPanel(say, {
      id: 3,
      at: { x: 14, y: 0, w: 5, h: 4 },
      of: "energy.comprehensive",
      about: { zh: "集群合计，当量值。/ Whole cluster.", en: "Whole cluster, equivalent value, GB/T 2589-2020." },
    }),
    todayPanel(say, {
      id: 4,
      at: { x: 19, y: 0, w: 5, h: 4 },
      of: "carbon.electricity",
      about: { zh: "集群合计。/ Whole cluster.", en: "Whole cluster." },
    }),
    powerPanel(say, { id: 5, at: { x: 0, y: 4, w: 24, h: 8 }, level: "factory", chosen: true }),
    bars(say, { id: 6, at: { x: 0, y: 12, w: 12, h: 8 }, of: "energy.electricity", period: "hour", stacked: true }),
    bars(say, {
      id: 7,
      at: { x: 12, y: 12, w: 12, h: 8 },
      of: "energy.electricity",
      period: "day",
      stacked: true,
      range: "30d",
    }),
    bars(say, {
      id: 8,
      at: { x: 0, y: 20, w: 8, h: 8 },
      of: "energy.comprehensive",
      period: "day",
      stacked: true,
      range: "30d",
    }),
    bars(say, {
      id: 9,
      at: { x: 8, y: 20, w: 8, h: 8 },
      of: "carbon.electricity",
      period: "day",
      stacked: true,
      range: "30d",
    }),
    bars(say, {
      id: 14,
      at: { x: 16, y: 20, w: 8, h: 8 },
      of: "energy.unit_product",
      period: "day",
      // A ratio: the sum of two factories' would mean nothing.
      stacked: false,
      range: "30d",
    }),
    trustPanel(say, {
      id: 10,
      at: { x: 0, y: 28, w: 12, h: 8 },
      field: "completeness",
      title: byHour(completenessText),
      about: { zh: "虚线为 90 %。/ Dashed: 90 %.", en: "Part of the hour that readings cover. Dashed: 90 %." },
    }),
    trustPanel(say, {
      id: 11,
      at: { x: 12, y: 28, w: 12, h: 8 },
      field: "estimated_share",
      title: byHour(estimatedShareText),
      about: {
        zh: "跨越小时边界的数据缺口按内插分摊的部分。/ Interpolated part.",
        en: "Part of the value that interpolation over a gap at the hour's edge assigned to it.",
      },
    }),
    daysTable(say),
    unknownTable(say),
  ];
}
