import { Document, isScalar, parseDocument } from "yaml";

/** Variables of the environment, as `process.env` has them. */
export type Env = Readonly<Record<string, string | undefined>>;

/** A value that a variable has put in place of the file's, or beside it. */
export type Override = {
  variable: string;
  /** JSON pointer of the value: `/api/port`. */
  path: string;
};

/** What is wrong with a variable as such; what its value means is judged together with the file. */
export type OverrideFault = Override & { found: string; expected: string; remedy: string };

/** Variables that begin so are paths of the configuration: `JILIAN__devices__0__host`. */
export const envPrefix = "JILIAN__";

type Section = Record<string, unknown> | unknown[];

/** Segments of a JSON pointer (RFC 6901), unescaped. */
export function segmentsOf(pointer: string): string[] {
  if (pointer === "") return [];
  return pointer
    .slice(1)
    .split("/")
    .map((s) => s.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function pointerOf(segments: readonly string[]): string {
  return segments.map((s) => `/${s.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function isSection(value: unknown): value is Section {
  return typeof value === "object" && value !== null;
}

/** True for a key whose value, or the value of a file it names, is a secret. */
export function isSecretPath(path: string): boolean {
  return /pass|pasw|pwd|secret|token|api[_-]?key/i.test(path);
}

/** True for a key that holds a secret itself; `passwordFile` only names where one is. */
function holdsSecret(key: string): boolean {
  return isSecretPath(key) && !/file$/i.test(key);
}

/** The part of a section that a segment names, made when it is missing; or what is wrong with that segment. */
function stepInto(at: Section, segment: string): { next: Section } | { expected: string } {
  if (Array.isArray(at)) {
    const known = /^(0|[1-9]\d*)$/.test(segment) ? at[Number(segment)] : undefined;
    if (known === undefined) return { expected: `the number of an entry of this list, 0 to ${at.length - 1}` };
    return isSection(known) ? { next: known } : { expected: "a list or a section here" };
  }
  const known = Object.hasOwn(at, segment) ? at[segment] : undefined;
  if (isSection(known)) return { next: known };
  if (known !== undefined && known !== null) return { expected: "a path of the configuration: this is a single value" };
  const made = {};
  Object.defineProperty(at, segment, { value: made, enumerable: true, writable: true, configurable: true });
  return { next: made };
}

function put(root: Section, segments: readonly string[], value: unknown): string | undefined {
  let at = root;
  for (const segment of segments.slice(0, -1)) {
    const step = stepInto(at, segment);
    if ("expected" in step) return step.expected;
    at = step.next;
  }
  const last = segments.at(-1) as string;
  if (Array.isArray(at) && !(/^(0|[1-9]\d*)$/.test(last) && Number(last) < at.length)) {
    return `the number of an entry of this list, 0 to ${at.length - 1}`;
  }
  Object.defineProperty(at, last, { value, enumerable: true, writable: true, configurable: true });
  return undefined;
}

/** The value of a variable: a YAML scalar or flow (`9090`, `[a, b]`, `{ port: 1 }`). */
function readValue(text: string): { value: unknown } | { found: string } {
  const document = parseDocument(text, { prettyErrors: false });
  const [error] = document.errors;
  // The message of the parser may quote the text, and the text may be a secret.
  if (error) return { found: `text that is not YAML (${error.code})` };
  try {
    return { value: document.toJS() };
  } catch {
    return { found: "text that is not YAML (an alias without its anchor)" };
  }
}

/**
 * Puts values of the environment in place of the file's: `JILIAN__` and the path joined by double underscores, keys in their exact case,
 * entries of lists by number. Sections that the file leaves out are made; lists do not grow. A variable for a whole section comes before
 * one for a part of it. Pure: the variables are passed in, `value` is left as it is; where there are none, it is given back itself.
 */
export function applyEnv(value: unknown, env: Env): { value: unknown; overrides: Override[]; faults: OverrideFault[] } {
  const overrides: Override[] = [];
  const faults: OverrideFault[] = [];
  const names = Object.keys(env).filter((name) => name.startsWith(envPrefix) && env[name] !== undefined);
  // A copy of ten thousand tags is not made for nothing.
  const result = names.length > 0 ? structuredClone(value) : value;
  for (const variable of names.sort()) {
    const segments = variable.slice(envPrefix.length).split("__");
    const path = pointerOf(segments);
    const wrong = (found: string, expected: string) =>
      faults.push({ variable, path, found, expected, remedy: "correct or unset this variable" });
    if (segments.includes("")) {
      wrong(variable, `${envPrefix} and a path of the configuration, joined by double underscores`);
      continue;
    }
    // A secret is taken as it stands: "#" or ": " in it are characters, not YAML.
    const isSecret = holdsSecret(segments.at(-1) ?? "");
    const read = isSecret ? { value: env[variable] as string } : readValue(env[variable] as string);
    if ("found" in read) wrong(read.found, "a YAML scalar, list or section on one line");
    else if (!isSection(result)) wrong(variable, "a file that holds sections");
    else {
      const expected = put(result, segments, read.value);
      if (expected === undefined) overrides.push({ variable, path });
      else wrong(variable, expected);
    }
  }
  return { value: result, overrides, faults };
}

/** A copy in which nothing secret is left: what is printed and logged of a configuration. */
export function redacted(value: unknown, key = ""): unknown {
  if (value !== undefined && value !== null && holdsSecret(key)) return "(not shown)";
  if (Array.isArray(value)) return value.map((entry) => redacted(entry));
  if (!isSection(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, redacted(inner, name)]));
}

/** JSON pointers of secrets that stand in the configuration itself and not in a file that it names. */
export function literalSecrets(value: unknown, at: readonly string[] = []): string[] {
  if (!isSection(value))
    return value !== undefined && value !== null && holdsSecret(at.at(-1) ?? "") ? [pointerOf(at)] : [];
  return Object.entries(value).flatMap(([key, inner]) => literalSecrets(inner, [...at, key]));
}

/** Files that the configuration names and that hold a secret: passwords, tokens, private keys. Given as they stand there. */
export function secretFiles(value: unknown, at: readonly string[] = []): { path: string; file: string }[] {
  const key = at.at(-1) ?? "";
  if (typeof value === "string" && /file$/i.test(key) && (isSecretPath(key) || /^keyFile$/i.test(key))) {
    return [{ path: pointerOf(at), file: value }];
  }
  return isSection(value) ? Object.entries(value).flatMap(([name, inner]) => secretFiles(inner, [...at, name])) : [];
}

/**
 * What is not wrong and yet not safe: secrets in the configuration itself, and files of secrets that every user of the machine may read.
 * @param modeOf permission bits of a file as `stat` has them; undefined when it cannot be asked, or on systems without
 */
export function secretWarnings(value: unknown, modeOf: (file: string) => number | undefined): string[] {
  const literal = literalSecrets(value).map(
    (path) => `${path}: a secret in the configuration itself; write it to a file and name that instead (${path}File)`,
  );
  const open = secretFiles(value).flatMap(({ path, file }) =>
    ((modeOf(file) ?? 0) & 0o007) === 0
      ? []
      : [`${path}: every user of this machine may read or change ${file}; chmod 600 ${file}`],
  );
  return [...literal, ...open];
}

/** The configuration as it takes effect, defaults included, as YAML: secrets not shown, what the environment changed marked so. */
export function printConfig(value: unknown, overrides: readonly Override[]): string {
  const document = new Document(redacted(value));
  for (const { variable, path } of overrides) {
    const node = document.getIn(segmentsOf(path), true);
    if (isScalar(node)) node.comment = ` ${variable}`;
    else if (isSection(node)) (node as { commentBefore?: string }).commentBefore = ` ${variable}`;
  }
  return document.toString({ lineWidth: 0 });
}
