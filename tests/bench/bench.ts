/**
 * `npm run bench`: first measurements, no targets. Every figure of the README's table is printed here. Takes about two minutes; compare
 * only figures of one run, and ratios before rates.
 */
import { cpus } from "node:os";
import { measureIngest } from "./ingest-alone.ts";
import { measureDelay, measurePath, type ProcessLine } from "./path.ts";

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
print(
  `| whole path, offered (21 devices polled every ${path.pollIntervalMs} ms), samples/s | ${whole(path.offeredPerS)} |`,
);
print(`| whole path, register to store, samples/s | ${whole(path.storedPerS)} |`);
const delay = await measureDelay(40);
print(
  `| register takes its value to stored and readable, ms (median, 99 %; polled every 1000 ms) | ${whole(delay.storedMs[0])}, ${whole(delay.storedMs[1])} |`,
);
const page = delay.pageMs ? `${whole(delay.pageMs[0])}, ${whole(delay.pageMs[1])}` : "not measured: no Chromium";
print(`| the same to the wall page, ms (median, 99 %; the page asks every 1000 ms) | ${page} |`);
print(`| readings followed | ${delay.readings} |`);
printProcesses("At the demonstration's pace (21 devices polled every 1000 ms):", delay.processes);
printProcesses(`At full load (polled every ${path.pollIntervalMs} ms):`, path.processes);
