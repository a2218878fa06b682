import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { startScriptedServer } from "../cases/scripted-server.ts";
import {
  hasSerialPymodbus,
  hasSocat,
  noSerialPymodbus,
  plainPeer,
  skipped,
  startPeer,
  startSerialPair,
} from "../drivers/test-peer.ts";
import { probeCommand } from "./probe.ts";
import { call, testIo } from "./test-io.ts";

const opened: { close: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
function closing<T extends { close: () => Promise<void> }>(one: T): T {
  opened.push(one);
  return one;
}
const probe = (path: string, ...args: string[]) =>
  call(probeCommand, ["modbus", path, "--requests-per-second", "1000", ...args]);

describe.skipIf(!hasSerialPymodbus)(`pymodbus on a serial port${skipped(hasSerialPymodbus, noSerialPymodbus)}`, () => {
  test("is found: its units, identification, ranges and values", async () => {
    const { ours, theirs } = closing(await startSerialPair());
    closing(await startPeer(plainPeer, "serial", theirs));
    const args = ["--baud", "115200", "--units", "1-2", "--timeout-ms", "500", "--range", "holding:0-250,coil:0-9"];
    const { code, out, err } = await probe(ours, ...args, "--expect", "1042");
    expect(err).toMatch(new RegExp(`^${ours}, 115200 baud 8N1: at most 1500 requests, 1000 a second, one at a time`));
    expect(err).toContain("Reads only.");
    expect(err).toContain("unit 2 answers");
    expect(out).toContain(`${ours}, 115200 baud 8N1  units that answer: 1, 2  (2 asked, `);
    expect(out).toMatch(/unit 1 {2}vendor pymodbus Simulator/);
    expect(out).toMatch(/holding +0-199; up to 125 registers in one read worked/);
    expect(out).toMatch(/coil +0-9; /);
    expect(out).toMatch(/unit 1 {2}1042 +\{ table: holding, address: 42, type: int16/);
    expect(code).toBe(0);
  });
});

describe.skipIf(!hasSocat)(`a line that does what a script says${skipped(hasSocat, "socat is not installed")}`, () => {
  /** Behind the serial port the script's server, which cuts and writes RTU frames by hand. */
  async function line(rules: Parameters<typeof startScriptedServer>[0]["rules"]) {
    const server = closing(await startScriptedServer({ wire: "rtu", rules }));
    const { ours } = closing(await startSerialPair(`tcp:127.0.0.1:${server.port}`));
    return { ours, server };
  }

  test("nobody answers: what to check is said, each unit costs its time-out, and the budget holds", async () => {
    const { ours, server } = await line([{}]);
    const { code, out } = await probe(ours, "--units", "1-20", "--timeout-ms", "20", "--max-requests", "7");
    expect(code).toBe(1);
    expect(out).toContain("no unit answers  (20 asked, 7 requests)");
    expect(out).toContain("--baud, --parity and --stop-bits");
    expect(out).toContain("the budget of 7 requests is used up");
    expect(server.requests).toHaveLength(7);
  });

  test("a late answer is not taken for that to the next request; what tells them apart counts, and keeps to the rate", async () => {
    // Register 9 is answered once, after its time-out, with what it does not hold, when it has been asked again; and then never.
    const { ours, server } = await line([
      { when: "03 0008 0002" },
      { when: "03 0009 0001", times: 1, delayMs: 300, send: ["UU 03 02 dead CRC"] },
      { when: "03 0009 0001" },
      { when: "03", send: ["addresses"] },
      { when: "2b", send: ["UU AB 01 CRC"] },
    ]);
    const args = ["--units", "1", "--range", "holding:8-9", "--timeout-ms", "200", "--expect", "57005,8"];
    const { out } = await call(probeCommand, ["modbus", ours, "--requests-per-second", "5", ...args]);
    expect(out).toContain("57005: nothing that was read gives this value");
    expect(out).toMatch(/unit 1 {2}8 +\{ table: holding, address: 8,/);
    expect(Number(/, (\d+) requests\)/.exec(out)?.[1])).toBe(server.requests.length);
    // But the first, which waited for the port to be opened.
    const [, ...sent] = server.requests;
    const gapsMs = sent.slice(1).map(({ atMs }, i) => atMs - (sent[i]?.atMs ?? 0));
    expect(gapsMs.length).toBeGreaterThan(3);
    expect(Math.min(...gapsMs)).toBeGreaterThan(150);
    expect(server.requests.every(({ pdu }) => /^(03|2b0e)/.test(pdu))).toBe(true);
  });

  test("is waited for as long as a whole answer takes at its speed", async () => {
    // 255 characters at 1200 baud are 2.1 s, far beyond the time-out; here the answer comes after 600 ms.
    const { ours } = await line([
      { when: "03 0000 007d", delayMs: 600, send: ["addresses"] },
      { when: "03", send: ["addresses"] },
      { when: "2b", send: ["UU AB 01 CRC"] },
    ]);
    const args = ["--baud", "1200", "--units", "1", "--range", "holding:0-124", "--timeout-ms", "100"];
    const { code, out } = await probe(ours, ...args);
    expect([code, out]).toEqual([0, expect.stringMatching(/holding +0-124; up to 125 registers/)]);
  });

  test("Ctrl-C shows what was found; an adapter that is pulled ends it, and so does a port that is not there", async () => {
    const { ours, server } = await line([{ unit: 1, when: "03", send: ["addresses"] }, {}]);
    const stop = new AbortController();
    const io = testIo("", { signal: stop.signal });
    const going = call(probeCommand, ["modbus", ours, "--timeout-ms", "300"], {
      ...io,
      complain: (text) => {
        if (text.startsWith("unit 1 answers")) stop.abort();
      },
    });
    const { code, out } = await going;
    expect([code, out]).toEqual([0, expect.stringContaining("units that answer: 1  (247 asked")]);
    expect(out).toContain("unit 1  answers; it was not looked at\nNot everything was looked at: ended by Ctrl-C.");

    const pulled = testIo();
    const cut = await call(probeCommand, ["modbus", ours, "--timeout-ms", "100"], {
      ...pulled,
      complain: (text) => {
        pulled.complain(text);
        if (text.startsWith("unit 1 answers")) void server.close();
      },
    });
    expect(cut.out).toContain("units that answer: 1  (247 asked");
    expect(cut.out).toMatch(/Not everything was looked at: LINE_OPEN_FAILED/);

    const none = await probe("/dev/jilian-no-such-port");
    expect(none).toMatchObject({
      code: 1,
      out: "",
      err: expect.stringMatching(/LINE_OPEN_FAILED.*there is no such port/),
    });
  });
});

test("a port that another process has open is refused before anything is asked, and one that is no port", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jilian-probe-"));
  const path = join(folder, "port");
  writeFileSync(path, "");
  const hold = 'require("node:fs").openSync(process.argv[1], "r"); console.log("open"); setInterval(() => {}, 1000)';
  const child = spawn(process.execPath, ["-e", hold, path], { stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(child, "close");
  try {
    await once(child.stdout, "data");
    const { code, out, err } = await probe(path);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(/port, 9600 baud 8N1: process \d+ has this port open\n {2}remedy: end it/);
    expect(err).toContain(`process ${child.pid} has`);
    child.kill("SIGKILL");
    await closed;
    expect(await probe(path)).toMatchObject({ code: 1, err: expect.stringContaining("this is no serial port") });
  } finally {
    child.kill("SIGKILL");
    await closed;
    rmSync(folder, { recursive: true });
  }
});

test("wrong arguments of a serial port are told", async () => {
  const wrong: [string[], RegExp][] = [
    [["modbus", "/dev/ttyS0", "--baud", "9601"], /--baud: expected one of 300, /],
    [["modbus", "/dev/ttyS0", "--baud", ""], /--baud: expected/],
    [["modbus", "/dev/ttyS0", "--parity", "mark"], /--parity: expected one of none, even, odd/],
    [["modbus", "/dev/ttyS0", "--stop-bits", "3"], /--stop-bits: expected 1 or 2/],
    [["modbus", "/dev/ttyS0", "--units", "0-3"], /on a serial line units are 1-247/],
    [["modbus", "/dev/ttyS0", "--units", "240-250"], /on a serial line units are 1-247/],
    [["modbus", "plc", "--baud", "9600"], /--baud is of a serial port, and "plc" is none/],
    [["modbus", "dev/ttyS0"], /is no HOST, HOST:PORT or path/],
  ];
  for (const [args, why] of wrong) {
    const { code, err } = await call(probeCommand, args);
    expect([args, code, err]).toEqual([args, 2, expect.stringMatching(why)]);
  }
});
