import { execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { systemClock } from "@jilian/domain/clock.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ScriptedServer, startScriptedServer } from "./cases/scripted-server.ts";
import { type Refusal, readSetting } from "./commands/setting.ts";
import { reloadOnChange } from "./reload-watch.ts";
import { startGateway } from "./run.ts";
import { readSettingAside } from "./setting-aside.ts";

let folder: string;
let file: string;
let plc: ScriptedServer;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "jilian-aside-"));
  file = join(folder, "gateway.yaml");
  plc = await startScriptedServer({ rules: [{ when: "03", send: ["addresses"] }] });
});
afterEach(async () => {
  await plc.close();
  rmSync(folder, { recursive: true });
});
// The long way of a check is what is measured against.
vi.setConfig({ testTimeout: 120_000 });

const refusal: Refusal = (text) => {
  throw new Error(text);
};
const never = new AbortController().signal;
const tag = (name: string, address: number) => `{ name: ${name}, table: holding, address: ${address}, type: int16 }`;
const device = (id: string, unit: number, tags: readonly string[]) => `  - id: ${id}
    driver: modbus-tcp
    host: 127.0.0.1
    port: ${plc.port}
    unitId: ${unit}
    pollIntervalMs: 20
    heartbeatMs: 20
    tags:
${tags.map((one) => `      - ${one}`).join("\n")}
`;
/** A device with one tag, and others with many. @param last address of the very last tag */
function text(devices: number, last = 999, count = 1000): string {
  const addresses = [...Array(count - 1).keys(), last];
  const tags = addresses.map((address, i) => tag(`t${i}`, address));
  const many = Array.from({ length: devices }, (_, i) => device(`d${i}`, i + 2, tags));
  const head = "group: factory-1\nnode: gateway-1\nbroker: { host: 127.0.0.1, port: 1 }\noutbox: { path: outbox.db }\n";
  return `${head}history: false\ndevices:\n${device("press", 1, [tag("level", 7)])}${many.join("")}`;
}

async function said(reading: Promise<unknown>): Promise<string> {
  return reading.then(() => "taken", messageOf);
}

/** Changes the file until that is noticed: what is written before the first look at it is no change. */
async function changeTo(changed: string, noticed: () => void): Promise<void> {
  writeFileSync(file, changed);
  await vi.waitFor(
    () => {
      try {
        noticed();
      } catch (thrown) {
        appendFileSync(file, "#\n");
        throw thrown;
      }
    },
    { timeout: 20_000, interval: 300 },
  );
}

test("a file says the same in a process of its own: the configuration, or every fault", async () => {
  writeFileSync(join(folder, "secret"), "pass\n");
  const secret = text(1, 999, 300).replace("port: 1 }", "port: 1, username: u, passwordFile: secret }");
  writeFileSync(file, secret);
  const { printed, ...setting } = await readSetting(file, false, refusal);
  expect(setting.config.broker.password).toBe("pass");
  expect(setting.warnings).not.toEqual([]);
  expect(await readSettingAside(file, refusal, never)).toStrictEqual({ ...setting, printed: "" });
  const shown = await readSettingAside(file, refusal, never, { wanted: "print" });
  expect(shown).toStrictEqual({ ...setting, printed: printed() });
  const wrong = secret.replace("passwordFile: secret", "passwordFile: none").replace("address: 5,", "address: x,");
  writeFileSync(file, wrong);
  const faults = await said(readSetting(file, false, refusal));
  writeFileSync(file, secret.replace("passwordFile: secret", "passwordFile: none"));
  const { notes } = await readSettingAside(file, refusal, never, { wanted: "check" });
  expect(notes).toEqual([expect.stringContaining("/broker/passwordFile")]);
  writeFileSync(file, wrong);
  expect(faults).toContain("/devices/1/tags/5/address");
  expect(faults).toContain("/broker/passwordFile");
  expect(await said(readSettingAside(file, refusal, never))).toBe(faults);
});

