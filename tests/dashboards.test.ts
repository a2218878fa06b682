import { alertRules, type ProvisionedRule } from "@jilian/dashboards/alerts.ts";
import { makeDashboard } from "@jilian/dashboards/dashboards.ts";
import { expandQuery } from "@jilian/dashboards/expand.ts";
import type { InfluxTarget } from "@jilian/dashboards/influxql.ts";
import type { DashboardName } from "@jilian/dashboards/names.ts";
import { alertQueries, type PanelQuery, panelQueries } from "@jilian/dashboards/queries.ts";
import { asShown, type InfluxSeries, statTexts, tableTexts, toFrames } from "@jilian/dashboards/test-frames.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import { hasInfluxd, type Influxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { casting, plantLines, rolling } from "./dashboards-plant.ts";

/** Sunday 22 November 2026, 10:30:40 in Shanghai. Nothing here depends on the wall clock. */
const nowMs = Date.parse("2026-11-22T10:30:40+08:00");
const all = { factory: { pattern: ".*" } };

let influxd: Influxd;

async function ask(query: string): Promise<InfluxSeries[]> {
  const response = await fetch(`${influxd.url}/query?db=jilian&epoch=ms&q=${encodeURIComponent(query)}`);
  const answer = (await response.json()) as { error?: string; results?: { error?: string; series?: InfluxSeries[] }[] };
  const error = answer.error ?? answer.results?.[0]?.error;
  if (error) throw new Error(`${error}: ${query}`);
  return answer.results?.[0]?.series ?? [];
}

type Asked = Pick<PanelQuery, "query" | "fromAgoMs" | "toAgoMs">;

async function run(
  { query, fromAgoMs, toAgoMs }: Asked,
  atMs = nowMs,
  vars: Parameters<typeof expandQuery>[1]["vars"] = all,
) {
  const range = { fromMs: atMs - fromAgoMs, toMs: atMs - toAgoMs };
  return await ask(expandQuery(query, { ...range, intervalMs: minuteMs, vars: vars ?? {} }));
}

/** Every row that holds something beside its time. */
function rowsOf(series: readonly InfluxSeries[]): unknown[][] {
  return series.flatMap(({ values }) => values.filter((row) => row.slice(1).some((cell) => cell !== null)));
}

/** A panel with its frames, as Grafana would have them, through Grafana's own transformations and formats. */
async function shown(name: DashboardName, id: number, atMs = nowMs) {
  const board = makeDashboard(name, "zh");
  const panel = (board.panels ?? []).find((one) => one.id === id);
  if (!panel || !("targets" in panel)) throw new Error(`no panel ${id} in ${name}`);
  const asked = panelQueries().filter((one) => one.dashboard === board.uid && one.panel === panel.title);
  const targets = (panel.targets ?? []) as unknown as InfluxTarget[];
  const frames = await Promise.all(
    targets.map(async (target, n) => toFrames(await run(asked[n] as PanelQuery, atMs), target)),
  );
  const data = await asShown(panel, frames.flat());
  return { panel, data };
}

const stat = async (name: DashboardName, id: number, atMs = nowMs) => {
  const { panel, data } = await shown(name, id, atMs);
  return statTexts(panel, data).map(({ name: title, text }) => [title, text]);
};

