import {
  type Comparison,
  type ComparisonCaveat,
  type ComparisonReason,
  compareFigures,
  comparisonCaveats,
  comparisonReasons,
  mixChange,
  noComparison,
  sameMixUpTo,
} from "@jilian/domain/compare.ts";
import { formatScaled } from "@jilian/domain/decimal.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { existsAt } from "@jilian/store/spans.ts";
import { type Static, Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import { figuresOfPeriod, type PeriodOf, productsOfPeriod } from "../compare-periods.ts";
import type { Directory, Offered } from "../directory.ts";
import {
  demoNotice,
  figureOf,
  figureSchema,
  levelSchema,
  noticeSchema,
  nullable,
  periodSchema,
  timeSchema,
} from "../figures.ts";
import { checkEntity, checkIndicator } from "../lookup.ts";
import { idParameter, strict, timeParameter } from "../parameters.ts";
import { readStart } from "../period-start.ts";
import { invalid, type ParameterFault, problem, problemSchema } from "../problems.ts";
import type { FoundResult } from "../read-figures.ts";

const comparisonQuery = Type.Object(
  {
    level: levelSchema,
    entity: idParameter,
    indicator: Type.Optional(
      Type.String({
        ...{ minLength: 1, maxLength: 4000 },
        description: "ids, separated by commas; all that have both periods if absent 指标，逗号分隔",
      }),
    ),
    baselinePeriod: periodSchema,
    baselineStart: timeParameter,
    currentPeriod: Type.Optional(Type.Enum(periodSchema.enum, { description: "as `baselinePeriod` if absent 周期" })),
    currentStart: timeParameter,
  },
  strict,
);
type Asked = Static<typeof comparisonQuery>;

const told = (words: Readonly<Record<string, { en: string; zh: string }>>) =>
  Object.entries(words)
    .map(([id, { en, zh }]) => `${id}: ${en} ${zh}`)
    .join("; ");
const reasonIds = Object.keys(comparisonReasons) as ComparisonReason[];
const caveatIds = Object.keys(comparisonCaveats) as ComparisonCaveat[];
const figureOrNull = Type.Union([figureSchema, Type.Null()]);
const directions = ["better", "worse", "same"] as const;
const pieces = nullable(Type.String({ description: "good pieces; null: nothing is told of the period" }));
const sideSchema = Type.Object({
  period: periodSchema,
  start: timeSchema,
  end: nullable(Type.String({ description: "exclusive; null where nothing is kept of it" })),
});
const comparisonSchema = Type.Object({
  notice: noticeSchema,
  level: levelSchema,
  entity: Type.String(),
  entityName: Type.String(),
  baseline: sideSchema,
  current: sideSchema,
  mix: Type.Object(
    {
      mixChange: nullable(
        Type.Number({ description: "0-1: largest change of a product's share of the output; null: not known" }),
      ),
      mixChanged: Type.Union([
        Type.Boolean({ description: `true: by more than ${sameMixUpTo}; energy or cost of another mix is no saving` }),
        Type.Null(),
      ]),
      products: Type.Array(
        Type.Object({
          product: Type.String({ description: "`factory:id` for pieces that bear no product" }),
          baseline: pieces,
          current: pieces,
        }),
      ),
    },
    { description: "what the output machines made in both periods 产品结构" },
  ),
  comparisons: Type.Array(
    Type.Object({
      indicator: Type.String(),
      better: Type.Union([
        Type.Enum(["more", "less"], { description: "by the nature of the indicator" }),
        Type.Null({ description: "neither: less energy with less output saves nothing" }),
      ]),
      baseline: figureOrNull,
      current: figureOrNull,
      difference: nullable(Type.String({ description: "current less baseline, in the unit" })),
      ratio: nullable(Type.String({ description: "current over baseline, six places" })),
      reason: Type.Union([
        Type.Enum(reasonIds, { description: `why there is no ratio. ${told(comparisonReasons)}` }),
        Type.Null(),
      ]),
      direction: Type.Union([Type.Enum([...directions]), Type.Null()]),
      caveats: Type.Array(Type.Enum(caveatIds), {
        description: `what stands between the difference and the word saving. ${told(comparisonCaveats)}`,
      }),
      comparable: Type.Boolean({
        description: "there is a difference, and no caveat but `provisional` and `registry_differs`",
      }),
    }),
  ),
});

/** Figures that no mix of products touches: of connection and of data. */
const apartFromProduction = /^(devices|data|factories|enterprises)\./;

type Question = { baseline: PeriodOf; current: PeriodOf; indicators: Offered[]; named: boolean };

/** The indicators asked for, each with both periods. @throws what an unknown one is answered with */
function indicatorsOf({ level, indicator }: Asked, sides: PeriodOf[], directory: Directory, faults: ParameterFault[]) {
  const ids = new Set(indicator?.split(",").map((id) => id.trim()));
  for (const id of ids) checkIndicator(directory, level, id);
  const lacking = ({ periods }: Offered) => sides.find(({ period }) => !periods.includes(period));
  const found = [...directory.indicators.values()].filter(({ id, levels }) =>
    indicator === undefined ? levels.includes(level) : ids.has(id),
  );
  if (indicator === undefined) return found.filter((one) => !lacking(one));
  for (const one of found) {
    const side = lacking(one);
    if (!side) continue;
    const expected = `indicators that are made of a ${side.period}`;
    const remedy = `leave it out, or ask for one of ${one.periods.join(", ")}`;
    faults.push({ parameter: "indicator", found: JSON.stringify(one.id), expected, remedy });
  }
  return found;
}

/** The whole question. @throws every fault of its periods at once, then what the registry and the catalogue do not know */
function readQuestion(asked: Asked, directory: Directory): Question {
  const { level, entity, baselinePeriod, currentPeriod = baselinePeriod } = asked;
  const faults: ParameterFault[] = [];
  const sideOf = (name: "baseline" | "current", period: PeriodOf["period"]): PeriodOf => {
    const parameter = `${name}Start`;
    if (!existsAt(level, period)) {
      const expected = `a period that figures of a ${level} have`;
      const remedy = "a shift is of a factory, its lines and devices; a pilot has days and longer";
      faults.push({ parameter: `${name}Period`, found: period, expected, remedy });
    }
    return { level, entity, period, startMs: readStart(parameter, asked[`${name}Start`], period, faults) };
  };
  const baseline = sideOf("baseline", baselinePeriod);
  const current = sideOf("current", currentPeriod);
  if (baseline.period === current.period && baseline.startMs === current.startMs) {
    const expected = "another period than the baseline";
    const remedy = "name the start of the period that is to be judged";
    faults.push({ parameter: "currentStart", found: JSON.stringify(asked.currentStart), expected, remedy });
  }
  if (faults.length > 0) throw invalid(faults);
  checkEntity(directory, level, entity);
  const indicators = indicatorsOf(asked, [baseline, current], directory, faults);
  if (faults.length > 0) throw invalid(faults);
  return { baseline, current, indicators, named: asked.indicator !== undefined };
}

/** A side with what was found of it. */
type Side = PeriodOf & { endMs: number | undefined; figures: Map<string, FoundResult>; products: Map<string, bigint> };

/** Compares what both sides have of an indicator. */
function compareSides(of: Offered, baseline: Side, current: Side, change: number | null): Comparison {
  const [before, after] = [baseline.figures.get(of.id), current.figures.get(of.id)];
  if (!before) return noComparison("baseline_absent");
  if (!after) return noComparison("current_absent");
  const own = apartFromProduction.test(of.id) ? null : change;
  return compareFigures(before, after, { better: of.better, mixChange: own });
}

function mixOf(baseline: Side, current: Side): { change: number | null; products: Static<typeof productsSchema> } {
  const names = [...new Set([...baseline.products.keys(), ...current.products.keys()])].sort();
  const made = ({ products }: Side, product: string) =>
    products.size === 0 ? null : formatScaled(products.get(product) ?? 0n, 6);
  return {
    change: mixChange(baseline.products, current.products),
    products: names.map((product) => ({
      product,
      baseline: made(baseline, product),
      current: made(current, product),
    })),
  };
}
const productsSchema = comparisonSchema.properties.mix.properties.products;

const viewSide = ({ period, startMs, endMs }: Side) => ({
  period,
  start: isoTime(startMs),
  end: endMs === undefined ? null : isoTime(endMs),
});

function noFigures({ level, entity }: PeriodOf): never {
  throw problem({
    code: "FIGURE_UNKNOWN",
    status: 404,
    detail: `nothing is kept of either period of ${level} "${entity}"`,
    remedy: `look for periods at /open/v1/metrics?level=${level}&entity=${entity}`,
  });
}

/** Baseline against current (降本增效): two periods of one entity beside each other. */
export function addComparison(app: App, deps: ApiDeps, directory: Directory): void {
  const { registry, clock } = deps;
  const versions = followVersions(deps.ledger);
  const schema = {
    operationId: "compareFigures",
    tags: ["figures"],
    summary: "降本增效对比 · Two periods of one entity: baseline against current",
    description:
      "Both figures whole, with difference, ratio and what they are by the nature of the indicator; beside them what was made by product, since energy or cost of another mix is no saving. Each period can be any that the engine has. `caveats` tell what spoils a comparison or leaves it open.\n\n任意两个周期的同一对象对比：两期数据、差值、比值、优劣方向及各产品产量；产品结构变化超过 5% 时不作为节约。",
    querystring: comparisonQuery,
    response: { 200: comparisonSchema, "4xx": problemSchema },
  };
  const config = {
    problems: ["PARAMETER_INVALID", "INDICATOR_UNKNOWN", "ENTITY_UNKNOWN", "FIGURE_UNKNOWN"] as const,
  };
  app.get("/metrics/comparison", { schema, config }, async ({ query }) => {
    const nowMs = clock.now();
    const asked = readQuestion(query, directory);
    const sources = { ...deps, versions: versions() };
    const find = async (of: PeriodOf): Promise<Side> => {
      const figures = await figuresOfPeriod(of, nowMs, sources, directory);
      const endMs = figures.values().next().value?.endMs;
      const products = endMs === undefined ? new Map() : await productsOfPeriod(of, { ...of, endMs }, nowMs, sources);
      return { ...of, endMs, figures, products };
    };
    const [baseline, current] = await Promise.all([find(asked.baseline), find(asked.current)]);
    if (baseline.figures.size + current.figures.size === 0) noFigures(asked.baseline);
    const mix = mixOf(baseline, current);
    const known = ({ id }: Offered) => asked.named || baseline.figures.has(id) || current.figures.has(id);
    const view = (figure: FoundResult | undefined) => (figure ? figureOf(figure, directory) : null);
    return {
      notice: registry.demo ? demoNotice : null,
      ...{ level: query.level, entity: query.entity },
      entityName: directory.entities[query.level].get(query.entity) ?? query.entity,
      ...{ baseline: viewSide(baseline), current: viewSide(current) },
      mix: {
        mixChange: mix.change,
        mixChanged: mix.change === null ? null : mix.change > sameMixUpTo,
        products: mix.products,
      },
      comparisons: asked.indicators.filter(known).map((of) => {
        const { caveats, ...compared } = compareSides(of, baseline, current, mix.change);
        return {
          ...{ indicator: of.id, better: of.better ?? null },
          ...{ baseline: view(baseline.figures.get(of.id)), current: view(current.figures.get(of.id)) },
          ...compared,
          caveats: [...caveats],
        };
      }),
    };
  });
}