test.each([
  ["is not there", "none"],
  ["is refused at once", "no\0ne"],
])("is read in the gateway itself where a process %s", async (_what, program) => {
  writeFileSync(file, text(0));
  const { printed: _, ...setting } = await readSetting(file, false, refusal);
  const { execPath } = process;
  process.execPath = join(folder, program);
  try {
    expect(await readSettingAside(file, refusal, never)).toStrictEqual({ ...setting, printed: "" });
  } finally {
    process.execPath = execPath;
  }
});

test("the process ends with the gateway, which is no fault of the file", async () => {
  writeFileSync(file, text(1, 70_000));
  const ending = new AbortController();
  const reading = said(readSettingAside(file, refusal, ending.signal));
  ending.abort();
  expect(await reading).toContain("not read to its end");
  expect(await said(readSettingAside(file, refusal, ending.signal))).toContain("not read to its end");

  writeFileSync(file, text(0));
  const log: string[] = [];
  const told = pino({ level: "error" }, { write: (line: string) => void log.push(line) });
  const reads: Promise<string>[] = [];
  const running = new AbortController();
  const read = () => {
    const one = readSettingAside(file, refusal, running.signal);
    reads.push(said(one));
    return one.then(({ config }) => config);
  };
  const gateway = { reload: () => Promise.reject(new Error("nothing is to be taken")) };
  const reloads = reloadOnChange({ file, read, gateway, log: told, everyMs: 20 });
  await changeTo(text(1, 70_000), () => expect(reads).not.toEqual([]));
  reloads[Symbol.dispose]();
  running.abort();
  expect(await Promise.all(reads)).toEqual([expect.stringContaining("not read to its end")]);
  expect(log).toEqual([]);
});

test.runIf(process.platform === "linux")("the process ends once it has told, whatever else runs in it", async () => {
  writeFileSync(file, text(0));
  // As a monitor that is loaded into every program of a machine; node --watch has each process tell what it loads.
  vi.stubEnv("NODE_OPTIONS", "--import=data:text/javascript,process.send('hello');setInterval(()=>{},50)");
  vi.stubEnv("WATCH_REPORT_DEPENDENCIES", "1");
  try {
    expect((await readSettingAside(file, refusal, never)).config.node).toBe("gateway-1");
    await vi.waitFor(() => expect(childrenOn(file)).toEqual([]), { timeout: 5000, interval: 50 });
  } finally {
    vi.unstubAllEnvs();
    for (const pid of childrenOn(file)) process.kill(Number(pid), "SIGKILL");
  }
});

/** Processes that this one started and that are there, by what they were started with. */
function childrenOn(path: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(path);
    } catch {
      return false;
    }
  });
}

test.runIf(process.platform === "linux")(
  "a file that nobody ever writes is given up: the configuration in use stays, and the next change is read",
  async () => {
    const pipe = join(folder, "pipe.yaml");
    execFileSync("mkfifo", [pipe]);
    const late = { code: "CONFIG_UNREAD", remedy: expect.stringContaining("disk of this box") };
    await expect(readSettingAside(pipe, refusal, never, { boundMs: 1500 })).rejects.toMatchObject(late);
    await vi.waitFor(() => expect(childrenOn(pipe)).toEqual([]), 10_000);

    writeFileSync(file, text(0));
    const log: { code: string; remedy?: string }[] = [];
    const told = pino({ level: "error" }, { write: (line: string) => void log.push(JSON.parse(line)) });
    const taken: string[] = [];
    const reload = ({ node }: { node: string }) => {
      taken.push(node);
      return Promise.reject(new Error("taken"));
    };
    const read = () => readSettingAside(file, refusal, never, { boundMs: 5000 }).then(({ config }) => config);
    using _ = reloadOnChange({ file, read, gateway: { reload }, log: told, everyMs: 20 });
    unlinkSync(file);
    execFileSync("mkfifo", [file]);
    await vi.waitFor(() => expect(log).toMatchObject([late]), { timeout: 20_000, interval: 50 });
    unlinkSync(file);
    writeFileSync(file, text(0).replace("gateway-1", "gateway-2"));
    await vi.waitFor(() => expect(taken).toEqual(["gateway-2"]), { timeout: 20_000, interval: 50 });
  },
);

