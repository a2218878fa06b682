/** An independent peer: a meter of the Python package `dlt645` (github.com/600888/dlt645), which shares nothing with driver or simulator. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { statusName } from "@jilian/domain/quality.ts";
import { createDlt645Driver } from "@jilian/gateway/drivers/dlt645.ts";
import { createLine } from "@jilian/gateway/drivers/line-shared.ts";
import { tcpMedium } from "@jilian/gateway/drivers/line-socket.ts";
import pino from "pino";
import { afterEach, expect, it } from "vitest";
import { dlt645Device, meterAddress } from "./test-dlt645.ts";

const SCRIPT = `
import socket, sys
from dlt645 import MeterServerService
free = socket.socket(); free.bind(("127.0.0.1", 0)); port = free.getsockname()[1]; free.close()
meter = MeterServerService.new_tcp_server("127.0.0.1", port, 3000)
meter.set_address(bytes.fromhex(sys.argv[1])[::-1])
assert meter.set_00(0x00010000, 123456.78) and meter.set_00(0x00010100, 0.01) and meter.set_00(0x00000000, -50.25)
for di, value in [(0x02010100, 230.1), (0x02010200, 229.9), (0x02020100, -1.5), (0x02030000, -12.3456), (0x02060000, -0.5), (0x02800002, 49.98)]:
    assert meter.set_02(di, value)
meter.start()
print("port", port, flush=True)
sys.stdin.read()
`;

const log = pino({ level: "silent" });
const never = new AbortController().signal;
const available = spawnSync("python3", ["-c", "import dlt645"]).status === 0;
const title = available
  ? ""
  : " (skipped: python3 cannot import dlt645; install it with python3 -m pip install dlt645)";
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

it.skipIf(!available)(`the driver reads what an independent meter holds${title}`, async () => {
  const peer = spawn("python3", ["-c", SCRIPT, meterAddress], { stdio: ["pipe", "pipe", "ignore"] });
  const ended = once(peer, "close");
  closers.push(async () => {
    peer.kill();
    await ended;
  });
  let said = "";
  peer.stdout.on("data", (text: Buffer) => {
    said += text.toString("utf8");
  });
  await expect.poll(() => /port \d+/.test(said)).toBe(true);
  const port = Number(/port (\d+)/.exec(said)?.[1]);
  const line = createLine(
    "east",
    tcpMedium({ id: "east", kind: "tcp", host: "127.0.0.1", port, quietMs: 1, turnaroundMs: 0 }, log),
    log,
  );
  const expected: readonly (readonly [dataId: string, value: unknown])[] = [
    ["00010000", 12_345_678],
    ["00010100", 1],
    ["00000000", -5025],
    ["02010100", 2301],
    ["02010200", 2299],
    ["02020100", -1500],
    ["02030000", -123_456],
    ["02060000", -500],
    ["02800002", 4998],
    ["02990000", "BadNodeIdUnknown"],
  ];
  const tags = expected.map(([dataId]) => `dataId: "${dataId}"${dataId === "02990000" ? ", format: XXXX" : ""}`);
  const driver = createDlt645Driver(dlt645Device(tags, "timeoutMs: 2000"), { line, log });
  closers.push(line.close, driver.close);
  expect(await driver.connect(never)).toEqual({ simulated: false });
  const readings = (await driver.read(never)).toSorted((a, b) => a.tag - b.tag);
  const shown = readings.map(({ tag, value, status }) => [expected[tag]?.[0], value ?? statusName(status)]);
  expect(shown).toEqual(expected);
});
