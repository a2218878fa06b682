import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { alertRules } from "./alerts.ts";
import { makeDashboard } from "./dashboards.ts";
import { escapeName, expandQuery } from "./expand.ts";
import { type InfluxTarget, kpiQuery } from "./influxql.ts";
import { dashboardNames, dataSource } from "./names.ts";
import { provisioningFiles } from "./provisioning.ts";
import { panelQueries } from "./queries.ts";
import { grafana } from "./test-grafana.ts";
import { languages } from "./texts.ts";
import { formatOf } from "./units.ts";

const { escapeRegex, formattedValueToString, getValueFormat, getValueFormats, rangeUtil } = grafana;
const root = join(import.meta.dirname, "provisioning");
const boards = dashboardNames.flatMap((name) => languages.map((language) => makeDashboard(name, language)));
const panels = boards.flatMap((board) => (board.panels ?? []) as Panel[]);

describe("the committed files", () => {
  it("are what the code generates (node dashboards/generate.ts)", () => {
    const committed = readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const found = Object.fromEntries(
      committed.map((file) => [file.slice(root.length + 1), readFileSync(file, "utf8")]),
    );
    expect(found).toEqual(Object.fromEntries(provisioningFiles()));
  });

  it("are read back as they were meant", () => {
    const alerting = parse(readFileSync(join(root, "alerting/jilian.yaml"), "utf8"));
    expect(alerting.groups[0].rules).toEqual(alertRules());
    for (const kind of ["datasources", "datasources-token"]) {
      const { datasources } = parse(readFileSync(join(root, kind, "jilian.yaml"), "utf8"));
      expect(datasources).toHaveLength(1);
      expect(datasources[0]).toMatchObject({ ...dataSource, access: "proxy", editable: false });
    }
  });

  it("hold no secret and name no outside address", () => {
    for (const [path, content] of provisioningFiles()) {
      expect(content, path).not.toMatch(/https?:|\/\/[a-z]/i);
      // Only the data source reads the environment; a dashboard's ${...} would stay as it is.
      if (path.startsWith("datasources")) {
        const { secureJsonData } = parse(content).datasources[0];
        for (const value of Object.values(secureJsonData)) expect(value).toMatch(/^(Token )?\$GRAFANA_\w+$/);
      }
    }
  });
});

describe("the dashboards", () => {
  it("have uids that Grafana takes, each once", () => {
    const uids = [...boards.map(({ uid }) => uid ?? ""), ...alertRules().map(({ uid }) => uid), dataSource.uid];
    expect(new Set(uids).size).toBe(uids.length);
    for (const uid of uids) expect(uid).toMatch(/^[a-zA-Z0-9_-]{1,40}$/);
  });

  it("have panels with an id each, inside the grid and beside each other", () => {
    for (const { uid, panels: list = [] } of boards) {
      expect(new Set(list.map(({ id }) => id)).size, uid).toBe(list.length);
      const cells = list.flatMap(({ gridPos }) => {
        const { x, y, w, h } = gridPos as { x: number; y: number; w: number; h: number };
        expect(x + w).toBeLessThanOrEqual(24);
        return Array.from({ length: w * h }, (_, n) => `${x + (n % w)},${y + Math.floor(n / w)}`);
      });
      expect(new Set(cells).size, uid).toBe(cells.length);
    }
  });

  it("show on the wall neither variables nor links, within 27 rows", () => {
    for (const language of languages) {
      const wall = makeDashboard("cluster-wall", language);
      expect(wall.templating.list ?? []).toEqual([]);
      expect(wall.links ?? []).toEqual([]);
      const bottom = Math.max(...(wall.panels ?? []).map(({ gridPos }) => (gridPos?.y ?? 0) + (gridPos?.h ?? 0)));
      expect(bottom).toBeLessThanOrEqual(27);
    }
  });

  it("never draw absent data as zero, nor bridge it", () => {
    for (const panel of panels) {
      const custom = panel.fieldConfig?.defaults.custom ?? {};
      if (panel.type === "timeseries" || panel.type === "state-timeline") expect(custom.spanNulls).toBe(false);
      if (panel.type !== "text") expect(panel.fieldConfig?.defaults.noValue).toMatch(/无数据|No data/);
    }
    for (const { query } of panelQueries()) expect(query).not.toMatch(/fill\((?!null\))/);
  });

  it("read values only where they are known, and say when they are simulated", () => {
    for (const { query, panel } of panelQueries()) {
      if (/"value"/.test(query)) expect(query, panel).toContain(`"known" = true`);
    }
    for (const board of boards) {
      expect(JSON.stringify(board), board.uid).toMatch(/"text":"(模拟数据|Simulated data)"/);
    }
  });

  it("ask for ranges that Grafana understands", () => {
    for (const panel of panels) {
      if (panel.timeFrom) expect(rangeUtil.describeTextRange(panel.timeFrom).invalid ?? false).toBe(false);
    }
  });

  it("ask every language the same", () => {
    for (const name of dashboardNames) {
      const queries = languages.map((language) =>
        (makeDashboard(name, language).panels ?? []).flatMap((panel) =>
          ("targets" in panel ? (panel.targets ?? []) : []).map((t) => (t as unknown as InfluxTarget).query),
        ),
      );
      expect(queries[1]).toEqual(queries[0]);
    }
  });
});

