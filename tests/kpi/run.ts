/**
 * The proof of the figures, in full: `node tests/kpi/run.ts --enterprises 40 --days 2 --store duckdb --seed 7`. Ends with 1 when a
 * figure is wrong, and prints what it was made of.
 */
import { parseArgs } from "node:util";
import { hasInfluxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { wholeNumber } from "../whole-number.ts";
import { describe } from "./compare.ts";
import { prove, type Setting } from "./prove.ts";

const help = `node tests/kpi/run.ts [--enterprises N] [--days N | --hours N] [--store duckdb|influx] [--seed N] [--poll-s N] [--tick-min N] [--orderly]

  --enterprises  40 where nothing is said
  --days, --hours  how long the plants run: 2 days
  --store     where readings are kept: duckdb; influx starts a server of its own
  --seed      of the plants and of everything that goes wrong: 7
  --poll-s    seconds between two readings: 60
  --tick-min  minutes between two ticks of the engine, on average: 20
  --orderly   nothing is late, shuffled, repeated or started again`;
const { values: asked } = parseArgs({
  options: {
    enterprises: { type: "string" },
    days: { type: "string" },
    hours: { type: "string" },
    store: { type: "string", default: "duckdb" },
    seed: { type: "string" },
    "poll-s": { type: "string" },
    "tick-min": { type: "string" },
    orderly: { type: "boolean", default: false },
    help: { type: "boolean", short: "h" },
  },
});
const print = (line: string) => process.stdout.write(`${line}\n`);
if (asked.help) {
  print(help);
  process.exit(0);
}
if (asked.store !== "duckdb" && asked.store !== "influx") throw new Error("--store is duckdb or influx");
if (asked.store === "influx" && !hasInfluxd()) throw new Error("influxd is not installed (Debian's package influxdb)");

await using server = asked.store === "influx" ? await startInfluxd() : undefined;
let toldMs = performance.now();
let first = true;
const setting: Setting = {
  enterprises: wholeNumber("enterprises", asked.enterprises, 40),
  // 21:47:23 in Shanghai on the last day of a month.
  fromMs: Date.UTC(2026, 10, 30, 13, 47, 23),
  hours: wholeNumber("hours", asked.hours, 24 * wholeNumber("days", asked.days, 2)),
  pollMs: 1000 * wholeNumber("poll-s", asked["poll-s"], 60),
  seed: wholeNumber("seed", asked.seed, 7),
  tickMs: 60_000 * wholeNumber("tick-min", asked["tick-min"], 20),
  troubled: !asked.orderly,
  restarts: !asked.orderly,
  recompute: true,
  ...(server ? { influxUrl: server.url } : {}),
  onProgress: (text) => {
    if (performance.now() - toldMs < 20_000) return;
    toldMs = performance.now();
    print(`  ${text}`);
  },
  onCompared: (comparison) => {
    const compared = [...comparison.compared].map(([period, n]) => `${n} of ${period}s`).join(", ");
    const when = first ? "as they came" : "computed again from the store";
    first = false;
    print(`${when}: ${compared}; ${describe(comparison)}`);
  },
};
const { comparisons, samples, restarts, seconds, compareSeconds, rssMb } = await prove(setting);
print(`${samples} samples, ${restarts} restarts, RSS ${Math.round(rssMb)} MB`);
print(
  `s: ${Object.entries({ ...seconds, compare: compareSeconds })
    .map(([part, s]) => `${part} ${s.toFixed(1)}`)
    .join(", ")}`,
);
process.exitCode = comparisons.every(({ wrong, unknown }) => wrong === 0 && unknown.size === 0) ? 0 : 1;
