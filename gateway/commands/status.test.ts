import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startScriptedServer } from "../cases/scripted-server.ts";
import { controlPath } from "../control.ts";
import type { GatewayStatus } from "../status.ts";
import { type Host, startHost } from "../test-host.ts";
import { programs } from "../test-program.ts";
import { statusCommand, statusText } from "./status.ts";
import { call, testIo } from "./test-io.ts";

let bench: ReturnType<typeof programs>;
let host: Host;
beforeEach(async () => {
  bench = programs();
  host = await startHost();
});
afterEach(async () => {
  await bench.end();
  await host.close();
});

const config = (port: number) => `
group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port} }
outbox: { path: ${join(bench.folder, "outbox.db")} }
devices:
  - { id: meter, driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: 1, pollIntervalMs: 100,
      tags: [{ name: level, table: holding, address: 0, type: uint16 }] }
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: 9, unitId: 1,
      tags: [{ name: level, table: holding, address: 0, type: uint16 }] }
`;

test("tells of broker, devices and outbox of the gateway that runs, for people and programs; and that none runs", async () => {
  const plc = await startScriptedServer({ rules: [{ when: "03", send: ["addresses"] }] });
  try {
    const file = join(bench.folder, "gateway.yaml");
    writeFileSync(file, config(plc.port));
    const none = bench.start(["status", "--config", file]);
    expect(await none.ended).toBe(1);
    expect(none.output.err).toMatch(/no gateway runs on .*outbox\.db\n {2}remedy: start it/);

    const { child } = bench.start(["run", "--config", file]);
    await once(child, "message");
    const ask = async (): Promise<GatewayStatus> => {
      const { code, out } = await call(statusCommand, ["--config", file, "--json"], testIo(config(plc.port)));
      expect(code).toBe(0);
      return JSON.parse(out);
    };
    await vi.waitFor(
      async () => {
        const { devices, broker } = await ask();
        expect(broker.born && devices[0]?.connected && devices[1]?.lastFailure !== undefined).toBe(true);
      },
      { timeout: 8000, interval: 100 },
    );
    const status = await ask();
    expect(status).toMatchObject({
      software: expect.stringMatching(/^jilian-gateway \d/),
      group: "factory-1",
      node: "gateway-1",
      pid: child.pid,
      broker: { address: `127.0.0.1:${host.port}`, connected: true, born: true, connects: 1 },
      devices: [
        { device: "meter", connected: true, pollIntervalMs: 100, failures: 0 },
        {
          device: "press",
          connected: false,
          polls: 0,
          failureKinds: { MODBUS_CONNECT_REFUSED: expect.any(Number) },
          lastFailure: { reason: expect.stringMatching(/^MODBUS_CONNECT_REFUSED/) },
        },
      ],
      outbox: { droppedSamples: 0, isWritable: true, isInMemory: false },
      history: { path: join(bench.folder, "outbox.db.history"), maxBytes: 2 ** 31, fitsDays: 400, askedDays: 184 },
    });
    expect(status.uptimeMs).toBeGreaterThan(0);
    expect(status.devices[0]?.polls).toBeGreaterThan(0);

    // What a reload has changed is told as it is now.
    writeFileSync(file, config(plc.port).replace("pollIntervalMs: 100", "pollIntervalMs: 200"));
    child.kill("SIGHUP");
    await vi.waitFor(async () => expect((await ask()).devices[0]?.pollIntervalMs).toBe(200), { timeout: 8000 });
    await vi.waitFor(async () => expect((await ask()).devices[1]?.lastFailure).toBeDefined(), { timeout: 8000 });

    const readable = bench.start(["status", "--config", file]);
    expect(await readable.ended).toBe(0);
    expect(readable.output.err).toBe("");
    expect(readable.output.out).toMatch(/^jilian-gateway \S+ {2}factory-1\/gateway-1 {2}up /);
    expect(readable.output.out).toMatch(/broker {3}127\.0\.0\.1:\d+ connected, 1 connects/);
    expect(readable.output.out).toMatch(/^press +NOT connected +- /m);
    expect(readable.output.out).toMatch(/failures by kind:\npress {2}MODBUS_CONNECT_REFUSED \d+\n/);
    expect(readable.output.out).toMatch(/last failures:\npress \S+Z {2}MODBUS_CONNECT_REFUSED/);
  } finally {
    await plc.close();
  }
});

