import type { Static, TSchema } from "typebox";
import { Settings } from "typebox/system";
import { isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import { applyEnv, type Env, isSecretPath, type Override, segmentsOf } from "./config-env.ts";
import { JilianError, messageOf } from "./errors.ts";
import { idPattern, idWords } from "./identity.ts";
import { quickFit, unfit } from "./quick-check.ts";
import { syntaxFaults } from "./syntax-faults.ts";
import { fillDefaults, relevantErrors, type SchemaError } from "./tagged-union.ts";

/** One thing wrong with a configuration: where, what was found, what is allowed, what to do. */
export type Fault = {
  file: string;
  /** 1-based line in the file; 0 where there is none (an empty file). */
  line: number;
  /** JSON pointer of the value: `/devices/0/port`. */
  path: string;
  /** The variable of the environment that the value came from, if it is not the file's. */
  variable?: string;
  found: string;
  expected: string;
  remedy: string;
};

/** A fault that a check beyond the schema found; the caller of the check adds file and line. */
export type SemanticFault = { path: string; expected: string; remedy: string };

/** A value before its check, with what stands in it for more put in its place, and the faults of that. Pure. */
export type Prepare = (value: unknown) => { value: unknown; faults: readonly SemanticFault[] };

/** The checks that a schema cannot express: references, duplicates, combinations. Pure. */
export type SemanticCheck<T> = (value: T) => SemanticFault[];
/** One, or some that do not depend on each other: where the shape is wrong, each tells what it can. */
export type SemanticChecks<T> = SemanticCheck<T> | readonly SemanticCheck<T>[];

/**
 * What came of a check. `partial` is what the file holds as it stands: programs look in it for files it names, to tell their faults too.
 * `overrides` are the values that the environment has put in the file's place, if any.
 */
export type Checked<T> =
  | { ok: true; value: T; overrides?: readonly Override[] }
  | { ok: false; faults: Fault[]; partial: unknown };

// All faults at once: the library stops at 8 by default.
Settings.Set({ maxErrors: 1000 });

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number") return String(value);
  // A fault may lie above a secret: a list where a section belongs.
  const text = JSON.stringify(value, (key, inner) => (isSecretPath(key) ? "(not shown)" : inner)) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The schema that an error speaks of, from its own schemaPath (`#/properties/c/items`). */
function schemaAt(schema: TSchema, schemaPath: string): Record<string, unknown> {
  let at: unknown = schema;
  for (const segment of segmentsOf(schemaPath.replace(/^#/, ""))) {
    at = typeof at === "object" && at !== null ? (at as Record<string, unknown>)[segment] : undefined;
  }
  return typeof at === "object" && at !== null ? (at as Record<string, unknown>) : {};
}

/** What a schema allows, in words: its type, bounds, choices; and its description. */
function describe(schema: Record<string, unknown>): string {
  const parts: string[] = [];
  const choices = Array.isArray(schema.anyOf) ? (schema.anyOf as Record<string, unknown>[]) : [];
  const constants = choices.filter((choice) => "const" in choice);
  if ("const" in schema) parts.push(show(schema.const));
  else if (choices.length > 0 && constants.length === choices.length) {
    parts.push(`one of ${constants.map((choice) => show(choice.const)).join(", ")}`);
  } else if (choices.length > 0) parts.push(choices.map(describe).join(" or "));
  else if (typeof schema.type === "string") parts.push(schema.type);
  for (const [key, words] of [
    ["minimum", ">="],
    ["maximum", "<="],
    ["exclusiveMinimum", ">"],
    ["minLength", "length >="],
    ["maxLength", "length <="],
    ["minItems", "entries >="],
    ["maxItems", "entries <="],
    ["pattern", "matching"],
  ] as const) {
    if (schema[key] === idPattern) parts.push(idWords);
    else if (schema[key] !== undefined) parts.push(`${words} ${String(schema[key])}`);
  }
  const text = parts.join(" ");
  return typeof schema.description === "string" ? `${text} (${schema.description})` : text;
}

function nearest(word: string, known: string[]): string | undefined {
  const simple = (s: string) => s.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
  if (simple(word) === "") return undefined;
  return (
    known.find((k) => simple(k) === simple(word)) ?? known.find((k) => simple(k).startsWith(simple(word).slice(0, 4)))
  );
}

/** Turns one schema error into faults: a missing or unknown key is reported at the key, not at its parent. */
function explain(schema: TSchema, error: SchemaError): SemanticFault[] {
  const parent = schemaAt(schema, error.schemaPath);
  const properties = (parent.properties ?? {}) as Record<string, Record<string, unknown>>;
  if (error.keyword === "required") {
    const missing = (error.params as { requiredProperties: string[] }).requiredProperties;
    return missing.map((key) => ({
      path: `${error.instancePath}/${key}`,
      expected: describe(properties[key] ?? {}),
      remedy: `add "${key}"`,
    }));
  }
  if (error.keyword === "additionalProperties") {
    const extra = (error.params as { additionalProperties: string[] }).additionalProperties;
    return extra.map((key) => {
      const close = nearest(key, Object.keys(properties));
      return {
        path: `${error.instancePath}/${key}`,
        expected: `one of the keys ${Object.keys(properties).join(", ")}`,
        remedy: close ? `write "${close}" instead of "${key}"` : `remove "${key}"`,
      };
    });
  }
  return [
    {
      path: error.instancePath,
      expected: describe(parent) || error.message,
      remedy: "change the value to what is allowed",
    },
  ];
}

function schemaFaults(schema: TSchema, value: unknown): SemanticFault[] {
  const { errors, untagged } = relevantErrors(schema, value);
  const faults = untagged.map(({ path, tags, present }) => ({
    path,
    expected: `one of ${tags.map(show).join(", ")}`,
    remedy: present ? "change the value to what is allowed" : `add "${path.split("/").at(-1)}"`,
  }));
  return [...faults, ...errors.flatMap((e) => explain(schema, e))];
}

/**
 * The faults of the schema and, beside them, those of the semantic checks: they are told at once. What the schema has found wrong is not
 * judged again; where a wrong shape makes the semantic checks fail, they have nothing to say yet.
 */
function allFaults<S extends TSchema>(
  schema: S,
  value: unknown,
  semantic: readonly SemanticCheck<Static<S>>[],
): SemanticFault[] {
  const found = schemaFaults(schema, value);
  if (found.length === 0) return semantic.flatMap((check) => check(value as Static<S>));
  const judged = (path: string) => found.some((f) => path === f.path || path.startsWith(`${f.path}/`));
  const told = semantic.flatMap((check) => {
    try {
      return check(value as Static<S>).filter((f) => !judged(f.path));
    } catch {
      return [];
    }
  });
  return [...found, ...told];
}

/** The document as plain values; an alias without its anchor, or a bomb of aliases, is a fault like any other. */
function plainValue(document: ReturnType<typeof parseDocument>, file: string): Checked<unknown> {
  try {
    return { ok: true, value: document.toJS() ?? {} };
  } catch (thrown) {
    const remedy = "correct the aliases (*name) and their anchors (&name), or write the values out";
    return {
      ok: false,
      faults: [{ file, line: 0, path: "/", found: messageOf(thrown), expected: "YAML 1.2", remedy }],
      partial: undefined,
    };
  }
}

/** Line of the value at a path, or of its nearest parent that is in the file. */
function lineOf(document: ReturnType<typeof parseDocument>, counter: LineCounter, path: string): number {
  for (let segments = segmentsOf(path); ; segments = segments.slice(0, -1)) {
    const parent = segments.length > 0 ? document.getIn(segments.slice(0, -1), true) : undefined;
    const last = segments.at(-1);
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && String(item.key.value) === last)
      : undefined;
    const node = ((pair?.key as Node | undefined) ?? document.getIn(segments, true)) as Node | undefined;
    if (node?.range) return counter.linePos(node.range[0]).line;
    if (segments.length === 0) return 0;
  }
}

function valueAt(value: unknown, path: string): unknown {
  let at = value;
  for (const segment of segmentsOf(path)) {
    at =
      typeof at === "object" && at !== null && Object.hasOwn(at, segment)
        ? (at as Record<string, unknown>)[segment]
        : undefined;
  }
  return at;
}

/** The variable that a fault is about: its value's, or that of a part which only a variable put there. */
function variableAt(path: string, overrides: readonly Override[], inFile: unknown): string | undefined {
  const own = overrides.filter((o) => path === o.path || path.startsWith(`${o.path}/`)).at(-1);
  if (own || valueAt(inFile, path) !== undefined) return own?.variable;
  return overrides.find((o) => o.path.startsWith(`${path}/`))?.variable;
}

/** What may be an anchor or alias: values that two places share cannot be filled in where they stand. */
const anchored = /[&*]\S/;

/**
 * The short way of a configuration without a fault, as nearly all are: ten thousand tags take the library many seconds of a small box.
 * @returns what the long way gives; undefined where there is a fault, or what only the library understands
 */
function withoutFault<S extends TSchema>(
  schema: S,
  plain: ReturnType<typeof plainValue>,
  given: { semantic: readonly SemanticCheck<Static<S>>[]; env: Env; prepare: Prepare },
): Checked<Static<S>> | undefined {
  if (!plain.ok) return undefined;
  const { overrides, faults, value: put } = applyEnv(plain.value, given.env);
  const prepared = given.prepare(put);
  if (faults.length > 0 || prepared.faults.length > 0) return undefined;
  const value = quickFit(schema, prepared.value);
  if (value === unfit || given.semantic.some((check) => check(value as Static<S>).length > 0)) return undefined;
  return { ok: true, value: value as Static<S>, ...(overrides.length > 0 ? { overrides } : {}) };
}

/**
 * Checks a configuration text as a whole: YAML syntax, then what the environment puts in its place, then schema and semantic checks
 * together. Pure: no I/O. Defaults of the schema are filled in. Every fault is reported, each with file and line or variable, path,
 * found, expected and remedy.
 * @param file name to report, usually the path as the user gave it
 * @param env variables of the environment (config-env.ts); none of them counts when it is left out
 * @param prepare what becomes of the value, variables included, before its defaults are filled in and it is checked
 */
export function checkConfig<S extends TSchema>(
  schema: S,
  text: string,
  file: string,
  semantic: SemanticChecks<Static<S>> = [],
  env: Env = {},
  prepare: Prepare = (value) => ({ value, faults: [] }),
): Checked<Static<S>> {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, uniqueKeys: true, prettyErrors: false });
  const syntax = syntaxFaults(document, counter, text, file);
  if (syntax.length > 0) return { ok: false, faults: syntax, partial: undefined };
  const checks = [semantic].flat();
  const quick = anchored.test(text)
    ? undefined
    : withoutFault(schema, plainValue(document, file), { semantic: checks, env, prepare });
  if (quick) return quick;
  // Anew: what was tried is half filled.
  const plain = plainValue(document, file);
  if (!plain.ok) return plain;
  const put = applyEnv(plain.value, env);
  const prepared = prepare(put.value);
  const value = fillDefaults(schema, prepared.value);
  const found = [...prepared.faults, ...allFaults(schema, value, checks)];
  const { overrides } = put;
  if (found.length === 0 && put.faults.length === 0) {
    return { ok: true, value: value as Static<S>, ...(overrides.length > 0 ? { overrides } : {}) };
  }
  const faults = found.map(({ path, expected, remedy }) => {
    const variable = variableAt(path, overrides, plain.value);
    return {
      file,
      line: variable === undefined ? lineOf(document, counter, path) : 0,
      path: path === "" ? "/" : path,
      ...(variable === undefined ? {} : { variable }),
      // A mistyped key is known by the remedy that names the right one.
      found: isSecretPath(path + remedy) ? "(not shown)" : show(valueAt(value, path)),
      expected,
      remedy,
    };
  });
  const ofFile = faults.filter(({ variable }) => variable === undefined).sort((a, b) => a.line - b.line);
  const ofEnv = [
    ...faults.filter(({ variable }) => variable !== undefined),
    ...put.faults.map((fault) => ({ file, line: 0, ...fault })),
  ].sort((a, b) => ((a.variable ?? "") < (b.variable ?? "") ? -1 : 1));
  return { ok: false, faults: [...ofFile, ...ofEnv], partial: value };
}

