import { symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type ScriptedServer, startScriptedServer } from "../cases/scripted-server.ts";
import { readGatewayConfig } from "../config.ts";
import { startControl } from "../control.ts";
import { deviceViews } from "../last-values.ts";
import { startGateway } from "../run.ts";
import { statusTeller } from "../status.ts";
import { temporaryFolder } from "../test-opcua.ts";
import { probeCommand } from "./probe.ts";
import { readCommand } from "./read.ts";
import { call, testIo } from "./test-io.ts";

/** Commands beside a gateway that runs and has the line which they would take. */
const log = pino({ level: "silent" });
const closers: (() => Promise<unknown> | unknown)[] = [];
let bus: ScriptedServer;
let plc: ScriptedServer;
let text: string;
let serial: string;

beforeEach(async () => {
  const folder = temporaryFolder();
  closers.push(folder.remove);
  bus = await startScriptedServer({ wire: "rtu", rules: [{ when: "03", send: ["addresses"] }] });
  plc = await startScriptedServer({ rules: [{ when: "03", send: ["addresses"] }] });
  closers.push(bus.close, plc.close);
  serial = join(folder.path, "by-id");
  writeFileSync(join(folder.path, "tty"), "");
  symlinkSync(join(folder.path, "tty"), serial);
  const pace = "pollIntervalMs: 50, timeoutMs: 500, heartbeatMs: 60000";
  text = `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: 9 }
outbox: { path: ${join(folder.path, "outbox.db")} }
history: false
lines:
  - { id: bus, kind: tcp, host: 127.0.0.1, port: ${bus.port}, quietMs: 2 }
  - { id: tty, kind: serial, path: ${join(folder.path, "tty")} }
devices:
  - { id: meter, driver: modbus-rtu, line: bus, unitId: 1, ${pace},
      tags: [{ name: a, table: holding, address: 7, type: uint16, unit: kWh }] }
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: ${plc.port}, unitId: 1, ${pace},
      tags: [{ name: b, table: holding, address: 8, type: uint16 }] }
  - { id: away, driver: modbus-rtu, line: tty, unitId: 1, ${pace},
      tags: [{ name: c, table: holding, address: 9, type: uint16 }] }
`;
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Runs until the meter on the line was read. */
async function startRunning() {
  const read = readGatewayConfig(text, "gateway.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  const gateway = startGateway(read.value, { log, clock: systemClock });
  closers.push(gateway.close);
  const control = startControl({
    outbox: gateway.outbox,
    status: statusTeller({ gateway, clock: systemClock }),
    ask: gateway.ask,
    values: () => deviceViews(gateway.values(), systemClock.now()),
    path: read.value.outbox.path,
    log,
  });
  closers.push(control.close);
  await vi.waitFor(() => expect(gateway.values()[0]?.values[0]?.seen?.value).toBe(7), { timeout: 8000 });
  await vi.waitFor(() => expect(gateway.stats().devices[2]?.failures).toBeGreaterThan(0), { timeout: 8000 });
  return { gateway, control };
}

const cells = (out: string, id: string) =>
  out
    .split("\n")
    .find((line) => line.startsWith(id))
    ?.split(/ {2,}/);

test("read shows what the gateway read last of devices on its lines, and reads the others itself", async () => {
  const { control } = await startRunning();
  const all = await call(readCommand, ["gateway.yaml", "--once"], testIo(text));
  expect([all.code, all.err]).toEqual([1, ""]);
  expect(cells(all.out, "press")?.slice(1, 4)).toEqual(["b", "8", "8"]);
  const own = all.out.slice(all.out.indexOf("as the running gateway read it last, which has the line of meter, away:"));
  expect(cells(own, "meter")).toEqual(["meter", "a", "7", "kWh", "good", expect.stringMatching(/s$/)]);
  expect(own).toContain("away: the running gateway cannot read it: jilian-gateway status says why");

  const json = await call(readCommand, ["gateway.yaml", "meter", "--once", "--json"], testIo(text));
  expect(json.code).toBe(0);
  expect(JSON.parse(json.out)).toMatchObject({ device: "meter", from: "gateway", tag: "a", value: 7, quality: "good" });
  // The gateway's own connection alone.
  expect(bus.counts.connections).toBe(1);

  await control.close();
  const stopping = new AbortController();
  const other = createServer((socket) => socket.on("data", () => socket.end('{"type":"error","message":"x"}\n')));
  other.listen(`${/path: (\S+)/.exec(text)?.[1]}.sock`);
  closers.push(() => other.close());
  const older = await call(readCommand, ["gateway.yaml", "meter"], testIo(text, { signal: stopping.signal }));
  expect(older).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/a gateway runs on .*line.* of meter/) });
});

test("on a terminal read renews what the gateway has read, until Ctrl-C, and says when the gateway has gone", async () => {
  const { control } = await startRunning();
  const stopping = new AbortController();
  const io = testIo(text, { rows: 30, signal: stopping.signal });
  const lines = testIo(text, { rows: 30, signal: stopping.signal });
  const ended = [readCommand(["gateway.yaml", "meter"], io), readCommand(["gateway.yaml", "meter", "--json"], lines)];
  await vi.waitFor(() => expect(cells(io.shown.at(-1) ?? "", "meter")?.[2]).toBe("7"), { timeout: 8000 });
  await vi.waitFor(() => expect(lines.out.length).toBeGreaterThan(1), { timeout: 8000 });
  await control.close();
  await vi.waitFor(() => expect(io.shown.at(-1)).toContain("does not answer any more"), { timeout: 8000 });
  stopping.abort();
  expect(await Promise.all(ended)).toEqual([0, 0]);
  expect(new Set(lines.out.map((line) => JSON.parse(line).time)).size).toBe(lines.out.length);
});

test("probe shows the same of a line that the gateway has, and asks nothing there", async () => {
  const { control } = await startRunning();
  const probe = (place: string) => call(probeCommand, ["modbus", place, "--config", "g.yaml"], testIo(text));
  const tcp = await probe(`127.0.0.1:${bus.port}`);
  expect(tcp).toMatchObject({ code: 1, err: expect.stringMatching(/has this line \(bus\): nothing is asked here/) });
  expect(cells(tcp.out, "meter")?.slice(0, 4)).toEqual(["meter", "a", "7", "kWh"]);
  expect(bus.counts.connections).toBe(1);
  const tty = await probe(serial);
  expect(tty).toMatchObject({ code: 1, err: expect.stringContaining("has this line (tty)") });
  expect(tty.out).toContain("away: the running gateway cannot read it");
  await control.close();
  // Nobody answers for the outbox: the place is free, and asked.
  const free = await call(
    probeCommand,
    ["modbus", `127.0.0.1:${plc.port}`, "--config", "g.yaml", "--units", "1", "--range", "holding:0-3"],
    testIo(text),
  );
  expect(free.out).toContain("units that answer: 1");
});
