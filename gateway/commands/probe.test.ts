import { createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { startScriptedServer } from "../cases/scripted-server.ts";
import { type Memory, startTestDevice, type TestDevice } from "../probe/test-device.ts";
import { programs } from "../test-program.ts";
import { probeCommand, readHost, readRanges, readUnits } from "./probe.ts";
import { call, testIo } from "./test-io.ts";

const opened: { close: () => unknown }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

async function device(...given: Parameters<typeof startTestDevice>): Promise<TestDevice> {
  const one = await startTestDevice(...given);
  opened.push(one);
  return one;
}

const probe = (port: number, ...args: string[]) =>
  call(probeCommand, ["modbus", `127.0.0.1:${port}`, "--requests-per-second", "1000", ...args]);

/** Words of a float32, most significant first. */
function float(value: number): number[] {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatBE(value);
  return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)];
}
const row = (length: number, word = 7) => Array.from({ length }, () => word);

const meter: Memory = {
  // Register pairs exchanged (CDAB): 229.9 V, 230.4 V, 50.02 Hz.
  holding: { 100: [...float(229.9).reverse(), ...float(230.4).reverse(), ...float(50.02).reverse()], 1003: row(300) },
  input: { 0: [2301, 0, 5002, 65_535] },
  most: 40,
  identity: ["Acme", "PM-5", "V1.2"],
};

describe("finds", () => {
  test("units, identification, readable ranges with holes, the largest read; one request at a time, and none that writes", async () => {
    const { port, requests, counts } = await device({ 3: meter, 17: { holding: { 0: row(200) } } });
    const { code, out, err } = await probe(port, "--units", "1-5,17", "--timeout-ms", "80");
    expect(code).toBe(0);
    expect(out).toContain("units that answer: 3, 17  (6 asked, ");
    expect(out).toMatch(/unit 3 {2}vendor Acme, product PM-5, revision V1\.2/);
    expect(out).toMatch(/holding +100-105, 1003-1302; at most 40 registers in one read\n/);
    expect(out).toMatch(/input +0-3; up to 4 registers in one read worked\n/);
    expect(out).toMatch(/coil +nothing readable found: exception 1, illegal function/);
    expect(out).toMatch(/unit 17 {2}tells no vendor\n {2}holding +0-199; up to 125 registers/);
    expect(out).not.toContain("Not everything");
    expect(err).toMatch(/^127\.0\.0\.1:\d+: at most 1500 requests, 1000 a second, one at a time: up to 2 s, and 80 ms/);
    expect(err).toContain("unit 3 answers (exception 2, illegal data address)");
    const functions = new Set(requests.map(({ pdu }) => (pdu.startsWith("2b") ? pdu.slice(0, 4) : pdu.slice(0, 2))));
    expect([...functions].sort()).toEqual(["01", "02", "03", "04", "2b0e"]);
    expect(counts).toEqual({ maxOpen: 1, maxInFlight: 1 });
    expect(Number(/, (\d+) requests\)/.exec(out)?.[1])).toBe(requests.length);
  });

  test("two ranges with a hole between two tries, and a long one whose end was only sampled", async () => {
    const { port } = await device({ 1: { holding: { 203: row(32), 240: row(30), 500: row(6000) } } });
    const { out } = await probe(port, "--units", "1");
    expect(out).toMatch(/holding +203-234, 240-269, 500-6499 \(from 3000 on only some were tried\); up to 125/);
  });

  test("a given range exactly, over its holes", async () => {
    const { port, requests } = await device({ 1: { holding: { 10: row(3), 15: row(2), 40: row(1) } } });
    const { code, out } = await probe(port, "--units", "1", "--range", "holding:8-39");
    expect(code).toBe(0);
    expect(out).toMatch(/holding +10-12, 15-16; /);
    expect(requests.every(({ pdu }) => !pdu.startsWith("04"))).toBe(true);
  });

  test("no unit behind a serial gateway that says so; every unit of a device that does not look at the id", async () => {
    const none = await device({}, { absent: "exception" });
    expect(await probe(none.port, "--units", "1-3")).toMatchObject({
      code: 1,
      out: expect.stringContaining("no unit answers  (3 asked, 3 requests)"),
    });
    const memory: Memory = { holding: { 0: [1] } };
    const all = await device({ 1: memory, 2: memory, 3: memory, 4: memory, 5: memory });
    const { out } = await probe(all.port, "--units", "1-5", "--range", "holding:0");
    expect(out).toContain("may not look at the unit id");
  });
});