test("a gateway of another version, and one that answers nothing, are told", async () => {
  const answers = ['{"type":"error","message":"this is no request of this version of the program"}\n', ""];
  const server = createServer((socket) => socket.on("data", () => socket.end(answers.shift() ?? "")));
  server.listen(controlPath(join(bench.folder, "outbox.db")));
  await once(server, "listening");
  try {
    const ask = () => call(statusCommand, ["--config", "g.yaml"], testIo(config(10)));
    expect(await ask()).toMatchObject({ code: 1, out: "", err: expect.stringContaining("restart the gateway") });
    expect(await ask()).toMatchObject({ code: 1, out: "", err: expect.stringContaining("ended before its last line") });
  } finally {
    server.close();
  }
});

test("drops, a failing medium and a reason that would steer the terminal", () => {
  const text = statusText({
    software: "jilian-gateway 1",
    group: "g",
    node: "n",
    pid: 1,
    uptimeMs: 90_000_000,
    memoryBytes: 2 ** 20,
    broker: { address: "h:1883", connected: true, born: false, connects: 3 },
    devices: [
      {
        device: "press",
        connected: true,
        pollIntervalMs: 1000,
        lastPollMs: 1230,
        polls: 5,
        skippedPolls: 2,
        failures: 12,
        failureKinds: { MODBUS_TIMEOUT: 2, OPCUA_X: 10 },
        lastFailure: { at: "2026-01-05T00:00:00.000Z", reason: "OPCUA_X \u001b[2J" },
      },
    ],
    outbox: {
      path: "/o",
      pendingRecords: 7,
      pendingBytes: 2 ** 19,
      maxBytes: 2 ** 30,
      oldestAgeMs: 7_300_000,
      droppedSamples: 12,
      droppedByReason: { full: 10, age: 2, unwritable: 0 },
      asideRecords: 3,
      isWritable: false,
      isInMemory: true,
    },
    history: {
      path: "/h",
      oldest: { at: "2025-12-01T00:00:00.000Z", agoMs: 36 * 86_400_000 },
      bytes: 2 ** 21,
      maxBytes: 2 ** 31,
      fitsDays: 120,
      askedDays: 184,
      isWritable: true,
    },
  });
  expect(text.split("\n")).toEqual([
    "jilian-gateway 1  g/n  up 1 d  process 1, 1.0 MiB",
    "broker   h:1883 connected, births not out yet, 3 connects",
    "outbox   7 records waiting (0.5 MiB of 1024.0 MiB, the oldest 2 h old), 12 samples dropped (full 10, age 2), 3 records set aside; THE MEDIUM FAILS, readings wait in memory",
    "history  back to 2025-12-01T00:00:00.000Z (36 d), 2.0 MiB of 2048.0 MiB, 120 days fit, LESS THAN SIX MONTHS (184)",
    "",
    "DEVICE  STATE      POLL   INTERVAL  POLLS  OVERRUNS  FAILURES",
    "press   connected  1.2 s  1 s       5      2         12",
    "",
    "failures by kind:",
    "press  OPCUA_X 10, MODBUS_TIMEOUT 2",
    "",
    "last failures:",
    "over: press 2026-01-05T00:00:00.000Z  OPCUA_X \ufffd[2J",
  ]);
});

test("wrong arguments", async () => {
  expect(await call(statusCommand, ["g.yaml", "now"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("unknown: now"),
  });
  expect(await call(statusCommand, ["--help"])).toMatchObject({ code: 0, out: expect.stringContaining("OVERRUNS") });
});
