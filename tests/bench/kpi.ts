/**
 * `npm run bench:kpi`: what the KPI engine costs, and how that grows with the number of enterprises. Small by default (1, 4, 16
 * enterprises, some minutes); `-- --full` measures 1, 40, 400 and more samples. `-- --history` shows instead what a day costs one enterprise after 1, 10 and
 * 30 days, and what is in memory then. Each size is a process of its own, so that its memory is
 * its own. Rates are samples for a second of processor time, of all threads: a busy machine does not change them much. Compare ratios. At the
 * end, how long a message takes through a broker in whose process a month is computed again, and through the same one before.
 */
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { wholeNumber } from "../whole-number.ts";
import { type BrokerLatency, measureBroker } from "./kpi-broker.ts";
import { type HistoryCosts, measureHistory } from "./kpi-history.ts";
import { type KpiCosts, measureKpi } from "./kpi-size.ts";

const print = (line = "") => process.stdout.write(`${line}\n`);
const { values: asked } = parseArgs({
  options: {
    full: { type: "boolean", default: false },
    size: { type: "string" },
    broker: { type: "boolean", default: false },
    sizes: { type: "string" },
    history: { type: "boolean", default: false },
    days: { type: "string", default: "1,10,30" },
    help: { type: "boolean", short: "h" },
  },
});
if (asked.help) {
  print(
    "node tests/bench/kpi.ts [--full] [--sizes 1,4,16]  numbers of enterprises; --full: 1, 40, 400 and more samples\n" +
      "node tests/bench/kpi.ts --history [--days 1,10,30] [--sizes 1]  what grows with the history of some enterprises\n" +
      "node tests/bench/kpi.ts --broker  the broker's latency alone, as JSON",
  );
  process.exit(0);
}

/** What the issue aims at, for the row that has an aim. */
const aims: Partial<Record<keyof KpiCosts, { value: number; more: boolean; text: string }>> = {
  foldedPerCoreS: { value: 500_000, more: true, text: "500,000" },
  lateHourMs: { value: 1000, more: false, text: "1,000" },
};
const rows: [keyof KpiCosts, string][] = [
  ["series", "series"],
  ["samples", "samples"],
  ["storedPerCoreS", "stored by ingest, samples for a second of one core"],
  ["foldedPerCoreS", "folded into leaves, samples for a second of one core"],
  ["figuresPerCoreS", "folded and every figure of it made, samples for a second of one core"],
  ["latencyMedianMs", "a second's samples stored to figures, ms, median"],
  ["latencyMostMs", "the same, 99 %"],
  ["lateHourMs", "a late hour of a factory, ms"],
  ["lateHourCpuMs", "the same, processor time of all threads, ms"],
  ["recomputedHourS", "an hour of all recomputed from the store, s"],
  ["recomputedMonthMin", "hence a month, minutes"],
  ["leaves", "leaves"],
  ["bytesPerLeaf", "bytes a leaf"],
  ["rssMb", "RSS, MB"],
];

if (asked.size !== undefined) {
  print(JSON.stringify(await measureKpi(wholeNumber("size", asked.size, 1), asked.full)));
  process.exit(0);
}

if (asked.broker) {
  print(JSON.stringify(await measureBroker()));
  process.exit(0);
}

const shown = (n: number) => (n >= 100 ? Math.round(n).toLocaleString("en") : n.toPrecision(3));

const historyRows: [keyof HistoryCosts, string][] = [
  ["samples", "samples so far"],
  ["heapMb", "JavaScript heap of ingest and engine after a collection, MB"],
  ["rssMb", "RSS, the store's cache included, MB"],
  ["storeMb", "files of the store, MB"],
  ["dayS", "the last day's figures, in 92 ticks, processor time, s"],
  ["lateHourMs", "a late hour of a factory, processor time, ms"],
];

if (asked.history) {
  const days = asked.days.split(",").map((day) => wholeNumber("days", day, 1));
  const found = await measureHistory(wholeNumber("sizes", asked.sizes, 1), days);
  print(`| after days | ${days.join(" | ")} | growth |`);
  print(`|---|${days.map(() => "---:").join("|")}|---:|`);
  for (const [key, text] of historyRows) {
    const values = found.map((costs) => costs[key]);
    const growth = (values.at(-1) as number) / (values[0] as number);
    print(`| ${text} | ${values.map(shown).join(" | ")} | ${shown(growth)} x |`);
  }
  process.exit(0);
}

/** The last line of what a process of its own prints, as JSON. */
function measureApart<T>(what: string, args: readonly string[]): T {
  const own = [fileURLToPath(import.meta.url), ...args];
  const { stdout, stderr, status } = spawnSync(process.execPath, [...process.execArgv, ...own], { encoding: "utf8" });
  if (status !== 0) throw new Error(`the measurement of ${what} failed:\n${stderr}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) as string) as T;
}

const sizes =
  asked.sizes?.split(",").map((size) => wholeNumber("sizes", size, 1)) ?? (asked.full ? [1, 40, 400] : [1, 4, 16]);
const measured = sizes.map((size) =>
  measureApart<KpiCosts>(`${size} enterprises`, ["--size", String(size), ...(asked.full ? ["--full"] : [])]),
);

print(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"})\n`);
print(`| enterprises | ${sizes.join(" | ")} | growth | aim | reached |`);
print(`|---|${sizes.map(() => "---:").join("|")}|---:|---:|---:|`);
for (const [key, text] of rows) {
  const values = measured.map((costs) => costs[key]);
  const growth = (values.at(-1) as number) / (values[0] as number);
  const aim = aims[key];
  const last = values.at(-1) as number;
  const reached = aim ? `${shown(aim.more ? last / aim.value : aim.value / last)} x` : "";
  print(`| ${text} | ${values.map(shown).join(" | ")} | ${shown(growth)} x | ${aim?.text ?? ""} | ${reached} |`);
}

const latency = measureApart<BrokerLatency>("the broker", ["--broker"]);
const pair = ([median, most]: readonly [number, number]) => `${shown(median)} | ${shown(most)}`;
print("\n| broker latency, publish to receive, ms | median | 99 % |");
print("|---|---:|---:|");
print(`| figures idle | ${pair(latency.idleMs)} |`);
print(`| figures idle, two threads of another process busy in bursts | ${pair(latency.besideBusyMs)} |`);
print(`| during a month's recompute | ${pair(latency.recomputingMs)} |`);
print(
  `\n${latency.messages} messages each, ${latency.lost} lost; ${latency.hours} hours were computed again meanwhile`,
);
