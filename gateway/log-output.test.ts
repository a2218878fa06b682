import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { until } from "./cases/scripted-server.ts";
import { logOutput } from "./log-output.ts";
import { programs } from "./test-program.ts";

let folder: string;
let pipe: { read: number; write: number };
const open: number[] = [];
const close = (fd: number): void => {
  if (open.includes(fd)) closeSync(open.splice(open.indexOf(fd), 1)[0] as number);
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "jilian-log-"));
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  pipe = { read, write: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK) };
  open.push(pipe.read, pipe.write);
});
afterEach(() => {
  for (const fd of [...open]) close(fd);
  rmSync(folder, { recursive: true });
});

function fill(): void {
  for (const size of [65_536, 4096, 1])
    try {
      for (;;) writeSync(pipe.write, "x".repeat(size));
    } catch {
      // Full.
    }
}

function taken(): string {
  const bytes = Buffer.alloc(1_000_000);
  let text = "";
  try {
    for (let n = 1; n > 0; ) {
      n = readSync(pipe.read, bytes);
      text += bytes.toString("utf8", 0, n);
    }
  } catch {
    // Empty.
  }
  return text.replaceAll("x", "");
}

test("a pipe that nobody reads holds up nothing, and takes what waited once it is read; what was dropped is counted", async () => {
  using out = logOutput(pipe.write, 20);
  fill();
  for (const line of ["a\n", "b\n", "0123456789\n", "0123456789\n", "c\n"]) out.write(line);
  out.flushSync();
  let text = "";
  const lines = () => {
    text += taken();
    return text.split("\n");
  };
  await until("what waited", () => lines().some((line) => line.includes("dropped")));
  expect(lines().slice(0, 4)).toEqual(["a", "b", "0123456789", "c"]);
  expect(text).toMatch(/"dropped":1,/);
  // A configuration with thousands of faults is one line.
  const long = "d".repeat(30);
  out.write(`${long}\n`);
  await until("the next", () => lines().includes(long));
});

test("a pipe that is closed ends nothing, nor does a medium that is full", async () => {
  close(pipe.read);
  const full = openSync("/dev/full", constants.O_WRONLY);
  open.push(full);
  for (const fd of [pipe.write, full]) {
    using out = logOutput(fd);
    for (let i = 0; i < 3; i += 1) out.write("line\n");
    out.flushSync();
    await new Promise((done) => setImmediate(done));
    out.write("line\n");
    out.flushSync();
  }
});

test("a gateway whose output nobody reads runs, and ends when it is told to", async () => {
  const bench = programs();
  try {
    const file = join(bench.folder, "gateway.yaml");
    writeFileSync(
      file,
      "group: g\nnode: n\nbroker: { host: 127.0.0.1, port: 1 }\noutbox: { path: outbox.db }\ndevices:\n" +
        "  - { id: d, driver: modbus-tcp, host: 127.0.0.1, port: 9, unitId: 1, tags: [{ name: t, table: holding, address: 1, type: int16 }] }\n",
    );
    fill();
    const { child, ended } = bench.start(["run", "--config", file], {}, true, pipe.write);
    await new Promise((ready) => child.once("message", ready));
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  } finally {
    await bench.end();
  }
});
