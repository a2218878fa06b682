import type { TSchema } from "typebox";
import { taggedUnion } from "./tagged-union.ts";

/**
 * Fills in defaults and checks in one walk, for the keywords that configurations use: what the schema library does in a hundred times the
 * time, because it tries every branch of every union on a copy. Says "fits" or nothing: why a value does not fit, and whatever a schema
 * holds beside these keywords, is the library's matter.
 */
export const unfit = Symbol("unfit");

type Schema = Record<string, unknown>;
/** Gives the value with its defaults, filled in where it stands; or {@link unfit}, and the value then half filled. */
type Fit = (value: unknown) => unknown;

const known = new Set([
  ...["type", "description", "default", "const", "anyOf", "properties", "required", "additionalProperties"],
  ...["patternProperties", "items", "minItems", "maxItems", "minLength", "maxLength", "pattern"],
  ...["minimum", "maximum", "exclusiveMinimum"],
]);
const never: Fit = () => unfit;
/** What may be a part of a longer character: the library counts whole ones. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII but for the carriage return
const maybePart = /[^\0-\x0c\x0e-\x7f]/;

function isSection(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function copyOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.keys(value).length === 0 && !Array.isArray(value) ? {} : structuredClone(value);
}

function fitNumber({ type, minimum, maximum, exclusiveMinimum }: Schema): Fit {
  const least = (minimum as number | undefined) ?? Number.NEGATIVE_INFINITY;
  const most = (maximum as number | undefined) ?? Number.POSITIVE_INFINITY;
  const above = (exclusiveMinimum as number | undefined) ?? Number.NEGATIVE_INFINITY;
  const isOne = type === "integer" ? Number.isInteger : Number.isFinite;
  return (value) =>
    isOne(value) && (value as number) >= least && (value as number) <= most && (value as number) > above
      ? value
      : unfit;
}

function fitText({ minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern }: Schema): Fit {
  const [least, most] = [minLength as number, maxLength as number];
  const matching = pattern === undefined ? undefined : new RegExp(pattern as string, "u");
  return (value) => {
    if (typeof value !== "string" || value.length < least || value.length > most) return unfit;
    if (least > 1 && maybePart.test(value)) return unfit;
    return matching === undefined || matching.test(value) ? value : unfit;
  };
}

function fitList({ items, minItems = 0, maxItems = Number.POSITIVE_INFINITY }: Schema): Fit {
  if (!isSection(items)) return never;
  const fit = fitOf(items);
  return (value) => {
    if (!Array.isArray(value) || value.length < (minItems as number) || value.length > (maxItems as number))
      return unfit;
    for (let i = 0; i < value.length; i += 1) {
      const entry = fit(value[i]);
      if (entry === unfit) return unfit;
      value[i] = entry;
    }
    return value;
  };
}

function fitRecord({ patternProperties, ...rest }: Schema): Fit {
  const [entry, ...more] = Object.entries(patternProperties as Record<string, Schema>);
  const others = Object.keys(rest).filter((key) => !["type", "description", "default"].includes(key));
  if (entry === undefined || more.length > 0 || others.length > 0 || "default" in entry[1]) return never;
  const [pattern, fit] = [new RegExp(entry[0], "u"), fitOf(entry[1], false)];
  return (value) => {
    if (!isSection(value)) return unfit;
    for (const [key, inner] of Object.entries(value)) if (!pattern.test(key) || fit(inner) === unfit) return unfit;
    return value;
  };
}

function fitSection(schema: Schema, fills: boolean): Fit {
  const required = new Set((schema.required as string[] | undefined) ?? []);
  const isStrict = schema.additionalProperties === false;
  if (!isStrict && schema.additionalProperties !== undefined) return never;
  const properties = Object.entries(schema.properties as Record<string, Schema>).map(([key, property]) => {
    return {
      key,
      fit: fitOf(property, fills),
      given: fills ? property.default : undefined,
      isRequired: required.has(key),
    };
  });
  const keys = new Set(properties.map(({ key }) => key));
  return (value) => {
    if (!isSection(value)) return unfit;
    if (isStrict) for (const key in value) if (!keys.has(key)) return unfit;
    for (const { key, fit, given, isRequired } of properties) {
      const inner = value[key] === undefined ? copyOf(given) : value[key];
      if (inner === undefined) {
        if (isRequired || key in value) return unfit;
        continue;
      }
      const fitted = fit(inner);
      if (fitted === unfit) return unfit;
      value[key] = fitted;
    }
    return value;
  };
}

/** One of several constants, one of several sections that a constant tells apart, or the first branch that fits a copy. */
function fitUnion(schema: Schema, fills: boolean): Fit {
  const branches = schema.anyOf as Schema[];
  if (branches.some((branch) => "default" in branch)) return never;
  if (branches.every((branch) => "const" in branch)) {
    const words = new Set(branches.map((branch) => branch.const));
    return (value) => (words.has(value) ? value : unfit);
  }
  const fits = branches.map((branch) => fitOf(branch, fills));
  const tagged = taggedUnion(schema);
  if (tagged !== undefined) {
    const { key, tags } = tagged;
    return (value) => (isSection(value) ? (fits[tags.indexOf(value[key])] ?? never)(value) : unfit);
  }
  return (value) => {
    for (const fit of fits) {
      const fitted = fit(copyOf(value));
      if (fitted !== unfit) return fitted;
    }
    return unfit;
  };
}

/** @param fills whether the library fills in defaults at this place: below the values of a record it does not */
function fitOf(schema: Schema, fills = true): Fit {
  if (Object.keys(schema).some((key) => !known.has(key) && !key.startsWith("~"))) return never;
  if ("const" in schema) return (value) => (value === schema.const ? value : unfit);
  if (Array.isArray(schema.anyOf)) return fitUnion(schema, fills);
  if (schema.type === "integer" || schema.type === "number") return fitNumber(schema);
  if (schema.type === "string") return fitText(schema);
  if (schema.type === "boolean") return (value) => (typeof value === "boolean" ? value : unfit);
  if (schema.type === "array") return fitList(schema);
  if (schema.type !== "object") return never;
  if (isSection(schema.patternProperties)) return fitRecord(schema);
  return isSection(schema.properties) ? fitSection(schema, fills) : never;
}

const made = new WeakMap<TSchema, Fit>();

/**
 * The value with every default of the schema, where it fits.
 * @param value is filled in where it stands, also where it does not fit
 * @returns the value, or {@link unfit}: then the library is to be asked
 */
export function quickFit(schema: TSchema, value: unknown): unknown {
  const fit = made.get(schema) ?? fitOf(schema as Schema);
  made.set(schema, fit);
  return fit(value);
}
