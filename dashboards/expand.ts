/** What Grafana puts into a query before it sends it. */
export type QueryContext = {
  /** Range of the panel, or of the alert rule, UTC ms. */
  fromMs: number;
  toMs: number;
  /** Width of a step of the graph. */
  intervalMs: number;
  /** Values of dashboard variables: a list as of a multiple choice, or the pattern that "all" stands for. */
  vars?: Readonly<Record<string, readonly string[] | { readonly pattern: string }>>;
};

/** Escapes a name for a pattern as Grafana's `:regex` format does; the slash too, which ends a pattern in InfluxQL. */
export function escapeName(name: string): string {
  return name.replace(/[\\^$*+?.()|[\]{}/]/g, "\\$&");
}

/** An interval as Grafana writes it: 60000 -> `1m`. */
function intervalText(intervalMs: number): string {
  const units = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "m"],
    [1000, "s"],
  ] as const;
  const [ms, unit] = units.find(([length]) => intervalMs % length === 0) ?? [1, "ms"];
  return `${intervalMs / ms}${unit}`;
}

/**
 * A query as InfluxDB gets it. In Grafana's order: variables (browser), then `$timeFilter`, `$interval`, `$__interval_ms`, `$__interval`
 * (its InfluxDB data source, `models/query.go`).
 * @throws Error when something is left that Grafana would not replace: InfluxDB would answer with nothing, or with something else
 */
export function expandQuery(query: string, { fromMs, toMs, intervalMs, vars = {} }: QueryContext): string {
  const named = query.replace(/\$\{([A-Za-z]\w*):regex\}/g, (whole, name: string) => {
    const value = vars[name];
    if (value === undefined) return whole;
    if ("pattern" in value) return value.pattern;
    return value.length === 1 ? escapeName(value[0] as string) : `(${value.map(escapeName).join("|")})`;
  });
  const interval = intervalText(intervalMs);
  const done = named
    .replaceAll(`\${__to}`, String(toMs))
    .replaceAll(`\${__range_ms}`, String(toMs - fromMs))
    .replaceAll("$timeFilter", `time >= ${fromMs}ms and time <= ${toMs}ms`)
    .replaceAll("$interval", interval)
    .replaceAll("$__interval_ms", String(intervalMs))
    .replaceAll("$__interval", interval);
  // A dollar at the end of a pattern is the pattern's own.
  const left = /\$(?!\/)[\w{]*/.exec(done.replace(/\\\$/g, ""));
  if (left) throw new Error(`not replaced: ${left[0]} in ${query}`);
  return done;
}