describe("an expected value", () => {
  test("in exchanged register pairs is found with its order, before what only looks like it", async () => {
    const { port } = await device({ 1: meter });
    const { code, out } = await probe(port, "--units", "1", "--range", "holding:100-105", "--expect", "230.1,50.02");
    expect(code).toBe(0);
    const [first = "", second = ""] = out.split("\n\n").slice(1);
    expect(first.split("\n").slice(1, 3).sort()).toEqual([
      expect.stringContaining("229.9      { table: holding, address: 100, type: float32, order: CDAB }"),
      expect.stringContaining("230.4      { table: holding, address: 102, type: float32, order: CDAB }"),
    ]);
    expect(second.split("\n")[1]).toContain("50.02      { table: holding, address: 104, type: float32, order: CDAB }");
  });

  test("in a scaled integer is found with its factor; without one that fits it is code 1", async () => {
    const { port } = await device({ 1: meter });
    const found = await probe(port, "--units", "1", "--range", "input:0-3", "--expect", "230.1");
    expect(found.out.split("\n").slice(-20).join("\n")).toContain(
      "{ table: input, address: 0, type: int16, order: ABCD, scale: { numerator: 1, denominator: 10 } }  (uint16 as well)",
    );
    const none = await probe(port, "--units", "1", "--range", "input:0-3", "--expect", "77");
    expect(none).toMatchObject({ code: 1, out: expect.stringContaining("77: nothing that was read gives this value") });
  });
});

describe("keeps its bounds", () => {
  test("of requests: it says what was not looked at", async () => {
    const { port, requests } = await device({ 1: meter, 2: meter });
    const { code, out } = await probe(port, "--units", "1-2", "--max-requests", "50");
    expect(code).toBe(0);
    expect(requests.length).toBeLessThanOrEqual(50);
    expect(out).toContain("not looked through to its end");
  });

  test("of requests a second", async () => {
    const { port, requests } = await device({ 1: { holding: { 0: row(10) } } });
    await call(probeCommand, [
      "modbus",
      `127.0.0.1:${port}`,
      "--units",
      "1",
      "--range",
      "holding:0-20",
      "--requests-per-second",
      "50",
    ]);
    const tookMs = (requests.at(-1)?.atMs ?? 0) - (requests[0]?.atMs ?? 0);
    expect(requests.length).toBeGreaterThan(10);
    // A timer may fire early by a fraction of a millisecond.
    expect(tookMs).toBeGreaterThan((requests.length - 1) * 19);
  });

  test("a unit that stays silent in the middle is given up, and the next one is examined", async () => {
    const server = await startScriptedServer({
      rules: [
        { unit: 1, when: "03 0000 0001", send: ["TTTT 0000 0005 UU 03 02 0001"], times: 1 },
        { unit: 1, send: [] },
        { unit: 2, when: "03 0000", send: ["addresses"] },
        { unit: 2, when: "2b", send: ["TTTT 0000 0003 UU AB 01"] },
      ],
    });
    opened.push(server);
    const { code, out } = await probe(server.port, "--units", "1-2", "--timeout-ms", "50", "--range", "holding:0-9");
    expect(code).toBe(0);
    expect(out).toMatch(/unit 1 .*\n {2}holding +nothing readable found; stayed silent, given up/);
    expect(out).toMatch(/unit 2 .*\n {2}holding +0-9; /);
  });

  test("Ctrl-C ends it with what was found so far", async () => {
    const { port, requests } = await device({ 1: meter });
    const stopping = new AbortController();
    const io = testIo("", { signal: stopping.signal });
    const command = { ...io, complain: (line: string) => line.includes("unit 1 holding") && stopping.abort() };
    const code = await probeCommand(
      ["modbus", `127.0.0.1:${port}`, "--units", "1", "--requests-per-second", "1000"],
      command,
    );
    expect(code).toBe(0);
    expect(io.out.join("\n")).toContain("Not everything was looked at: ended by Ctrl-C.");
    expect(requests.some(({ pdu }) => pdu.startsWith("04"))).toBe(false);
  });
});

