import { describe, expect, it } from "vitest";
import { alertRules } from "./alerts.ts";
import { makeDashboard } from "./dashboards.ts";
import { dashboardNames } from "./names.ts";
import { makeChecks } from "./test-schema.ts";
import { languages } from "./texts.ts";

const check = makeChecks();

// Walks into the JSON of a dashboard, which has no types on purpose: mistakes are put in there.
type Json = { [key: string]: Json } & Json[];
const copy = (model: unknown) => JSON.parse(JSON.stringify(model)) as Json;
const wall = () => copy(makeDashboard("cluster-wall", "zh"));
const panelOf = (board: Json, type: string) => {
  const found = (board.panels as Json).find((panel) => (panel.type as unknown) === type);
  if (!found) throw new Error(`no ${type}`);
  return found;
};
const drop = (from: Json | undefined, key: string) => Reflect.deleteProperty(from as object, key);
const set = (at: Json | undefined, key: string, value: unknown) => Object.assign(at as object, { [key]: value });

describe("schemas from the Foundation SDK's types", () => {
  it.each(dashboardNames.flatMap((name) => languages.map((language) => ({ name, language }))))(
    "accept $name in $language",
    ({ name, language }) => {
      expect(check.dashboard(makeDashboard(name, language))).toEqual([]);
    },
  );

  it("accept the alert rules", () => {
    for (const rule of alertRules()) expect(check.rule(rule), rule.uid).toEqual([]);
  });

  const mistakes: [string, (board: Json) => void][] = [
    ["an option's misspelt name", (b) => set(panelOf(b, "stat").options, "colourMode", "value")],
    ["an option's unknown value", (b) => set(panelOf(b, "stat").options, "graphMode", "sparkline")],
    ["a misspelt draw style", (b) => set(panelOf(b, "timeseries").fieldConfig?.defaults?.custom, "drawStyle", "bar")],
    [
      "a custom setting of another panel type",
      (b) => set(panelOf(b, "stat").fieldConfig?.defaults, "custom", { lineWidth: 1 }),
    ],
    [
      "text for a truth value",
      (b) => set(panelOf(b, "timeseries").fieldConfig?.defaults?.custom, "spanNulls", "false"),
    ],
    ["one reducer instead of a list", (b) => set(panelOf(b, "stat").options?.reduceOptions, "calcs", "lastNotNull")],
    ["an unknown panel type", (b) => set(panelOf(b, "stat"), "type", "singlestat")],
    ["a panel without id", (b) => drop(panelOf(b, "stat"), "id")],
    ["a place without height", (b) => drop(panelOf(b, "stat").gridPos, "h")],
    ["a query without text", (b) => drop(panelOf(b, "stat").targets?.[0], "query")],
    ["an unknown result format", (b) => set(panelOf(b, "table").targets?.[0], "resultFormat", "tables")],
    [
      "a threshold without value",
      (b) => set(panelOf(b, "stat").fieldConfig?.defaults?.thresholds, "steps", [{ color: "red" }]),
    ],
    ["an unknown threshold mode", (b) => set(panelOf(b, "stat").fieldConfig?.defaults?.thresholds, "mode", "percent")],
    ["a misspelt transformation", (b) => set(panelOf(b, "table").transformations?.[0], "id", "filterFieldsByNames")],
    ["an unknown join", (b) => set(panelOf(b, "table").transformations?.[1]?.options, "mode", "left")],
    [
      "an override of nothing",
      (b) => set(panelOf(b, "table").fieldConfig?.overrides?.[0], "matcher", { id: "byname", options: "x" }),
    ],
    ["another schema version", (b) => set(b, "schemaVersion", 41)],
    ["an unknown property of the dashboard", (b) => set(b, "autoRefresh", "30s")],
  ];

  it.each(mistakes)("catch %s", (_name, make) => {
    const board = wall();
    make(board);
    expect(check.dashboard(board)).not.toEqual([]);
  });

  const ruleMistakes: [string, (rule: Json) => void][] = [
    ["a state as the API of old spelt it", (r) => set(r, "noDataState", "no_data")],
    ["the API's name of the folder", (r) => set(r, "folderUID", "jilian")],
    ["an unknown reducer", (r) => set(r.data?.[1]?.model, "reducer", "lastNotNull")],
    ["an unknown comparison", (r) => set(r.data?.[2]?.model?.conditions?.[0]?.evaluator, "type", "below")],
    ["a query without a data source", (r) => drop(r.data?.[0], "datasourceUid")],
  ];

  it.each(ruleMistakes)("catch %s in a rule", (_name, make) => {
    const rule = copy(alertRules()[0]);
    make(rule);
    expect(check.rule(rule)).not.toEqual([]);
  });
});