/** Grafana's expressions of a rule: the last value of each series, a quotient by equal labels, a threshold. @returns what fires */
async function firing(rule: ProvisionedRule, atMs = nowMs): Promise<{ noData: boolean; labels: string[] }> {
  const numbers = new Map<string, Map<string, number>>();
  const of = (refId: string) => numbers.get(refId) ?? new Map<string, number>();
  for (const { refId, model, relativeTimeRange } of rule.data) {
    if ("query" in model) {
      const { from, to } = relativeTimeRange;
      const series = await run({ query: model.query, fromAgoMs: from * 1000, toAgoMs: to * 1000 }, atMs);
      const label = ({ tags }: InfluxSeries) => Object.values(tags ?? {}).join("|");
      numbers.set(refId, new Map(series.map((one) => [label(one), Number(one.values.at(-1)?.[1])])));
    } else if (model.type === "reduce") {
      expect(model.reducer).toBe("last");
      numbers.set(refId, of(model.expression));
    } else if (model.type === "math") {
      const [, part = "", whole = ""] = /^\$(\w) \/ \$(\w)$/.exec(model.expression) ?? [];
      const parts = [...of(part)].filter(([key]) => of(whole).has(key));
      numbers.set(refId, new Map(parts.map(([key, value]) => [key, value / Number(of(whole).get(key))])));
    } else {
      const { type, params } = model.conditions[0]?.evaluator ?? { type: "", params: [] };
      expect(type).toBe("lt");
      const found = [...of(model.expression)];
      const labels = found.filter(([, value]) => value < Number(params[0])).map(([key]) => key);
      return { noData: found.length === 0, labels };
    }
  }
  throw new Error("no threshold");
}

const ruleOf = (uid: string) => alertRules().find((rule) => rule.uid === uid) as ProvisionedRule;