const waits = [
  ["run", "SIGTERM"],
  ["run", "SIGHUP"],
  ["run", "SIGKILL"],
  ["run", "the end of its parent"],
  ["check", "SIGTERM"],
  ["read", "SIGINT"],
  ["status", "SIGKILL"],
] as const;
test.runIf(process.platform === "linux").each(waits)(
  "%s that waits for its file leaves no process behind: %s",
  async (command, why) => {
    const pipe = join(folder, "start.yaml");
    execFileSync("mkfifo", [pipe]);
    const started = fork(join(import.meta.dirname, "main.ts"), [command, "--config", pipe], { stdio: "ignore" });
    const exited = once(started, "exit");
    await vi.waitFor(() => expect(childrenOn(pipe)).toHaveLength(2), { timeout: 20_000, interval: 50 });
    if (why === "the end of its parent") started.disconnect();
    else started.kill(why);
    try {
      await vi.waitFor(() => expect(childrenOn(pipe)).toEqual([]), { timeout: 5000, interval: 50 });
      expect(await exited).toEqual(why === "the end of its parent" ? [0, null] : [null, why]);
    } finally {
      for (const pid of childrenOn(pipe)) process.kill(Number(pid), "SIGKILL");
    }
  },
);

test.runIf(process.platform === "linux")("a command gives up a file that never comes, and says so", async () => {
  const pipe = join(folder, "command.yaml");
  execFileSync("mkfifo", [pipe]);
  const reader = join(import.meta.dirname, "commands", "setting-read.ts");
  const program = `(await import(${JSON.stringify(reader)})).readForCommand(process.argv[1], "check", { boundMs: 1000 })`;
  const args = ["--input-type=module", "-e", program, pipe];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  expect(await once(child, "close")).toEqual([1, null]);
  expect(said).toMatch(
    /^CONFIG_UNREAD: .*command\.yaml: not read and checked within 1000 ms\n {2}remedy: put it on a disk/,
  );
  await vi.waitFor(() => expect(childrenOn(pipe)).toEqual([]), { timeout: 5000, interval: 50 });
});

test.runIf(process.platform === "linux")("a command reads what is piped into it", async () => {
  const main = join(import.meta.dirname, "main.ts");
  writeFileSync(file, text(0));
  const told = execFileSync("sh", ["-c", 'cat "$1" | "$2" "$3" check /dev/stdin', "", file, process.execPath, main]);
  expect(String(told)).toContain("/dev/stdin: no fault. 1 devices.");
});

describe("a gateway that runs", () => {
  test("reads its devices on while a large file is checked, whatever is wrong in it", async () => {
    writeFileSync(file, text(1, 70_000));
    const fromMs = performance.now();
    await said(readSetting(file, false, refusal));
    const blockedMs = performance.now() - fromMs;

    writeFileSync(file, text(0));
    const log: string[] = [];
    const { config } = await readSetting(file, false, refusal);
    await using gateway = startGateway(config, { log: pino({ level: "silent" }), clock: systemClock });
    await vi.waitFor(() => expect(plc.requests.length).toBeGreaterThan(3), 10_000);
    const told = pino({ level: "error" }, { write: (line: string) => void log.push(line) });
    let reads = 0;
    const read = () => {
      reads += 1;
      return readSettingAside(file, refusal, never).then(({ config }) => config);
    };
    using _ = reloadOnChange({ file, read, gateway, log: told, everyMs: 40 });
    const delay = monitorEventLoopDelay({ resolution: 5 });
    const before = plc.requests.length;
    delay.enable();
    await changeTo(text(1, 70_000), () => expect(reads).toBeGreaterThan(0));
    await vi.waitFor(() => expect(log.join("\n")).toContain("/devices/1/tags/999/address"), 60_000);
    delay.disable();
    expect(plc.requests.length - before).toBeGreaterThan(10);
    expect(delay.max / 1e6).toBeLessThan(blockedMs / 3);
  });
});
