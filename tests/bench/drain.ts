/**
 * `npm run bench:drain [-- --minutes 60 --records-per-second 500 --bytes-per-second 2097152]`: how fast a backlog drains into the embedded
 * store, and what that does to live data. Gateway (outbox and edge node, 1,000 tags/s live) and platform (broker and ingest) are processes
 * of their own. An hour takes about three minutes; the ceilings are the defaults of gateway.yaml.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { drainGateway } from "./drain-setting.ts";
import { usageOf } from "./processes.ts";

type Filled = { records: number; elapsedS: number; bytes: number };
type Drained = {
  backlog: number;
  elapsedS: number;
  openMs: number;
  sentBacklog: number;
  rssBytes: number;
  delaysMs: { drain: number[]; alone: number[] };
};

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    "records-per-second": { type: "string", default: "500" },
    "bytes-per-second": { type: "string", default: "2097152" },
  },
});
const tagsPerS = drainGateway.devices.length * drainGateway.metricsPerDevice;
const outageHours = 72;
const folder = mkdtempSync(join(tmpdir(), "jilian-drain-"));
const children: ChildProcess[] = [];
const whole = (n: number) => Math.round(n).toLocaleString("en");
const print = (line = "") => process.stdout.write(`${line}\n`);

function start(file: string, args: readonly string[]): ChildProcess {
  const program = new URL(file, import.meta.url).pathname;
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  children.push(child);
  return child;
}

/** The one message that a process sends; it must not end before. */
async function told<T>(child: ChildProcess): Promise<T> {
  const ended = once(child, "exit").then(([code]) => Promise.reject(new Error(`ended early with ${code}`)));
  ended.catch(() => undefined);
  const [message] = await Promise.race([once(child, "message"), ended]);
  return message as T;
}

function preparePlatform(): string {
  copyFileSync(new URL("../../deploy/demo/cluster.yaml", import.meta.url), join(folder, "cluster.yaml"));
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: pino({ level: "silent" }) });
  const { group, node, password } = drainGateway;
  ledger.setCredential({ kind: "gateway", name: `${group}/${node}`, group, node }, password);
  ledger.close();
  const file = join(folder, "platform.yaml");
  writeFileSync(file, "dataDir: .\nregistry: cluster.yaml\nlogLevel: warn\nbroker: { port: 0 }\n");
  return file;
}

try {
  const minutes = Number(values.minutes);
  const filled = await told<Filled>(start("./drain-gateway.ts", ["fill", folder, String(minutes * 60)]));
  const platform = start("../../deploy/jilian.ts", ["run", "broker", "ingest", "--config", preparePlatform()]);
  const { brokerPort } = await told<{ brokerPort: number }>(platform);
  const before = usageOf(platform.pid as number);
  const ceilings = [values["records-per-second"], values["bytes-per-second"]];
  const gateway = start("./drain-gateway.ts", ["run", folder, String(brokerPort), ...ceilings]);
  const drained = await told<Drained>(gateway);
  const after = usageOf(platform.pid as number);
  platform.kill("SIGTERM");
  await once(platform, "exit");

  const samples = drained.backlog * drainGateway.metricsPerDevice;
  const perS = samples / drained.elapsedS;
  const ms = ([median = 0, most = 0, max = 0]: readonly number[]) => `${whole(median)}, ${whole(most)}, ${whole(max)}`;
  print(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"})\n`);
  print("| draining a backlog | figure |");
  print("|---|---:|");
  print(`| backlog: ${minutes} minutes at ${whole(tagsPerS)} tags/s, samples | ${whole(samples)} |`);
  print(`| its file, bytes a sample | ${(filled.bytes / samples).toFixed(1)} |`);
  print(
    `| written to disk, samples/s | ${whole((filled.records * drainGateway.metricsPerDevice) / filled.elapsedS)} |`,
  );
  print(`| outbox opened with it, ms | ${whole(drained.openMs)} |`);
  print(`| ceilings, records/s and bytes/s | ${whole(Number(ceilings[0]))}, ${whole(Number(ceilings[1]))} |`);
  print(`| backlog drained beside ${whole(tagsPerS)} live tags/s, samples/s (from the births on) | ${whole(perS)} |`);
  print(`| records of it sent more than once | ${whole(drained.sentBacklog - drained.backlog)} |`);
  print(
    `| live: written to stored and told so, ms (median, 99 %, longest), during the drain | ${ms(drained.delaysMs.drain)} |`,
  );
  print(`| the same with no backlog | ${ms(drained.delaysMs.alone)} |`);
  print(`| gateway, most RSS, MB | ${whole(drained.rssBytes / 2 ** 20)} |`);
  print(`| platform, CPU during it, % of one core | ${whole(((after.cpuS - before.cpuS) / drained.elapsedS) * 100)} |`);
  const hours = (outageHours * 3600 * tagsPerS) / perS / 3600;
  print(`| calculated: ${outageHours} h x ${whole(tagsPerS)} tags/s drained, live going on, h | ${hours.toFixed(1)} |`);
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