describe.skipIf(!hasInfluxd())("dashboards on a real InfluxDB", () => {
  beforeAll(async () => {
    influxd = await startInfluxd();
    await fetch(`${influxd.url}/query?q=CREATE+DATABASE+jilian`, { method: "POST" });
    const lines = plantLines(nowMs);
    for (let at = 0; at < lines.length; at += 5000) {
      const body = lines.slice(at, at + 5000).join("\n");
      const { status } = await fetch(`${influxd.url}/write?db=jilian&precision=ms`, { method: "POST", body });
      expect(status).toBe(204);
    }
  });
  afterAll(async () => await influxd?.stop());

  it.each(
    [...panelQueries(), ...alertQueries()].map((one) => [`${one.dashboard} ${one.panel} ${one.refId}`, one] as const),
  )("%s answers with rows", async (_name, query) => {
    expect(rowsOf(await run(query)).length).toBeGreaterThan(0);
  });

  it("finds a mistake in a query: it answers with nothing, or with an error", async () => {
    const good = panelQueries().find(({ panel }) => panel === "数据更新至") as PanelQuery;
    expect(rowsOf(await run(good)).length).toBeGreaterThan(0);
    const mistakes: [string, string][] = [
      [`'cluster'`, `'clusters'`],
      [`"kpi"`, `"kpis"`],
      [`"value"`, `"values"`],
      [`"period"`, `"periods"`],
      [`'minute'`, `"minute"`],
      [`= true`, `= 'true'`],
      [`$timeFilter`, `$timefilter`],
      [`"known"`, `known"`],
      [`WHERE`, `WHEN`],
    ];
    for (const [right, wrong] of mistakes) {
      const text = good.query.replace(right, wrong);
      expect(text, right).not.toBe(good.query);
      const rows = await run({ ...good, query: text }).then(rowsOf, () => []);
      expect(rows, wrong).toEqual([]);
    }
  });

  it("finds the chosen factory only, whatever its name", async () => {
    const chosen = panelQueries().filter(({ query }) => query.includes(`"entity" =~`));
    expect(chosen.length).toBeGreaterThan(5);
    for (const query of chosen) {
      for (const factory of [[rolling], [rolling, casting], [casting]]) {
        const series = await run(query, nowMs, { factory });
        const found = new Set(
          series.flatMap(({ tags, columns, values }) =>
            tags ? [tags.entity] : values.map((row) => row[columns.indexOf("entity")]),
          ),
        );
        // Only the casting plant lacks a figure.
        const expected = query.query.includes("= false") ? factory.filter((name) => name === casting) : factory;
        expect([...found].sort(), query.panel).toEqual([...expected].sort());
      }
    }
  });

  it("prints the big figures of the wall", async () => {
    expect(await stat("cluster-wall", 2)).toEqual([["simulated", "模拟数据"]]);
    expect((await stat("cluster-wall", 3)).map(([, text]) => text)).toEqual(["11-22 10:29"]);
    expect((await stat("cluster-wall", 4)).map(([, text]) => text)).toEqual(["2 家"]);
    expect(await stat("cluster-wall", 5)).toEqual([
      ["在线设备数", "6"],
      ["累计联网设备数", "7"],
      ["登记设备数", "8"],
    ]);
    // 6 of 8 in each minute.
    expect((await stat("cluster-wall", 6)).map(([, text]) => text)).toEqual(["75.0%"]);
    expect((await stat("cluster-wall", 10)).map(([, text]) => text)).toEqual(["14400.00 kWh"]);
    expect((await stat("cluster-wall", 14)).map(([, text]) => text)).toEqual(["81.0%"]);
    expect(await stat("energy", 2)).toEqual([
      ["用电量", "14400.00 kWh"],
      ["完整率", "97.0%"],
      ["估算占比", "2.0%"],
    ]);
  });

  it("prints a row for each factory", async () => {
    const { data } = await shown("cluster-wall", 20);
    const row = { 在线设备数: "4", 登记设备数: "4", 今日用电量: "11520.00 kWh", 完整率: "97.0%", 数据性质: "模拟数据" };
    const rows = tableTexts(data);
    expect(rows.find((one) => one.工厂 === rolling)).toMatchObject({
      ...row,
      设备综合效率: "81.0%",
      一次合格率: "98.5%",
    });
    expect(rows.find((one) => one.工厂 === casting)).toMatchObject({ 在线设备数: "2", 完整率: "50.0%" });
    expect(rows).toHaveLength(2);
  });

  it("prints the days with what they rest on, and what is missing with its reason", async () => {
    const days = tableTexts((await shown("energy", 12)).data);
    expect(days).toHaveLength(2 * 7);
    expect(days[0]).toMatchObject({ 日期: "2026-11-22", 状态: "暂定", 数据性质: "模拟数据" });
    expect(days.find((one) => one.工厂 === casting)).toMatchObject({ 下限值: "下限值", 完整率: "50.0%" });
    expect(tableTexts((await shown("energy", 13)).data)).toEqual([
      { 日期: "2026-11-22", 工厂: casting, 指标: "单位产品综合能耗", 原因: "无产量" },
    ]);
  });

  it("does not show the value that a figure had before it became unknown", async () => {
    // The rewritten point still holds it: InfluxDB keeps fields that a rewrite does not name.
    const kept = await ask(
      `SELECT "value" FROM "kpi" WHERE "indicator" = 'energy.unit_product' AND "known" = false AND "period" = 'day'`,
    );
    expect(rowsOf(kept)).toHaveLength(1);
    const bars = panelQueries().find(
      ({ query }) => query.includes("energy.unit_product") && query.includes("factory:"),
    );
    const series = await run(bars as PanelQuery);
    const days = Object.fromEntries(series.map(({ tags, values }) => [tags?.entity, values.length]));
    expect(days).toEqual({ [rolling]: 30, [casting]: 29 });
  });

  it("tells online, partly online, offline and unknown apart", async () => {
    const { data } = await shown("connectivity", 6);
    const field = (device: string) => {
      const value = data.find(({ name }) => name?.endsWith(`/ ${device}`))?.fields[1];
      return (at: number) => value?.display?.(value.values.at(at)).text ?? "";
    };
    expect(data.map(({ name }) => name)).toContain(`${rolling} / 网关 1 / 轧机`);
    expect(field("总进线电表")(-2)).toBe("在线");
    expect(field("轧机")(-2)).toBe("部分在线");
    expect(field("轧机")(5)).toBe("在线");
    expect(field("锯切机")(5)).toBe("在线");
    // Nothing is known of the last twenty minutes: neither online nor offline.
    expect(data.find(({ name }) => name?.endsWith("锯切机"))?.fields[1]?.values.at(-5)).toBeNull();
    expect(data[0]?.fields[1]?.display?.(0).text).toBe("离线");
  });

  it("prints each device's share of the range", async () => {
    const rows = tableTexts((await shown("connectivity", 7)).data);
    const share = Object.fromEntries(rows.map((row) => [row.设备, row.在线率]));
    expect(share).toEqual({ 总进线电表: "99.7%", 轧机: "91.4%", 熔炼炉: "99.7%", 锯切机: "94.2%" });
    expect(Object.keys(rows[0] ?? {})).toEqual(["工厂", "网关", "设备", "在线率"]);
  });

  it("shows nothing of now when the platform has been silent for ten minutes", async () => {
    const later = nowMs + 10 * minuteMs;
    for (const id of [4, 5]) {
      const { panel, data } = await shown("cluster-wall", id, later);
      expect(statTexts(panel, data).map(({ text }) => text)).toEqual(["无数据"]);
    }
    const rows = tableTexts((await shown("cluster-wall", 20, later)).data);
    const row = rows.find((one) => one.工厂 === rolling);
    expect(row).toMatchObject({ 登记设备数: "4", 今日用电量: "11520.00 kWh" });
    expect(row?.在线 ?? "").toBe("");
    expect((await stat("cluster-wall", 3, later)).map(([, text]) => text)).toEqual(["11-22 10:29"]);
  });

  it("raises the alerts that it should, and no others", async () => {
    expect(await firing(ruleOf("jilian-gateway-offline"))).toEqual({ noData: false, labels: [`${casting}|网关 3`] });
    expect(await firing(ruleOf("jilian-completeness-low"))).toEqual({ noData: false, labels: [casting] });
    expect(await firing(ruleOf("jilian-devices-online-share"))).toEqual({ noData: false, labels: [casting] });
  });

  it("raises an alert when the platform is silent", async () => {
    const rule = ruleOf("jilian-devices-online-share");
    expect(await firing(rule, nowMs + 10 * minuteMs)).toEqual({ noData: true, labels: [] });
    expect(rule.noDataState).toBe("Alerting");
    const gateways = await firing(ruleOf("jilian-gateway-offline"), nowMs + 10 * minuteMs);
    expect(gateways.labels).toHaveLength(3);
    expect(ruleOf("jilian-gateway-offline").noDataState).toBe("Alerting");
  });
});

