import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { outboxFault, startWatchdog, type WatchdogOptions } from "./watchdog.ts";

function runs(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
const hasManager = runs("python3", "-c", "import socket") && runs("systemd-notify", "--version");

/** systemd's end of the socket: prints every datagram as a line of JSON. Descriptors that come along (BARRIER=1) are closed, as it would. */
const manager = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print(json.dumps("bound"), flush=True)
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`;

let folder: string;
let children: ChildProcess[];
let messages: string[];
let logged: Record<string, unknown>[];
const log = pino({ level: "info" }, { write: (line: string) => void logged.push(JSON.parse(line)) });
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "jilian-watchdog-"));
  children = [];
  messages = [];
  logged = [];
});
afterEach(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(folder, { recursive: true });
});

const until = (what: string, holds: () => boolean, boundMs = 10_000) =>
  vi.waitFor(() => expect(holds(), `${what}; messages: ${messages.join(" | ")}`).toBe(true), {
    timeout: boundMs,
    interval: 20,
  });

async function startManager(): Promise<string> {
  const path = join(folder, "notify");
  const child = spawn("python3", ["-c", manager, path], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  let rest = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    // The barrier is systemd-notify's own: it waits for it to be read.
    messages.push(...lines.map((line) => JSON.parse(line) as string).filter((text) => text !== "BARRIER=1"));
  });
  await until("the manager listens", () => messages.shift() === "bound");
  return path;
}

const watch = (options: Partial<WatchdogOptions> & Pick<WatchdogOptions, "env">) =>
  startWatchdog({ status: () => "5/6 devices", fault: () => undefined, log, ...options });
const environment = (socket: string, more: Record<string, string> = {}) => ({
  PATH: process.env.PATH,
  NOTIFY_SOCKET: socket,
  ...more,
});

describe.skipIf(!hasManager)("tells systemd", () => {
  test("ready at once, alive at half of the watchdog's time, stopping", async () => {
    const env = environment(await startManager(), { WATCHDOG_USEC: "200000", WATCHDOG_PID: String(process.pid) });
    const watchdog = watch({ env });
    await until("three messages", () => messages.length >= 3);
    expect(messages[0]).toBe("READY=1\nWATCHDOG=1\nSTATUS=5/6 devices");
    await watchdog.stopping();
    await until("the last message", () => messages.at(-1) === "STOPPING=1\nSTATUS=stopping");
    expect(logged).toEqual([]);
  });

  test("nothing of a watchdog that is not set, or is another process's", async () => {
    const socket = await startManager();
    const watchdog = watch({ env: environment(socket) });
    const other = watch({ env: environment(socket, { WATCHDOG_USEC: "200000", WATCHDOG_PID: "1" }) });
    await until("both are ready", () => messages.length === 2);
    await Promise.all([watchdog.close(), other.close()]);
    expect(messages).toEqual(["READY=1\nSTATUS=5/6 devices", "READY=1\nSTATUS=5/6 devices"]);
  });

  test("no sign of life while it is not healthy, once in the log, and again when it has recovered", async () => {
    const env = environment(await startManager(), { WATCHDOG_USEC: "100000" });
    let fault: string | undefined = "the outbox has not been writable for 600 s";
    const watchdog = watch({ env, fault: () => fault });
    await until("three messages", () => messages.length >= 3);
    expect(messages.filter((text) => text.includes("WATCHDOG=1"))).toEqual([]);
    expect(messages[0]).toContain(`STATUS=not healthy: ${fault}; 5/6 devices`);
    expect(logged.map(({ code }) => code)).toEqual(["WATCHDOG_WITHHELD"]);
    fault = undefined;
    await until("a sign of life", () => messages.at(-1)?.includes("WATCHDOG=1") === true);
    await watchdog.close();
  });

  test("of the gateway itself: ready, its state, silence while it stands still, stopping", {
    timeout: 60_000,
  }, async () => {
    const socket = await startManager();
    const config = join(folder, "gateway.yaml");
    writeFileSync(
      config,
      `
group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: 9 }
outbox: { path: outbox.db }
devices:
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: 9, unitId: 1,
      tags: [{ name: temperature, table: holding, address: 0, type: int16, unit: °C }] }
`,
    );
    const env = { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: "400000" };
    const args = [join(import.meta.dirname, "main.ts"), "run", "--config", config];
    const gateway = spawn(process.execPath, args, { env, stdio: "ignore" });
    children.push(gateway);
    await until("signs of life", () => messages.length >= 2, 40_000);
    expect(messages[1]).toMatch(
      /^READY=1\nWATCHDOG=1\nSTATUS=devices connected 0\/1, platform NOT connected, records waiting 0/,
    );
    gateway.kill("SIGSTOP");
    // A message may be under way; from then on silence, for three times the interval.
    await until("nothing for 600 ms", silence(600));
    gateway.kill("SIGCONT");
    const before = messages.length;
    await until("signs of life again", () => messages.length > before);
    gateway.kill("SIGTERM");
    await once(gateway, "exit");
    expect(gateway.exitCode).toBe(0);
    await until("stopping", () => messages.at(-1)?.startsWith("STOPPING=1") === true);
  });
});

/** A condition that holds when no message has come for some time. */
function silence(forMs: number): () => boolean {
  let count = -1;
  let sinceMs = 0;
  return () => {
    if (messages.length !== count) sinceMs = performance.now();
    count = messages.length;
    return performance.now() - sinceMs >= forMs;
  };
}

test("does nothing without systemd", async () => {
  const watchdog = watch({ env: { WATCHDOG_USEC: "1000" }, program: "/nowhere/systemd-notify" });
  await watchdog.stopping();
  await watchdog.close();
  expect(logged).toEqual([]);
});

test("a missing systemd-notify is told once, with what to do", async () => {
  const env = { NOTIFY_SOCKET: join(folder, "none"), WATCHDOG_USEC: "20000" };
  let asked = 0;
  const status = () => `${asked++}`;
  const watchdog = watch({ env, status, program: join(folder, "systemd-notify") });
  await until("several attempts", () => asked > 3);
  await watchdog.close();
  expect(logged).toHaveLength(1);
  expect(logged[0]).toMatchObject({ code: "WATCHDOG_UNAVAILABLE", remedy: expect.stringContaining("Type=simple") });
});

test("an outbox that cannot be written is a fault after its time only, and none once it can be", () => {
  let isWritable = false;
  const now = outboxFault(() => isWritable, 0);
  const later = outboxFault(() => isWritable);
  expect([now(), later()]).toEqual(["the outbox has not been writable for 0 s", undefined]);
  isWritable = true;
  expect([now(), later()]).toEqual([undefined, undefined]);
});
