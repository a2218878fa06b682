import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { type Script, type ScriptedServer, startScriptedServer } from "../cases/scripted-server.ts";
import { controlPath } from "../control.ts";
import { startTestServer, temporaryFolder } from "../test-opcua.ts";
import { programs } from "../test-program.ts";
import type { LiveDevice } from "./live-readings.ts";
import { readCommand, readingsText } from "./read.ts";
import { call, configText, testIo } from "./test-io.ts";

const opened: { close: () => unknown }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

async function plc(rules: Script["rules"]): Promise<ScriptedServer> {
  const server = await startScriptedServer({ rules });
  opened.push(server);
  return server;
}

/** A port that was free a moment ago, and refuses. */
async function refusingPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const meter = (port: number, extra = "") => `
- id: meter
  driver: modbus-tcp
  host: 127.0.0.1
  port: ${port}
  unitId: 1
  timeoutMs: 300${extra}
  tags:
    - { name: voltage, table: holding, address: 0, type: uint16, scale: { numerator: 1, denominator: 10 }, unit: V, deadband: 5 }
    - { name: energy, table: holding, address: 1, type: uint32, scale: { numerator: 1, denominator: 100 }, unit: kWh, role: energy.import }
    - { name: temperature, table: holding, address: 3, type: float32, unit: °C }`;
/** 230.1 V, 123456.78 kWh, not a number. */
const answer = { when: "03 0000 0005", send: ["TTTT 0000 000d UU 03 0a 08fd 00bc614e 7fc00000"] };

/** The cells of a table's row. */
const cells = (out: string, tag: string) =>
  out
    .split("\n")
    .find((line) => line.includes(tag))
    ?.split(/ {2,}/);

test("shows raw and scaled values, units and qualities; a device that fails with reason and remedy, and code 1", async () => {
  const { port } = await plc([answer]);
  const dead = await refusingPort();
  const text = configText(meter(port), meter(dead).replace("id: meter", "id: press"));
  const { code, out, err } = await call(readCommand, ["gateway.yaml", "--once"], testIo(text));
  expect([code, err]).toEqual([1, ""]);
  expect(cells(out, "voltage")?.slice(0, 6)).toEqual(["meter", "voltage", "2301", "230.1", "V", "good"]);
  expect(cells(out, "energy")?.slice(2, 6)).toEqual(["12345678", "123456.78", "kWh", "good"]);
  expect(cells(out, "temperature")?.slice(2, 6)).toEqual(["none", "none", "°C", "bad BadSensorFailure"]);
  expect(out).toContain(`press: MODBUS_CONNECT_REFUSED 127.0.0.1:${dead}: connection refused; is the PLC powered`);
});

test("one device of several, as lines of JSON; a whole number beyond 2^53 is text", async () => {
  const { port, requests } = await plc([{ when: "03 0000 0004", send: ["TTTT 0000 000b UU 03 08 0fffffffffffffff"] }]);
  const device = meter(port).replace(
    /tags:[\s\S]*/,
    "tags:\n    - { name: count, table: holding, address: 0, type: uint64 }",
  );
  const text = configText(device, meter(await refusingPort()).replace("id: meter", "id: press"));
  const { code, out } = await call(readCommand, ["gateway.yaml", "meter", "--once", "--json"], testIo(text));
  expect(code).toBe(0);
  expect(JSON.parse(out)).toEqual({
    device: "meter",
    tag: "count",
    raw: "1152921504606846975",
    value: "1152921504606846975",
    quality: "good",
    status: "Good",
    time: expect.stringMatching(/^\d{4}-.*Z$/),
  });
  expect(requests.filter(({ pdu }) => pdu.startsWith("03"))).toHaveLength(1);
});

test("a tag that the device does not have is bad alone; a device that stays silent fails with its time-out", async () => {
  const { port } = await plc([
    { when: "03 0003 0002", send: ["TTTT 0000 0003 UU 83 02"] },
    { when: "03 0000 0001", send: ["TTTT 0000 0005 UU 03 02 08fd"] },
    { when: "03 0001 0002", send: ["TTTT 0000 0007 UU 03 04 00bc614e"] },
    { when: "03", send: ["TTTT 0000 0003 UU 83 02"] },
  ]);
  const { code, out } = await call(readCommand, ["gateway.yaml", "--once"], testIo(configText(meter(port))));
  expect(code).toBe(0);
  expect(cells(out, "temperature")?.slice(2, 6)).toEqual(["none", "none", "°C", "bad BadNodeIdUnknown"]);
  expect(cells(out, "voltage")?.[5]).toBe("good");

  const silent = await plc([{ send: [] }]);
  const json = await call(readCommand, ["g.yaml", "--once", "--json"], testIo(configText(meter(silent.port))));
  expect(json.code).toBe(1);
  expect(JSON.parse(json.out)).toEqual({
    device: "meter",
    failed: true,
    reason: expect.stringMatching(/^MODBUS_TIMEOUT .*does unit 1 exist/),
  });
});

