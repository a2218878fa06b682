/** One series of a metric. Labels take few values: devices and gateways of the configuration, codes, routes; never what a client sent. */
export type MetricSample = { labels: Readonly<Record<string, string | number>>; value: number };

/**
 * A metric in the sense of Prometheus, read when it is asked for from counters that a service keeps anyway: nothing is counted twice.
 * Names: `jilian_{service}_{what}_{unit}`, base units (seconds, bytes), counters end in `_total`.
 */
export type MetricRow = {
  name: string;
  help: string;
  type: "counter" | "gauge";
  read: () => number | readonly MetricSample[];
};

export const gauge = (name: string, help: string, read: MetricRow["read"]): MetricRow => ({
  name,
  help,
  type: "gauge",
  read,
});

/** A value that only rises; it may begin anew with the process. */
export const counter = (name: string, help: string, read: MetricRow["read"]): MetricRow => ({
  name,
  help,
  type: "counter",
  read,
});

/** 0 or 1. */
export const flag = (value: boolean): number => (value ? 1 : 0);

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}

function lineOf(name: string, { labels, value }: MetricSample): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(String(text))}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${numberText(value)}`;
}

/** The metrics as they are now, in Prometheus' text exposition format 0.0.4. */
export function renderMetrics(rows: readonly MetricRow[]): string {
  const lines = rows.flatMap(({ name, help, type, read }) => {
    const found = read();
    const samples = typeof found === "number" ? [{ labels: {}, value: found }] : found;
    if (samples.length === 0) return [];
    return [`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`, ...samples.map((s) => lineOf(name, s))];
  });
  return lines.map((line) => `${line}\n`).join("");
}
