/**
 * A strict reader of Prometheus' text exposition format 0.0.4, for tests: every line must be a HELP, a TYPE or a sample, each family whole
 * and once, no series twice, counters named and valued as such, buckets of histograms complete and rising.
 */
export type Scrape = {
  /** Value of a series: `name` or `name{label="text"}` with labels in the order of the alphabet. */
  value: (series: string) => number | undefined;
  series: () => string[];
  typeOf: (family: string) => string | undefined;
};

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
/** What Go's ParseFloat takes, which is what Prometheus reads with: NaN and Inf in any case (prom-client writes `Nan`). */
const number = /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|[+-]inf)$/i;

function numberOf(text: string, line: string): number {
  if (!number.test(text)) throw new Error(`not a value: ${line}`);
  if (/inf$/i.test(text)) return text.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}

function labelsOf(text: string, line: string): [string, string][] {
  const found: [string, string][] = [];
  let rest = text;
  while (rest !== "") {
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)/.exec(rest);
    if (!match) throw new Error(`not labels: ${line}`);
    found.push([match[1] as string, match[2] as string]);
    rest = rest.slice(match[0].length);
  }
  if (new Set(found.map(([name]) => name)).size !== found.length) throw new Error(`a label twice: ${line}`);
  return found.sort(([a], [b]) => (a < b ? -1 : 1));
}

function checkHistogram(family: string, values: ReadonlyMap<string, number>): void {
  const groups = new Map<string, [number, number][]>();
  for (const [series, value] of values) {
    const match = new RegExp(`^${family}_bucket\\{(.*)\\}$`).exec(series);
    if (!match) continue;
    const labels = labelsOf(match[1] as string, series);
    const bound = labels.find(([name]) => name === "le")?.[1] ?? "";
    const rest = labels.filter(([name]) => name !== "le").map(([name, text]) => `${name}="${text}"`);
    const key = rest.join(",");
    groups.set(key, [...(groups.get(key) ?? []), [bound === "+Inf" ? Number.POSITIVE_INFINITY : Number(bound), value]]);
  }
  for (const [key, buckets] of groups) {
    const suffix = key === "" ? "" : `{${key}}`;
    const count = values.get(`${family}_count${suffix}`);
    if (buckets.at(-1)?.[0] !== Number.POSITIVE_INFINITY || buckets.at(-1)?.[1] !== count) {
      throw new Error(`${family}: the last bucket must be +Inf and hold the count`);
    }
    if (values.get(`${family}_sum${suffix}`) === undefined) throw new Error(`${family}: no sum`);
    for (const [i, [bound, value]] of buckets.entries()) {
      const before = buckets[i - 1];
      if (before && (before[0] >= bound || before[1] > value)) throw new Error(`${family}: buckets do not rise`);
    }
  }
}

/** Reads an exposition. @throws Error at the first line that Prometheus would not take, or that says something twice */
export function readExposition(text: string): Scrape {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const values = new Map<string, number>();
  let family = "";
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment) {
      const [, kind, name = "", rest = ""] = comment;
      if (!metricName.test(name)) throw new Error(`not a name: ${line}`);
      const seen = kind === "HELP" ? helps.has(name) : types.has(name);
      if (seen) throw new Error(`told twice: ${line}`);
      if (kind === "HELP") helps.add(name);
      else {
        if (!["counter", "gauge", "histogram", "summary", "untyped"].includes(rest))
          throw new Error(`no type: ${line}`);
        types.set(name, rest);
      }
      family = name;
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!sample) throw new Error(`not a line of the format: ${line}`);
    const [, name = "", inner = "", number = ""] = sample;
    const type = types.get(family);
    const suffixes = type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    if (!suffixes.some((suffix) => name === `${family}${suffix}`)) throw new Error(`outside of its family: ${line}`);
    if (type === undefined || !helps.has(family)) throw new Error(`without HELP and TYPE: ${line}`);
    const labels = labelsOf(inner, line).map(([label, value]) => `${label}="${value}"`);
    const series = `${name}${labels.length > 0 ? `{${labels.join(",")}}` : ""}`;
    if (values.has(series)) throw new Error(`a series twice: ${line}`);
    const value = numberOf(number, line);
    if (type === "counter" && !(value >= 0 && name.endsWith("_total"))) throw new Error(`not a counter: ${line}`);
    values.set(series, value);
  }
  for (const [name, type] of types) if (type === "histogram") checkHistogram(name, values);
  return { value: (series) => values.get(series), series: () => [...values.keys()], typeOf: (name) => types.get(name) };
}
