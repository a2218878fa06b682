/**
 * `npm run bench`: first measurements, no targets. Every figure of the README's table is printed here. Takes about four minutes; compare
 * only figures of one run, and ratios before rates.
 */
import { cpus } from "node:os";
import { hasInfluxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { measureInflux } from "./influx-limit.ts";
import { measureInfluxIngest, measureIngest } from "./ingest-alone.ts";
import { measureDelay, measurePath, type PathRates, type ProcessLine } from "./path.ts";

const print = (line = "") => process.stdout.write(`${line}\n`);
const whole = (n: number) => Math.round(n).toLocaleString("en");

function printProcesses(title: string, lines: readonly ProcessLine[]): void {
  print(`\n${title}\n`);
  print("| process | RSS, MB | CPU, % of one core |");
  print("|---|---:|---:|");
  for (const { name, rssMb, cpuPercent } of lines) print(`| ${name} | ${whole(rssMb)} | ${cpuPercent.toFixed(1)} |`);
}

print(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"})\n`);
print("| what | figure |");
print("|---|---:|");
const ingest = await measureIngest();
print(`| store alone (DuckDB, limit), samples/s | ${whole(ingest.storePerS)} |`);
print(`| ingest alone, payload in to commit notice out, samples/s | ${whole(ingest.ingestPerS)} |`);
print(`| ingest to store, ratio | ${(ingest.ingestPerS / ingest.storePerS).toFixed(2)} |`);
const path = await measurePath(10, 15);
const rates = ({ polledPerS, toldPerS, storedPerS }: PathRates) =>
  `${whole(polledPerS)} + ${whole(toldPerS)}, ${whole(storedPerS)}`;
print(`| whole path on DuckDB: polled over Modbus + told over OPC UA, stored, samples/s | ${rates(path)} |`);
const delay = await measureDelay(40);
const ms = ([median, most]: readonly [number, number]) => `${whole(median)}, ${whole(most)}`;
for (const [protocol, name] of [
  ["modbus", "Modbus, polled every 1000 ms"],
  ["opcua", "OPC UA, collected every 1000 ms"],
] as const) {
  print(
    `| the plant takes a value to stored and readable, ms (median, 99 %; ${name}) | ${ms(delay.storedMs[protocol])} |`,
  );
}
const page = delay.pageMs ? ms(delay.pageMs) : "not measured: no Chromium";
print(`| the same to the wall page, ms (median, 99 %; its stream tells once a second) | ${page} |`);
print(`| readings followed | ${delay.readings} |`);
if (hasInfluxd()) {
  await using server = await startInfluxd();
  const onInflux = await measurePath(10, 15, server.url);
  print(`| whole path on InfluxDB: polled + told, stored, samples/s | ${rates(onInflux)} |`);
}
// From here on this process keeps to one core, and InfluxDB to the other.
const influx = await measureInflux(10);
if (influx) {
  print(`| raw write limit of InfluxDB, lines as we write them, lines/s | ${whole(influx.limitPerS)} |`);
  print(`| raw write limit, one value a line, lines/s | ${whole(influx.valueLimitPerS)} |`);
  print(`| store alone on InfluxDB, samples/s | ${whole(influx.storePerS)} |`);
  print(`| store to the raw limit, ratio | ${(influx.storePerS / influx.limitPerS).toFixed(2)} |`);
  const ingestPerS = await measureInfluxIngest();
  print(`| ingest alone into InfluxDB, samples/s | ${whole(ingestPerS)} |`);
  print(`| ingest to the store on InfluxDB, ratio | ${(ingestPerS / influx.storePerS).toFixed(2)} |`);
} else print("| InfluxDB | not measured: not installed |");
printProcesses("At the demonstration's pace (21 devices polled every 1000 ms):", delay.processes);
printProcesses(`At full load (polled every ${path.pollIntervalMs} ms):`, path.processes);
