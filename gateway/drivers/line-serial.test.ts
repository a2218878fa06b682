import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import type { Exchange } from "./line.ts";
import type { SerialLine } from "./line-config.ts";
import { quietMsOf, serialMedium } from "./line-serial.ts";
import { createLine, type SharedLine } from "./line-shared.ts";
import { openTerminals } from "./test-ports.ts";

/** Serial lines on a pair of pseudo-terminals of socat: the driver at one end, at the other whatever the test says. */
const available = spawnSync("socat", ["-V"]).status === 0;
const title = available ? "" : " (skipped: socat is not installed)";
const log = pino({ level: "silent" });
const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "jilian-pty-"));
  closers.push(async () => rmSync(path, { recursive: true }));
  return path;
}

/** A terminal at `path` behind which socat runs, with its other end on this process's pipes: the plug, and its unplugging. */
async function plug(path: string) {
  const child = spawn("socat", ["-d", "-d", `pty,raw,echo=0,link=${path}`, "-"], { stdio: ["pipe", "pipe", "pipe"] });
  const closed = once(child, "close");
  let said = "";
  child.stderr.on("data", (text: Buffer) => {
    said += text.toString("utf8");
  });
  const asked: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => asked.push(chunk));
  child.stdin.on("error", () => undefined);
  await until("socat has its terminal", () => said.includes("starting data transfer"));
  const unplug = async () => {
    child.kill("SIGKILL");
    await closed;
  };
  closers.push(unplug);
  return { unplug, write: (bytes: Buffer) => child.stdin.write(bytes), asked: () => Buffer.concat(asked) };
}

const config = (path: string, over: Partial<SerialLine> = {}): SerialLine => ({
  id: "bus",
  kind: "serial",
  path,
  baudRate: 115_200,
  dataBits: 8,
  parity: "none",
  stopBits: 1,
  turnaroundMs: 0,
  ...over,
});

function lineAt(path: string, over: Partial<SerialLine> = {}): SharedLine {
  const line = createLine("bus", serialMedium(config(path, over)), log);
  closers.push(line.close);
  return line;
}

/** Every byte there is, so that a terminal that is not quite raw changes one of them. */
const allBytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const ask = (over: Partial<Exchange> = {}): Exchange => ({
  device: "meter",
  request: allBytes,
  timeoutMs: 2000,
  signal: never,
  find: (received) => (received.length >= 256 ? received.subarray(0, 256) : undefined),
  ...over,
});

describe.skipIf(!available)(`a serial port${title}`, () => {
  it("carries every byte as it is, both ways, and blocks no thread while it waits", async () => {
    const path = join(folder(), "port");
    const { write, asked } = await plug(path);
    const line = lineAt(path);
    const answer = line.exchange(ask());
    await until("the request is there", () => asked().length === 256);
    expect(process.getActiveResourcesInfo()).toContain("TTYWrap");
    expect(process.getActiveResourcesInfo()).not.toContain("FSReqCallback");
    write(Buffer.from(allBytes).reverse());
    expect(asked()).toEqual(allBytes);
    expect(await answer).toEqual(Buffer.from(allBytes).reverse());
  });

  it("tells at once that its adapter was pulled, and works again when that is back", async () => {
    const path = join(folder(), "port");
    const before = openTerminals();
    const line = lineAt(path);
    await expect(line.exchange(ask())).rejects.toMatchObject({
      code: "LINE_OPEN_FAILED",
      message: "there is no such port",
      address: `line bus (${path})`,
    });
    for (let i = 0; i < 3; i += 1) {
      const { unplug, write, asked } = await plug(path);
      const answered = line.exchange(ask());
      await until("the request is there", () => asked().length === 256);
      write(allBytes);
      await answered;
      const startedMs = performance.now();
      const lost = line.exchange(ask({ timeoutMs: 60_000 }));
      lost.catch(() => undefined);
      await until("the second request is there", () => asked().length === 512);
      await unplug();
      await expect(lost).rejects.toMatchObject({ code: "LINE_LOST" });
      expect(performance.now() - startedMs).toBeLessThan(10_000);
      await expect(line.exchange(ask())).rejects.toMatchObject({ code: "LINE_OPEN_FAILED" });
    }
    expect(line.stats()).toMatchObject({ opens: 3, open: false });
    await until("no descriptor is left", () => openTerminals() <= before);
  });

  it("notices a pull while nothing is asked, and leaves no descriptor when it is closed", async () => {
    const path = join(folder(), "port");
    const before = openTerminals();
    const first = await plug(path);
    const line = lineAt(path);
    const answered = line.exchange(ask());
    await until("the request is there", () => first.asked().length === 256);
    first.write(allBytes);
    await answered;
    await first.unplug();
    await until("it is noticed", () => !line.stats().open);
    const second = await plug(path);
    const again = line.exchange(ask());
    await until("the request is there", () => second.asked().length === 256);
    second.write(allBytes);
    await again;
    await line.close();
    await until("no descriptor is left", () => openTerminals() <= before);
  });

  it("refuses what is no serial port, and settings that the port does not have", async () => {
    const dir = folder();
    const before = openTerminals();
    writeFileSync(join(dir, "file"), "");
    const error = { code: "LINE_OPEN_FAILED", message: "this is no serial port" };
    await expect(lineAt(join(dir, "file")).exchange(ask())).rejects.toMatchObject(error);
    await plug(join(dir, "port"));
    // A pseudo-terminal has no parity, and stty says that it could not set it.
    const refused = { code: "LINE_OPEN_FAILED", message: expect.stringContaining("stty failed") };
    await expect(lineAt(join(dir, "port"), { parity: "even" }).exchange(ask())).rejects.toMatchObject(refused);
    expect(openTerminals()).toBe(before);
  });
});

describe("quietMsOf", () => {
  it.each([
    [{ baudRate: 9600 }, 3.646],
    [{ baudRate: 19_200, parity: "even" }, 2.005],
    [{ baudRate: 1200, stopBits: 2 }, 32.083],
    [{ baudRate: 38_400 }, 1.75],
  ] as const)("of %o is %d ms", (over, quietMs) => {
    expect(quietMsOf(config("/dev/ttyS0", over))).toBeCloseTo(quietMs, 3);
  });
});
