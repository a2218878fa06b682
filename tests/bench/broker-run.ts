/** Starts the brokers and the processes beside them, each kept to a core. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "@jilian/deploy/demo/prepare.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { type BrokerName, group, hearerName, idleAccounts, publishers, secretOf } from "./broker-setting.ts";

export const brokerCore = 0;
export const clientCore = 1;

export type Started = { pid: number; ask: <T>(question: string | number) => Promise<T>; end: () => Promise<void> };
export type StartedBroker = Started & { port: number; tlsPort: number };

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  if (child.connected) child.disconnect();
  else child.kill(signal);
  await exit;
}

/** One of ours, by Node on one core; resolves with what it tells first. */
export async function helper<T>(core: number, flags: readonly string[], file: string, ...words: unknown[]) {
  const program = [process.execPath, ...flags, join(import.meta.dirname, file), ...words.map(String)];
  const child = spawn("taskset", ["-c", String(core), ...program], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const gone = once(child, "exit").then(([code]) => Promise.reject(new Error(`${file} ended with ${code}`)));
  gone.catch(() => undefined);
  const told = async <A>() => (await Promise.race([once(child, "message"), gone]))[0] as A;
  const first = await told<T>();
  const ask = <A>(question: string | number) => {
    child.send(question);
    return told<A>();
  };
  return { first, pid: child.pid as number, ask, end: () => ended(child, "SIGTERM") };
}

/** Accounts of all clients for both brokers, in one folder. */
export function prepare(folder: string): void {
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: pino({ level: "silent" }) });
  for (const node of publishers)
    ledger.setCredential({ kind: "gateway", name: `${group}/${node}`, group, node }, secretOf(node));
  for (const name of [hearerName, ...idleAccounts]) ledger.setCredential({ kind: "host", name }, secretOf(name));
  ledger.close();
  const passwords = join(folder, "passwords");
  const names = [...publishers, hearerName, ...idleAccounts];
  writeFileSync(passwords, names.map((name) => `${name}:${secretOf(name)}\n`).join(""));
  execFileSync("mosquitto_passwd", ["-U", passwords]);
  chmodSync(passwords, 0o600);
  // What a gateway and a host may do, as docs/contracts.md has it, as far as mosquitto can say it.
  const gateway = ["pattern write spBv1.0/+/+/%u/#", "pattern read spBv1.0/+/NCMD/%u"];
  const host = [`user ${hearerName}`, "topic read spBv1.0/#", "topic write spBv1.0/+/NCMD/+"];
  writeFileSync(join(folder, "acl"), `${[...host, ...gateway].join("\n")}\n`);
}

async function mosquitto(folder: string, isTls: boolean): Promise<StartedBroker> {
  const [port, tlsPort] = [await freePort(), await freePort()];
  const own = (name: string) => join(folder, name);
  const lines = [
    `user ${userInfo().username}`,
    "persistence false",
    "allow_anonymous false",
    `password_file ${own("passwords")}`,
    `acl_file ${own("acl")}`,
    // By default it drops what is beyond 1,000 messages for a subscriber, and has 20 under way with QoS 1.
    "max_queued_messages 0",
    "max_inflight_messages 0",
    // With TLS it would tell each client that ends; ours tells nothing of that either.
    ...(isTls ? ["log_dest none"] : ["log_dest stderr", "log_type error"]),
    `listener ${port} 127.0.0.1`,
    ...(isTls
      ? [`listener ${tlsPort} 127.0.0.1`, `certfile ${own("ca/broker.pem")}`, `keyfile ${own("ca/broker.key")}`]
      : []),
  ];
  writeFileSync(own("mosquitto.conf"), `${lines.join("\n")}\n`);
  const words = ["-c", String(brokerCore), "mosquitto", "-c", own("mosquitto.conf")];
  const child = spawn("taskset", words, { stdio: ["ignore", "inherit", "inherit"] });
  for (let tries = 0; !(await isListening(port)); tries += 1) {
    if (child.exitCode !== null || tries > 250) throw new Error("mosquitto does not start");
    await delay(20);
  }
  const ask = () => Promise.reject(new Error("mosquitto answers nothing"));
  return { pid: child.pid as number, port, tlsPort, ask, end: () => ended(child, "SIGTERM") };
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** @param flags of Node, for ours */
export async function start(
  name: BrokerName,
  folder: string,
  flags: readonly string[],
  isTls = false,
): Promise<StartedBroker> {
  if (name === "mosquitto") return mosquitto(folder, isTls);
  const { first, ...ours } = await helper<{ port: number; tlsPort: number }>(
    brokerCore,
    flags,
    "broker-ours.ts",
    folder,
  );
  return { ...ours, ...first };
}