describe.skipIf(!hasInfluxd())("the data source's account (docs/grafana.md)", () => {
  it("reads its one database, and writes nothing", async () => {
    await using server = await startInfluxd({ auth: true });
    const send = (user: string, path: string, body = "") =>
      fetch(server.url + path, {
        method: "POST",
        headers: user === "" ? {} : { authorization: `Basic ${btoa(`${user}:secret`)}` },
        body,
      });
    const say = async (user: string, q: string, db = "jilian") =>
      await (await send(user, `/query?db=${db}&q=${encodeURIComponent(q)}`)).text();
    await say("", `CREATE USER "admin" WITH PASSWORD 'secret' WITH ALL PRIVILEGES`);
    await say("admin", `CREATE DATABASE "jilian"; CREATE DATABASE "other"`);
    await say("admin", `CREATE USER "grafana" WITH PASSWORD 'secret'; GRANT READ ON "jilian" TO "grafana"`);
    const point = "connection online_ms=1i";
    expect((await send("admin", "/write?db=jilian", point)).status).toBe(204);
    expect(await say("grafana", `SELECT * FROM "connection"`)).toContain("online_ms");
    expect((await send("grafana", "/write?db=jilian", point)).status).toBe(403);
    expect((await send("", "/query?db=jilian&q=SHOW+MEASUREMENTS")).status).toBe(401);
    for (const q of [`DROP DATABASE "jilian"`, `DROP MEASUREMENT "connection"`, `CREATE USER "x" WITH PASSWORD 'y'`]) {
      expect(await say("grafana", q), q).toMatch(/"error"/);
    }
    expect(await say("grafana", "SHOW MEASUREMENTS", "other")).toMatch(/"error"/);
  });
});
