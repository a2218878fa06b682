import type { TSchema } from "typebox";
import { Value } from "typebox/value";
import { segmentsOf } from "./config-env.ts";

/**
 * Unions of sections that one key tells apart (`driver: opcua`): such a section is judged, and filled with defaults, as what it says it
 * is. The schema library tries every branch: it would fill a section with a single fault from none, and report the faults of all.
 */
export type SchemaError = ReturnType<typeof Value.Errors>[number];
type Schema = Record<string, unknown>;
type Union = { readonly key: string; readonly tags: readonly unknown[]; readonly branches: readonly Schema[] };

function isRecord(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function propertiesOf(schema: Schema): Record<string, Schema> {
  return isRecord(schema.properties) ? (schema.properties as Record<string, Schema>) : {};
}

/** The union as a tagged one: the key that is a constant in each branch, and a different one. */
export function taggedUnion(schema: Schema): Union | undefined {
  if (!Array.isArray(schema.anyOf)) return undefined;
  const branches = schema.anyOf as Schema[];
  for (const key of Object.keys(propertiesOf(branches[0] ?? {}))) {
    const tags = branches.map((branch) => propertiesOf(branch)[key]?.const);
    if (tags.every((tag) => tag !== undefined) && new Set(tags).size === tags.length) return { key, tags, branches };
  }
  return undefined;
}

/** Position of the branch that a value says it is; -1 when it says none of them. */
function branchOf({ key, tags }: Union, value: unknown): number {
  return isRecord(value) ? tags.indexOf(value[key]) : -1;
}

/** Fills in the schema's defaults, in tagged unions those of the branch that a value says it is, faults or not. */
export function fillDefaults(schema: TSchema, value: unknown): unknown {
  return fillBranches(schema as Schema, Value.Default(schema, value));
}

function fillBranches(schema: Schema, value: unknown): unknown {
  const union = taggedUnion(schema);
  if (union !== undefined) {
    const branch = union.branches[branchOf(union, value)];
    return branch === undefined ? value : fillBranches(branch, Value.Default(branch as TSchema, value));
  }
  if (Array.isArray(value) && isRecord(schema.items)) {
    const items = schema.items;
    return value.map((entry) => fillBranches(items, entry));
  }
  if (!isRecord(value)) return value;
  for (const [key, property] of Object.entries(propertiesOf(schema))) {
    if (value[key] !== undefined) value[key] = fillBranches(property, value[key]);
  }
  return value;
}

function partAt(root: unknown, pointer: string): unknown {
  let at = root;
  for (const segment of segmentsOf(pointer)) at = (at as Schema | undefined | null)?.[segment];
  return at;
}

/** True for what a branch of a union (any, or one) said of the value that the union was asked about. */
function isOf(union: SchemaError, branch: number | undefined, error: SchemaError): boolean {
  const { instancePath } = union;
  if (error.instancePath !== instancePath && !error.instancePath.startsWith(`${instancePath}/`)) return false;
  const path = `${union.schemaPath}/anyOf/${branch ?? ""}`;
  return branch === undefined
    ? error.schemaPath.startsWith(path)
    : error.schemaPath === path || error.schemaPath.startsWith(`${path}/`);
}

/** A section that does not say what it is, or says what does not exist. */
export type Untagged = { readonly path: string; readonly tags: readonly unknown[]; readonly present: boolean };

type Found = { errors: SchemaError[]; untagged: Untagged[] };
/** Where a part is: in the schema (`#/properties/a`), in the value (`/a`). */
type Place = { readonly schemaPath: string; readonly instancePath: string };
type Part = { readonly schema: Schema; readonly value: unknown; readonly place: Place };

const openedOf = new WeakMap<Schema, Schema>();

/** A schema in which a tagged union takes everything; itself where it has none, but within unions of other kinds. */
function opened(schema: Schema): Schema {
  const known = openedOf.get(schema);
  if (known !== undefined) return known;
  const made = openUnions(schema);
  openedOf.set(schema, made);
  return made;
}

function openUnions(schema: Schema): Schema {
  if (taggedUnion(schema) !== undefined) return {};
  const items = isRecord(schema.items) ? opened(schema.items) : schema.items;
  const before = Object.entries(propertiesOf(schema));
  const properties = before.map(([key, property]) => [key, opened(property)] as const);
  if (items === schema.items && properties.every(([, property], i) => property === before[i]?.[1])) return schema;
  return { ...schema, ...(items !== undefined && { items }), properties: Object.fromEntries(properties) };
}

const escaped = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1");

/** The values in a value that a tagged union stands for, each with its union. */
function* unionsIn({ schema, value, place: { schemaPath, instancePath } }: Part): Generator<Part> {
  if (opened(schema) === schema) return;
  if (taggedUnion(schema) !== undefined) {
    yield { schema, value, place: { schemaPath, instancePath } };
    return;
  }
  if (Array.isArray(value) && isRecord(schema.items)) {
    const at = `${schemaPath}/items`;
    for (const [i, entry] of value.entries()) {
      const place = { schemaPath: at, instancePath: `${instancePath}/${i}` };
      yield* unionsIn({ schema: schema.items, value: entry, place });
    }
  }
  if (!isRecord(value)) return;
  for (const [key, property] of Object.entries(propertiesOf(schema))) {
    const place = { schemaPath: `${schemaPath}/properties/${key}`, instancePath: `${instancePath}/${escaped(key)}` };
    if (value[key] !== undefined) yield* unionsIn({ schema: property, value: value[key], place });
  }
}

/**
 * Of all that the schema library finds wrong, what concerns the reader: for a value that fits no branch of a union, that alone; for one
 * that says which branch of a tagged union it is, the errors of this branch. The library is asked about that branch alone: of a section
 * with a thousand entries it would have so much to say by the other branches that what is wrong is beyond the most that it tells.
 */
export function relevantErrors(schema: TSchema, value: unknown): Found {
  return errorsOf({ schema: schema as Schema, value, place: { schemaPath: "#", instancePath: "" } });
}

function errorsOf({ schema, value, place }: Part): Found {
  const found = errorsHere({ schema: opened(schema), value, place });
  for (const part of unionsIn({ schema, value, place })) {
    const inner = errorsOfUnion(part);
    found.errors = found.errors.concat(inner.errors);
    found.untagged = found.untagged.concat(inner.untagged);
  }
  return found;
}

function errorsOfUnion({ schema, value, place }: Part): Found {
  const union = taggedUnion(schema) as Union;
  const branch = branchOf(union, value);
  if (branch < 0) return errorsHere({ schema, value: isRecord(value) ? {} : value, place }, value);
  const own = { ...place, schemaPath: `${place.schemaPath}/anyOf/${branch}` };
  return errorsOf({ schema: union.branches[branch] as Schema, value, place: own });
}

/** What the library finds, at its places in the whole. @param shown the value, where only a part of it is judged */
function errorsHere({ schema, value, place }: Part, shown: unknown = value): Found {
  const { errors, untagged } = relevantHere(schema, value, shown);
  return {
    errors: errors.map((e) => ({
      ...e,
      schemaPath: place.schemaPath + e.schemaPath.slice(1),
      instancePath: place.instancePath + e.instancePath,
    })),
    untagged: untagged.map((one) => ({ ...one, path: place.instancePath + one.path })),
  };
}

function relevantHere(schema: Schema, value: unknown, shown: unknown): Found {
  let errors = [...Value.Errors(schema as TSchema, value)].filter((e) => e.keyword !== "boolean");
  const untagged: Untagged[] = [];
  // Outer unions first: what their other branches say of inner ones falls away with them.
  const unions = errors.filter((e) => e.keyword === "anyOf");
  for (const union of unions.toSorted((a, b) => a.schemaPath.length - b.schemaPath.length)) {
    if (!errors.includes(union)) continue;
    const tagged = taggedUnion(partAt(schema, union.schemaPath.replace(/^#/, "")) as Schema);
    const instance = partAt(shown, union.instancePath);
    const branch = tagged === undefined ? -1 : branchOf(tagged, instance);
    if (branch >= 0) {
      errors = errors.filter((e) => e !== union && (!isOf(union, undefined, e) || isOf(union, branch, e)));
      continue;
    }
    errors = errors.filter((e) => !isOf(union, undefined, e));
    if (tagged === undefined || !isRecord(instance)) continue;
    errors = errors.filter((e) => e !== union);
    const { key, tags } = tagged;
    untagged.push({ path: `${union.instancePath}/${key}`, tags, present: key in instance });
  }
  return { errors, untagged };
}