test("on a terminal it is renewed, each reading shown whatever its deadband, until Ctrl-C", async () => {
  const { port } = await plc([
    { ...answer, times: 1 },
    { when: "03", send: ["TTTT 0000 000d UU 03 0a 0900 00bc614e 41200000"] },
  ]);
  const stopping = new AbortController();
  const io = testIo(configText(meter(port, "\n  pollIntervalMs: 100")), { rows: 30, signal: stopping.signal });
  const ended = readCommand(["gateway.yaml"], io);
  await vi.waitFor(() => expect(cells(io.shown.at(-1) ?? "", "voltage")?.[3]).toBe("230.4"), { timeout: 8000 });
  expect(cells(io.shown.at(-1) ?? "", "temperature")?.slice(2, 6)).toEqual(["10", "10", "°C", "good"]);
  stopping.abort();
  expect(await ended).toBe(0);
  expect(io.out).toEqual([]);
});

test("derived tags, values that mean none, and tags that are told seldom: each reading, as the gateway would tell it", async () => {
  const { port } = await plc([
    { when: "03 0000 0002", send: ["TTTT 0000 0007 UU 03 04 000a 7fff"], times: 1 },
    { when: "03", send: ["TTTT 0000 0007 UU 03 04 000b 0005"] },
  ]);
  const device = meter(port, "\n  pollIntervalMs: 100").replace(
    /tags:[\s\S]*/,
    `tags:
    - { name: a, table: holding, address: 0, type: int16, minIntervalMs: 9000 }
    - { name: b, table: holding, address: 1, type: int16, sentinels: [32767] }
  derived:
    - { name: both, operation: sum, of: [{ tag: a }, { tag: b }] }`,
  );
  const stopping = new AbortController();
  const io = testIo(configText(device), { rows: 30, signal: stopping.signal });
  const once = await call(readCommand, ["gateway.yaml", "--once"], testIo(configText(device)));
  expect(once.code).toBe(0);
  expect(once.out).toMatch(/^meter +a +10 +10 +good/m);
  expect(once.out).toMatch(/^meter +b +none +none +bad BadSensorFailure/m);
  expect(once.out).toMatch(/^meter +both +- +none +bad/m);
  const ended = readCommand(["gateway.yaml"], io);
  await vi.waitFor(() => expect(io.shown.at(-1)).toMatch(/^meter +both +- +16 +good/m), { timeout: 8000 });
  expect(io.shown.at(-1)).toMatch(/^meter +a +11 +11 +good/m);
  stopping.abort();
  expect(await ended).toBe(0);
});

test("devices on a line are left to the gateway while it runs: answers to one master would be taken for those to the other", async () => {
  const server = await startScriptedServer({ wire: "rtu", rules: [{ when: "03", send: ["addresses"] }] });
  opened.push(server);
  const folder = temporaryFolder();
  opened.push({ close: folder.remove });
  const outbox = join(folder.path, "outbox.db");
  const device = `
- { id: meter, driver: modbus-rtu, line: bus, unitId: 1, tags: [{ name: a, table: holding, address: 7, type: uint16 }] }`;
  const lines = `lines: [{ id: bus, kind: tcp, host: 127.0.0.1, port: ${server.port} }]\n`;
  const text = lines + configText(device).replace("path: outbox.db", `path: ${outbox}`);
  const control = createServer((socket) => socket.on("data", () => socket.end('{"type":"error","message":"x"}\n')));
  control.listen(controlPath(outbox));
  await once(control, "listening");
  const during = await call(readCommand, ["gateway.yaml", "--once"], testIo(text));
  expect(during).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/a gateway runs on .*lines of meter/) });
  expect(server.counts.connections).toBe(0);
  control.close();
  await once(control, "close");
  const after = await call(readCommand, ["gateway.yaml", "--once"], testIo(text));
  expect([after.code, cells(after.out, "meter")?.[2]]).toEqual([0, "7"]);
});

