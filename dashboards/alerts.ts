import type { Rule } from "@grafana/grafana-foundation-sdk/alerting";
import type { TypeMath, TypeReduce, TypeThreshold } from "@grafana/grafana-foundation-sdk/expr";
import { type InfluxTarget, influxTarget, kpiQuery } from "./influxql.ts";
import { completenessText, nameOf } from "./labels.ts";
import { dashboardUid, targetShare } from "./names.ts";

type Marker = "_implementsDataqueryVariant";
export type Expression = Omit<TypeReduce, Marker> | Omit<TypeMath, Marker> | Omit<TypeThreshold, Marker>;

/** A query or expression of a rule, in the shape of Grafana's file provisioning. */
export type RuleData = {
  refId: string;
  /** Seconds before the evaluation. */
  relativeTimeRange: { from: number; to: number };
  datasourceUid: string;
  model: (InfluxTarget & { intervalMs: number; maxDataPoints: number }) | Expression;
};

/** An alert rule in the shape of Grafana's file provisioning, which is not the API's (nor `RuleBuilder`'s). */
export type ProvisionedRule = {
  uid: string;
  title: string;
  condition: string;
  for: string;
  noDataState: Rule["noDataState"];
  execErrState: Rule["execErrState"];
  /** Evaluations after which an alert of a series that is gone ends; Grafana 12 and later, ignored before. */
  missing_series_evals_to_resolve?: number;
  dashboardUid: string;
  panelId: number;
  /** `{{ $labels.x }}` is Grafana's template; only `${X}` would be taken for an environment variable here. */
  annotations: { summary: string; description: string };
  labels: Record<string, string>;
  data: RuleData[];
};

type Range = RuleData["relativeTimeRange"];

const minutes = (n: number) => n * 60;

function queryData(refId: string, query: string, relativeTimeRange: Range): RuleData {
  const target = influxTarget({ refId, query });
  return {
    refId,
    relativeTimeRange,
    datasourceUid: target.datasource.uid,
    model: { ...target, intervalMs: 60_000, maxDataPoints: 43_200 },
  };
}

const expressionSource = { type: "__expr__", uid: "__expr__" };
const now: Range = { from: 0, to: 0 };

function expressionData(refId: string, model: Expression): RuleData {
  const full = { ...model, refId, datasource: expressionSource };
  return { refId, relativeTimeRange: now, datasourceUid: expressionSource.uid, model: full };
}

const last = (refId: string, expression: string) =>
  expressionData(refId, { type: "reduce", expression, reducer: "last" });

const below = (refId: string, expression: string, limit: number) =>
  expressionData(refId, {
    type: "threshold",
    expression,
    conditions: [{ evaluator: { type: "lt", params: [limit] } }],
  });

const percent = targetShare * 100;

/**
 * No device of a gateway online, minute after minute. A gateway that is off leaves no points at all, so the empty minutes count as
 * zero here: this is the one place where absent means offline. A gateway without any point for six hours is no longer a series; its
 * alert then lasts a day (`missing_series_evals_to_resolve`), and that of its factory (`devicesOnlineShare`) until it is back.
 */
function gatewayOffline(): ProvisionedRule {
  const query =
    `SELECT max("online_ms") FROM "connection" WHERE $timeFilter ` + `GROUP BY time(1m), "factory", "gateway" fill(0)`;
  return {
    uid: "jilian-gateway-offline",
    title: "网关下无设备在线",
    condition: "C",
    for: "5m",
    noDataState: "Alerting",
    execErrState: "Error",
    missing_series_evals_to_resolve: 1440,
    dashboardUid: dashboardUid("connectivity", "zh"),
    panelId: 6,
    annotations: {
      summary: "网关下五分钟无设备在线：{{ $labels.factory }} / {{ $labels.gateway }}",
      description:
        "连续五分钟没有任何设备在线。请检查网关供电、现场网络与上行链路。没有标签时：平台没有任何联网数据。/ No device of this gateway was online for five minutes.",
    },
    labels: { severity: "critical", system: "jilian" },
    // The last minute may not be written yet.
    data: [queryData("A", query, { from: minutes(360), to: minutes(2) }), last("B", "A"), below("C", "B", 1)],
  };
}

/** Readings of an hour's electricity with gaps, once the hour is final (15 minutes after its end). */
function completenessLow(): ProvisionedRule {
  const electricity = nameOf("energy.electricity").zh;
  const query = kpiQuery({
    select: `last("completeness")`,
    indicator: "energy.electricity",
    level: "factory",
    period: "hour",
    only: `"completeness" >= 0`,
  });
  return {
    uid: "jilian-completeness-low",
    title: `${electricity}${completenessText.zh}低`,
    condition: "C",
    for: "0s",
    noDataState: "NoData",
    execErrState: "Error",
    dashboardUid: dashboardUid("energy", "zh"),
    panelId: 10,
    annotations: {
      summary: `${electricity}${completenessText.zh}低于 ${percent} %：{{ $labels.entity }}`,
      description: `上一个已结算小时的${completenessText.zh}为 {{ humanizePercentage $values.B.Value }}。补传数据后会自动恢复。/ Electricity readings cover less than ${percent} % of the last settled hour.`,
    },
    labels: { severity: "warning", system: "jilian" },
    // The start of exactly one hour lies in here: the last that ended at least 15 minutes ago.
    data: [
      queryData("A", query, { from: minutes(135) - 1, to: minutes(75) }),
      last("B", "A"),
      below("C", "B", targetShare),
    ],
  };
}

/** Devices online against devices registered, both summed over the same minutes; no figures at all: the platform is silent. */
function devicesOnlineShare(): ProvisionedRule {
  const [rate, online, registered] = ["devices.online_rate", "devices.online", "devices.registered"].map(
    (id) => nameOf(id).zh,
  );
  const sum = (refId: string, indicator: string) =>
    queryData(refId, kpiQuery({ select: `sum("value")`, indicator, level: "factory", period: "minute" }), {
      from: minutes(5),
      to: 0,
    });
  return {
    uid: "jilian-devices-online-share",
    title: `设备${rate}低或平台无数据`,
    condition: "F",
    for: "5m",
    noDataState: "Alerting",
    execErrState: "Error",
    dashboardUid: dashboardUid("connectivity", "zh"),
    panelId: 5,
    annotations: {
      summary: `设备${rate}低于 ${percent} %：{{ $labels.entity }}`,
      description: `最近五分钟${online} ÷ ${registered}。没有工厂标签时：五分钟内没有新的数字，平台或时序库没有工作。/ Devices online below target; without a factory label: no figures for five minutes.`,
    },
    labels: { severity: "warning", system: "jilian" },
    data: [
      sum("A", "devices.online"),
      sum("B", "devices.registered"),
      last("C", "A"),
      last("D", "B"),
      expressionData("E", { type: "math", expression: "$C / $D" }),
      below("F", "E", targetShare),
    ],
  };
}

/** The three rules. Who is told is the operator's to set: contact points and policies are not provisioned. */
export function alertRules(): ProvisionedRule[] {
  return [gatewayOffline(), completenessLow(), devicesOnlineShare()];
}
