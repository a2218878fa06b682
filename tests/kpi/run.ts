/**
 * The proof of the figures, in full: `node tests/kpi/run.ts --enterprises 40 --days 2 --store duckdb --seed 7`. Ends with 1 when a
 * figure is wrong, and prints what it was made of.
 */
import { parseArgs } from "node:util";
import { hasInfluxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { describe } from "./compare.ts";
import { prove, type Setting } from "./prove.ts";

const { values: asked } = parseArgs({
  options: {
    enterprises: { type: "string", default: "40" },
    days: { type: "string", default: "2" },
    hours: { type: "string" },
    store: { type: "string", default: "duckdb" },
    seed: { type: "string", default: "7" },
    "poll-s": { type: "string", default: "60" },
    "tick-min": { type: "string", default: "20" },
    orderly: { type: "boolean", default: false },
  },
});
const print = (line: string) => process.stdout.write(`${line}\n`);
if (asked.store !== "duckdb" && asked.store !== "influx") throw new Error("--store is duckdb or influx");
if (asked.store === "influx" && !hasInfluxd()) throw new Error("influxd is not installed (Debian's package influxdb)");

await using server = asked.store === "influx" ? await startInfluxd() : undefined;
let toldMs = performance.now();
const setting: Setting = {
  enterprises: Number(asked.enterprises),
  // 21:47:23 in Shanghai on the last day of a month.
  fromMs: Date.UTC(2026, 10, 30, 13, 47, 23),
  hours: asked.hours === undefined ? 24 * Number(asked.days) : Number(asked.hours),
  pollMs: 1000 * Number(asked["poll-s"]),
  seed: Number(asked.seed),
  tickMs: 60_000 * Number(asked["tick-min"]),
  troubled: !asked.orderly,
  restarts: !asked.orderly,
  recompute: true,
  ...(server ? { influxUrl: server.url } : {}),
  onProgress: (text) => {
    if (performance.now() - toldMs < 20_000) return;
    toldMs = performance.now();
    print(`  ${text}`);
  },
};
const { comparisons, samples, restarts, seconds, compareSeconds, rssMb } = await prove(setting);
print(`${samples} samples, ${restarts} restarts, RSS ${Math.round(rssMb)} MB`);
print(
  `s: ${Object.entries({ ...seconds, compare: compareSeconds })
    .map(([part, s]) => `${part} ${s.toFixed(1)}`)
    .join(", ")}`,
);
for (const [i, comparison] of comparisons.entries()) {
  const compared = [...comparison.compared].map(([period, n]) => `${n} of ${period}s`).join(", ");
  print(`${i === 0 ? "as they came" : "computed again from the store"}: ${compared}; ${describe(comparison)}`);
}
process.exitCode = comparisons.every(({ wrong, unknown }) => wrong === 0 && unknown.size === 0) ? 0 : 1;