test("a table longer than the terminal says so; as JSON each reading is a line", async () => {
  const { port } = await plc([answer]);
  const stopping = new AbortController();
  const text = configText(meter(port, "\n  pollIntervalMs: 100"));
  const small = testIo(text, { rows: 4, signal: stopping.signal });
  const lines = testIo(text, { rows: 4, signal: stopping.signal });
  const ended = [readCommand(["gateway.yaml"], small), readCommand(["gateway.yaml", "--json"], lines)];
  await vi.waitFor(() => expect(small.shown.at(-1)).toMatch(/^DEVICE[^\n]*\n[^\n]*\n\.\.\. 2 more lines/), {
    timeout: 8000,
  });
  await vi.waitFor(() => expect(lines.out.length).toBeGreaterThan(6));
  stopping.abort();
  expect(await Promise.all(ended)).toEqual([0, 0]);
  expect(lines.shown).toEqual([]);
  expect(lines.out.map((line) => JSON.parse(line).tag).slice(0, 3)).toEqual(["voltage", "energy", "temperature"]);
});

test("OPC UA: waits for the first values of all tags; what a server sends cannot steer the terminal", async () => {
  const folder = temporaryFolder();
  opened.push({ close: folder.remove });
  const server = await startTestServer({ pkiDir: `${folder.path}/server` });
  opened.push({ close: server.stop });
  const sourceTimeMs = Date.now() - 5000;
  server.set("level", { dataType: "Double", value: 1.5 }, { sourceTimeMs });
  server.set("recipe", { dataType: "String", value: "A\u001b[2J\u202eB" });
  const device = `
- id: machine
  driver: opcua
  endpointUrl: ${server.endpointUrl}
  tags:
    - { name: level, nodeId: "nsu=urn:test:machine;s=level", type: float64, unit: m }
    - { name: recipe, nodeId: "nsu=urn:test:machine;s=recipe", type: string }
    - { name: absent, nodeId: "nsu=urn:test:machine;s=absent", type: float64 }`;
  const text = configText(device).replace("path: outbox.db", `path: ${folder.path}/outbox.db`);
  const { code, out } = await call(readCommand, ["gateway.yaml", "--once"], testIo(text));
  expect(code).toBe(0);
  expect(cells(out, "level")?.slice(2)).toEqual(["1.5", "1.5", "m", "good", expect.stringMatching(/^[5-9]\.?\d* s$/)]);
  expect(cells(out, "recipe")?.[2]).toBe('"A\\u001b[2J\ufffdB"');
  expect(out).toMatch(/absent +none +none +bad BadNodeIdUnknown/);
});

test("shows a float32 as the device has it, and a long reason to its end, which says what to do", () => {
  const value = Math.fround(233.814);
  const sample = { metric: "voltage", value, status: 0, sourceTimeMs: 0, gatewayTimeMs: 0 };
  const tag = { name: "voltage", type: "float32" } as LiveDevice["tags"][number]["tag"];
  const common = { tags: [{ tag, raw: value, sample }], simulated: false };
  const reason = `OPCUA_SERVER_UNTRUSTED ${"x".repeat(600)}; move "a" to "b"`;
  const text = readingsText(
    [
      { ...common, id: "meter", connected: true, reason: "" },
      { ...common, id: "plc", connected: false, reason },
    ],
    0,
  );
  expect(cells(text, "voltage")?.slice(0, 4)).toEqual(["meter", "voltage", "233.814", "233.814"]);
  expect(text).toMatch(/; move "a" to "b"$/);
});

test("the program itself: code 2 for what is wrong before anything is read, code 1 with the reason, and help", async () => {
  const bench = programs();
  opened.push({ close: bench.end });
  const file = join(bench.folder, "gateway.yaml");
  const { port, requests } = await plc([answer]);
  writeFileSync(file, configText(meter(port)));
  const run = async (...args: string[]) => {
    const { ended, output } = bench.start(["read", ...args]);
    return { code: await ended, ...output };
  };
  expect(await run()).toMatchObject({ code: 2, err: expect.stringContaining("--config is missing") });
  expect(await run(file, "pres")).toMatchObject({
    code: 2,
    err: expect.stringContaining("has no device pres; it has meter"),
  });
  expect(await run(file, "--twice")).toMatchObject({ code: 2, err: expect.stringContaining("--twice") });
  expect(await run("--help")).toMatchObject({ code: 0, out: expect.stringContaining("--once"), err: "" });
  expect(requests).toEqual([]);
  // No terminal: once, also without --once.
  expect(await run(file)).toMatchObject({ code: 0, out: expect.stringContaining("230.1"), err: "" });
});
