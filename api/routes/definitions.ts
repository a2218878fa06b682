import { formatScaled } from "@jilian/domain/decimal.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import {
  factorPlaces,
  factorTable,
  gridFactorName,
  gridFactors,
  gridRegions,
} from "@jilian/domain/indicators/factors.ts";
import { definitionsInForce, versionsOf } from "@jilian/domain/indicators/in-force.ts";
import { isoTime, timeZone, watermarkMs } from "@jilian/domain/periods.ts";
import { nullReasons } from "@jilian/domain/result.ts";
import { roleNames, roles } from "@jilian/domain/roles.ts";
import { type Static, Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import type { Directory, Offered } from "../directory.ts";
import { levelSchema, nullable, periodSchema } from "../figures.ts";
import { strict } from "../parameters.ts";
import { problem, problemSchema } from "../problems.ts";

const worded = { zh: Type.String(), en: Type.String() };
const reasonSchema = Type.Object({ id: Type.String(), ...worded });
const exampleSchema = Type.Object(
  { ...worded, value: Type.Union([Type.String(), Type.Null()]) },
  { description: "a case worked by hand; the tests of this release compute it 算例" },
);
/** What a version says. */
const wordsSchema = {
  formula: Type.String({ description: "in words, with what makes it null" }),
  formulaZh: Type.String({ description: "the same in Chinese 公式（中文）" }),
  source: Type.String({ description: "standard or notice and clause" }),
  reasons: Type.Array(reasonSchema, { description: "why its value can be null" }),
  example: Type.Optional(exampleSchema),
};
const definitionVersionSchema = Type.Object({
  version: Type.Integer(),
  inForce: Type.Boolean({ description: "true: figures of periods that run use it" }),
  spans: Type.Array(
    Type.Object({
      from: nullable(Type.String({ description: "null: since ever" })),
      until: nullable(Type.String({ description: "exclusive; null: no end is known" })),
    }),
    { description: "when it is in force at this installation; a figure uses the version in force at its period's end" },
  ),
  ...wordsSchema,
});
const definitionSchema = Type.Object({
  id: Type.String(),
  ...worded,
  version: Type.Integer({ description: "a change of meaning is a new one; figures name it as `definitionVersion`" }),
  unit: Type.String({ description: "1 for counts and ratios" }),
  levels: Type.Array(levelSchema),
  periods: Type.Array(periodSchema),
  ...wordsSchema,
  better: Type.Optional(Type.Enum(["more", "less"], { description: "absent where more is neither better nor worse" })),
  versions: Type.Array(definitionVersionSchema, { description: "every version that this release keeps, newest first" }),
});
const factorSchema = Type.Object({
  name: Type.String({ description: "as figures name it in `factorTable`" }),
  what: Type.String(),
  unit: Type.String(),
  value: Type.String({ description: "exact decimal" }),
  inForce: Type.Boolean({ description: "true: figures made now use it" }),
});
const definitionsSchema = Type.Object({
  timeZone: Type.String(),
  watermarkMs: Type.Integer({ description: "a figure becomes final this long after its period's end" }),
  registryVersion: Type.String({ description: "the registry that figures made now are of" }),
  definitions: Type.Array(definitionSchema),
  factors: Type.Array(factorSchema),
  roles: Type.Array(
    Type.Object({ id: Type.String(), ...worded, kind: Type.Enum(["counter", "gauge", "state"]), unit: Type.String() }),
    { description: "what a metric means; figures are made from roles, never from names" },
  ),
});

type Words = Pick<Offered, "formula" | "formulaZh" | "source" | "reasons" | "example">;

function wordsOf({ formula, formulaZh, source, reasons, example }: Words) {
  const told = reasons.map((reason) => ({ id: reason, ...nullReasons[reason] }));
  const shown = example && { example: { zh: example.zh, en: example.en, value: example.value } };
  return { formula, formulaZh, source, reasons: told, ...shown };
}

/** The versions of a definition, as the installation has noted them. */
function versionsOfDefinition(of: Offered, deps: ApiDeps): Static<typeof definitionVersionSchema>[] {
  const { catalogue = indicators, ledger, clock } = deps;
  const indicator = catalogue.find(({ id }) => id === of.id);
  const ever = { from: null, until: null };
  // Counters of devices have one.
  if (!indicator) return [{ version: of.definitionVersion, inForce: true, spans: [ever], ...wordsOf(of) }];
  const spans = definitionsInForce([indicator], ledger.definitionVersions()).spansOf(of.id) ?? [];
  const now = spans.findLast(({ fromMs }) => fromMs <= clock.now());
  return versionsOf(indicator).map((one) => ({
    version: one.version,
    inForce: one.version === now?.version,
    spans: spans
      .filter(({ version }) => version === one.version)
      .map(({ fromMs, untilMs }) => ({
        from: fromMs === 0 ? null : isoTime(fromMs),
        until: untilMs === undefined ? null : isoTime(untilMs),
      })),
    // No figure is there before its period has begun.
    ...wordsOf({ ...one, reasons: ["not_due", "not_registered", ...one.reasons] }),
  }));
}

function definitionOf(offered: Offered, deps: ApiDeps): Static<typeof definitionSchema> {
  const { id, zh, en, definitionVersion: version, unit, levels, periods, better } = offered;
  const listed = { levels: [...levels], periods: [...periods] };
  const words = { ...wordsOf(offered), ...(better && { better }) };
  return { id, zh, en, version, unit, ...listed, ...words, versions: versionsOfDefinition(offered, deps) };
}

const coalCarriers = [
  { carrier: "electricity", what: "electricity to standard coal 电力折标准煤", unit: "kgce/kWh" },
  { carrier: "heat", what: "heat to standard coal 热力折标准煤", unit: "kgce/MJ" },
  { carrier: "water", what: "fresh water to standard coal 新水折标准煤", unit: "kgce/m3" },
  { carrier: "compressed_air", what: "compressed air to standard coal 压缩空气折标准煤", unit: "kgce/m3" },
] as const;

/** The factors of this release: standard coal, and the grids' carbon, of which the registry names one. */
function factors(region: ApiDeps["registry"]["gridRegion"]): Static<typeof factorSchema>[] {
  const coal = coalCarriers.map(({ carrier, what, unit }) => ({
    name: factorTable.name,
    what: `${what}, equivalent value 当量值`,
    unit,
    value: formatScaled(factorTable.per100000[carrier], factorPlaces),
    inForce: true,
  }));
  const carbon = gridRegions.map((name) => ({
    name: gridFactorName(name),
    what: `average carbon dioxide factor of electricity, ${name}, ${gridFactors.year} 电力二氧化碳排放因子`,
    unit: "kgCO2/kWh",
    value: formatScaled(gridFactors.per10000[name], 4),
    inForce: name === region,
  }));
  return [...coal, ...carbon];
}

/** What one needs to compute a figure again: definitions, factors, roles, reasons. */
export function addDefinitionRoutes(app: App, deps: ApiDeps, directory: Directory): void {
  const { registry } = deps;
  const schema = {
    operationId: "listDefinitions",
    tags: ["definitions"],
    summary: "指标定义与系数 · Definitions, factors and roles: what a figure is made of",
    description:
      "Every indicator with its versions and since when they are in force, formula, source, unit, levels, periods and the reasons for which it can be null; the factors in force; the roles of metrics. With the readings that `/readings` gives, a figure can be computed again.\n\n每个指标的各版本及生效时间、公式、出处、单位与空值原因，以及所用系数；配合原始读数可复算任一数据。",
    querystring: Type.Object({}, strict),
    response: { 200: definitionsSchema, "4xx": problemSchema },
  };
  app.get("/definitions", { schema, config: { problems: ["PARAMETER_INVALID"] } }, async () => ({
    timeZone,
    watermarkMs,
    registryVersion: registry.version,
    definitions: [...directory.indicators.values()].map((of) => definitionOf(of, deps)),
    factors: factors(registry.gridRegion),
    roles: roleNames.map((id) => ({ id, ...roles[id] })),
  }));

  const one = {
    operationId: "getDefinition",
    tags: ["definitions"],
    summary: "单个指标定义 · The definition of one indicator",
    params: Type.Object({ id: Type.String({ maxLength: 200, description: "id of the indicator 指标标识" }) }),
    querystring: Type.Object({}, strict),
    response: { 200: definitionSchema, "4xx": problemSchema },
  };
  const config = { problems: ["PARAMETER_INVALID", "DEFINITION_UNKNOWN"] as const };
  app.get("/definitions/:id", { schema: one, config }, async ({ params: { id } }) => {
    const found = directory.indicators.get(id);
    if (found) return definitionOf(found, deps);
    throw problem({
      code: "DEFINITION_UNKNOWN",
      status: 404,
      detail: `no indicator has the id "${id}"`,
      remedy: "use one of those known; /open/v1/definitions lists them",
      known: [...directory.indicators.keys()],
    });
  });
}