describe("units", () => {
  const known = new Set(getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)));
  /** A unit that Grafana has, or one that is meant to be a suffix or a date. */
  const isUnit = (unit: string) => known.has(unit) || /^(suffix:[^\s]|time:[YMDHms :-]+$)/.test(unit);

  it("are Grafana's, everywhere", () => {
    const units = panels.flatMap(({ fieldConfig }) => [
      fieldConfig?.defaults.unit,
      ...(fieldConfig?.overrides ?? []).flatMap(({ properties }) =>
        properties.filter(({ id }) => id === "unit").map(({ value }) => value as string),
      ),
    ]);
    const used = [...new Set(units.filter((unit) => unit !== undefined))];
    expect(used.length).toBeGreaterThan(5);
    expect(used.filter((unit) => !isUnit(unit))).toEqual([]);
  });

  it("would be caught when misspelt: Grafana makes any of them a suffix", () => {
    for (const typo of ["kwat", "percentunits", "suffix: kgce", "localle"]) expect(isUnit(typo), typo).toBe(false);
    expect(formattedValueToString(getValueFormat("kwat")(3, 0))).toBe("3 kwat");
  });

  it.each([
    ["devices.online", 12_345, "12,345"],
    ["energy.electricity", 1234.567, "1234.57 kWh"],
    ["energy.comprehensive", 151.728, "151.73 kgce"],
    ["energy.unit_product", 0.25, "0.25 kgce/pcs"],
    ["carbon.electricity", 655.06, "655.06 kgCO2"],
    ["oee", 0.8312, "83.1%"],
  ])("print %s", (id, value, text) => {
    const { unit, decimals } = formatOf(id);
    expect(formattedValueToString(getValueFormat(unit)(value, decimals))).toBe(text);
  });
});

describe("queries", () => {
  const range = { fromMs: 1_000, toMs: 61_000, intervalMs: 60_000 };

  it("are expanded as Grafana does", () => {
    const names = ["铜/板(一)厂", "a|b"];
    const query = `SELECT x FROM y WHERE "f" =~ /^\${factory:regex}$/ AND $timeFilter GROUP BY time($__interval) -- $__interval_ms`;
    expect(expandQuery(query, { ...range, vars: { factory: names } })).toBe(
      `SELECT x FROM y WHERE "f" =~ /^(铜\\/板\\(一\\)厂|a\\|b)$/ AND time >= 1000ms and time <= 61000ms GROUP BY time(1m) -- 60000`,
    );
    const all = expandQuery(query, { ...range, vars: { factory: { pattern: ".*" } } });
    expect(all).toContain(`=~ /^.*$/ AND`);
    for (const name of [...names, "a.b[2]{3}^$*+?\\"]) expect(escapeName(name)).toBe(escapeRegex(name));
  });

  it("fail when a macro or a variable is not one", () => {
    for (const text of ["$timefilter", `\${factory:regex}`, "$__from"]) {
      expect(() => expandQuery(`SELECT ${text} FROM x`, range), text).toThrow("not replaced");
    }
  });

  it("cannot ask for what is not computed", () => {
    const base = { select: `"value"`, level: "cluster", period: "day" } as const;
    expect(() => kpiQuery({ ...base, indicator: "energy.electrcity" })).toThrow("no indicator");
    expect(() => kpiQuery({ ...base, indicator: "oee", period: "minute" })).toThrow("not computed");
    expect(() => kpiQuery({ ...base, indicator: "factories.connected", level: "factory" })).toThrow("not computed");
  });

  it("of alert rules have no dashboard variables, and name panels that exist", () => {
    for (const rule of alertRules()) {
      expect(JSON.stringify(rule.data)).not.toContain("${");
      const board = boards.find(({ uid }) => uid === rule.dashboardUid);
      expect((board?.panels ?? []).some(({ id }) => id === rule.panelId)).toBe(true);
      expect(rule.data.map(({ refId }) => refId)).toContain(rule.condition);
    }
  });
});