/** Faults that a program found beyond the text (a file it names is not there), at their lines. */
export function faultsAt(text: string, file: string, faults: readonly (SemanticFault & { found: string })[]): Fault[] {
  // The lines of ten thousand tags are not counted for nothing.
  if (faults.length === 0) return [];
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  return faults.map((fault) => ({ ...fault, file, line: lineOf(document, counter, fault.path) }));
}

/** The text at a JSON pointer of a checked file or of what it holds as it stands; undefined when there is none. */
export function textAt(value: unknown, path: string): string | undefined {
  const found = valueAt(value, path);
  return typeof found === "string" && found !== "" ? found : undefined;
}

/** The faults as text, one block each, ready for a terminal. @param outcome what came of it */
export function formatFaults(faults: readonly Fault[], outcome = "nothing was started"): string {
  const lines = faults.map((f) => {
    const where = f.variable === undefined ? `${f.file}:${f.line}` : `environment ${f.variable}`;
    return `${where} ${f.path}\n  found:    ${f.found}\n  expected: ${f.expected}\n  remedy:   ${f.remedy}`;
  });
  return `${lines.join("\n")}\n${faults.length} fault${faults.length === 1 ? "" : "s"}; ${outcome}.`;
}

/** An error that carries the faults of a configuration; programs end with exit code 2 on it. */
export function configError(faults: readonly Fault[]): JilianError {
  return new JilianError(formatFaults(faults), {
    code: "CONFIG_INVALID",
    action: "check the configuration",
    remedy: "correct every line listed and start again",
  });
}

/** Duplicates of a key among entries, as faults at the later ones; a common semantic check. */
export function duplicates(path: string, entries: readonly string[], what: string, field = "id"): SemanticFault[] {
  const seen = new Map<string, number>();
  return entries.flatMap((entry, i) => {
    const first = seen.get(entry);
    if (first === undefined) {
      seen.set(entry, i);
      return [];
    }
    return [
      {
        path: `${path}/${i}/${field}`,
        expected: `a ${what} used once (already at ${path}/${first})`,
        remedy: "give each its own",
      },
    ];
  });
}