describe("what is not Modbus, or not there", () => {
  test("a port that refuses: the reason and the remedy of the log", async () => {
    const one = await device({});
    await one.close();
    const { code, out, err } = await probe(one.port, "--units", "1");
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(/MODBUS_CONNECT_REFUSED 127\.0\.0\.1:\d+: connection refused; is the PLC powered/);
  });

  test("a server of another protocol answers as no unit; a vendor's name cannot steer the terminal", async () => {
    const http = createServer((socket) => socket.on("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
    opened.push({ close: () => http.close() });
    const { port } = http.address() as { port: number };
    expect(await probe(port, "--units", "1-2")).toMatchObject({
      code: 1,
      out: expect.stringMatching(
        /no unit answers[\s\S]*MODBUS_FRAME_INVALID .* is it a Modbus TCP server, not RTU over TCP/,
      ),
    });

    const rude = await device({ 1: { holding: { 0: [1] }, identity: ["A\u001b[2J\nunit 9", "", ""] } });
    const { out } = await probe(rude.port, "--units", "1", "--range", "holding:0");
    expect(out).toContain("vendor A\ufffd[2J\ufffdunit 9");
  });
});

test("arguments: units, ranges and hosts, and what is wrong with them", async () => {
  expect(readUnits("1-3,17")).toEqual([1, 2, 3, 17]);
  for (const wrong of ["", "3-1", "256", "1;2", "a"]) expect(readUnits(wrong)).toBeUndefined();
  expect(readRanges("holding:0-200, input:5")).toEqual([
    { table: "holding", from: 0, to: 200 },
    { table: "input", from: 5, to: 5 },
  ]);
  for (const wrong of ["", "holding", "holding:9-3", "holding:0-65536", "registers:1"])
    expect(readRanges(wrong)).toBeUndefined();
  expect(readHost("plc")).toEqual({ host: "plc", port: 502 });
  expect(readHost("[::1]:1502")).toEqual({ host: "::1", port: 1502 });
  for (const wrong of ["", "plc:0", "plc:70000", "::1", "a b"]) expect(readHost(wrong)).toBeUndefined();

  const refused: [string[], RegExp][] = [
    [[], /expected: probe modbus HOST/],
    [["modbus", "plc", "--units", "0-300"], /--units "0-300"/],
    [["modbus", "plc", "--expect", "0"], /other than 0/],
    [["modbus", "plc", "--expect", "1e3"], /--expect "1e3"/],
    [["modbus", "plc", "--tolerance", "x"], /--tolerance/],
    [["modbus", "plc", "--requests-per-second", "0"], /--requests-per-second/],
    [["modbus", "plc", "--write"], /--write/],
  ];
  for (const [args, why] of refused) {
    const { code, err } = await call(probeCommand, args);
    expect([code, err]).toEqual([2, expect.stringMatching(why)]);
  }
});

test("the program itself: help, and a result", async () => {
  const bench = programs();
  opened.push({ close: bench.end });
  const help = bench.start(["probe", "--help"]);
  expect(await help.ended).toBe(0);
  expect(help.output.out).toContain("--expect 230.1,50.02");
  const { port } = await device({ 1: meter });
  const { ended, output } = bench.start([
    "probe",
    "modbus",
    `127.0.0.1:${port}`,
    "--units",
    "1",
    "--range",
    "input:0-3",
  ]);
  expect(await ended).toBe(0);
  expect(output.out).toMatch(/input +0-3/);
  expect(output.err).toContain("Reads only.");
});
