import { mkdtempSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ScriptedServer, startScriptedServer } from "./cases/scripted-server.ts";
import { type GatewayConfig, readGatewayConfig } from "./config.ts";
import { difference, isSame } from "./reload.ts";
import { reloadOnChange } from "./reload-watch.ts";
import { type Gateway, startGateway } from "./run.ts";
import { type Host, startHost } from "./test-host.ts";
import { logLines, programs } from "./test-program.ts";

let folder: string;
let host: Host;
let plc: ScriptedServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "jilian-reload-"));
  host = await startHost();
  const rules = [
    { when: "03", send: ["addresses"] },
    { when: "2b", send: ["TTTT 0000 0003 UU AB 01"] },
  ];
  plc = await startScriptedServer({ rules });
});
afterEach(async () => {
  await plc.close();
  await host.close();
  rmSync(folder, { recursive: true });
});

type Change = { devices?: string[]; broker?: string; outbox?: string; more?: string };
const device = (id: string, unit: number, address = 7): string =>
  `  - { id: ${id}, driver: modbus-tcp, host: 127.0.0.1, port: ${plc.port}, unitId: ${unit}, pollIntervalMs: 20, heartbeatMs: 20, timeoutMs: 5000,
      tags: [{ name: level, table: holding, address: ${address}, type: int16 }] }`;
const text = ({ devices = [device("press", 1)], broker = "", outbox = "outbox.db", more = "" }: Change = {}) =>
  `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port}, reconnectMinMs: 10, reconnectMaxMs: 50${broker} }
outbox: { path: ${outbox}, fsyncMs: 20 }
${more}
devices:
${devices.join("\n")}
`;

function config(change?: Change): GatewayConfig {
  const checked = readGatewayConfig(text({ outbox: join(folder, "outbox.db"), ...change }), "gateway.yaml");
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  return checked.value;
}

/** A reading of a device with a value, that came after a moment. */
const reading = (id: string, value: number, since = 0) =>
  host.ofType("DDATA", id).find(({ values, atMs }) => values.level === value && atMs > since);
const nodeBirths = () => host.ofType("NBIRTH");

describe("two configurations", () => {
  test("differ by device, by what begins anew, and by what needs a start", () => {
    const before = config({ devices: [device("a", 1), device("b", 2), device("c", 3)] });
    const same = config({ devices: [device("c", 3), device("a", 1), device("b", 2)] });
    expect(isSame(difference(before, same))).toBe(true);
    const after = config({
      devices: [device("b", 2, 8), device("c", 3), device("d", 4)],
      broker: ", keepaliveMs: 9000",
      outbox: "elsewhere.db",
      more: "logLevel: debug",
    });
    expect(difference(before, after)).toEqual({
      restart: ["outbox", "logLevel"],
      whole: ["broker"],
      lines: [],
      opcua: false,
      added: ["d"],
      changed: ["b"],
      removed: ["a"],
    });
  });
});

describe("a gateway that runs", () => {
  let gateway: Gateway | undefined;
  const log = pino({ level: "silent" });
  afterEach(() => gateway?.close());

  test("takes devices over and leaves the same ones alone: not one poll late, on the connection they have", async () => {
    const devices = [device("press", 1), device("saw", 2), device("oven", 3)];
    const running = startGateway(config({ devices }), { log, clock: systemClock });
    gateway = running;
    for (const id of ["press", "saw", "oven"]) await host.until(`${id} read`, () => reading(id, 7));
    const [births, fromMs] = [nodeBirths().length, performance.now()];
    const next = config({ devices: [device("press", 1), device("saw", 2, 9), device("mill", 4)] });
    expect(await running.reload(next)).toMatchObject({
      added: ["mill"],
      changed: ["saw"],
      removed: ["oven"],
      whole: [],
    });
    const sinceMs = performance.now();
    await host.until("the changed one", () => reading("saw", 9));
    await host.until("the new one", () => reading("mill", 7));
    const birth = await host.until("node born again", () => nodeBirths()[births]);
    expect(birth.values).toHaveProperty(["Devices/mill/Connected"]);
    expect(birth.values).not.toHaveProperty(["Devices/oven/Connected"]);
    expect(
      running
        .stats()
        .devices.map((one) => one.device)
        .toSorted(),
    ).toEqual(["mill", "press", "saw"]);
    await host.until("press read on", () => reading("press", 7, sinceMs));
    // Its polls are 20 ms apart, the others' connects notwithstanding: a device that was begun anew waits up to a second.
    const polls = plc.requests.filter(
      ({ unit, pdu, atMs }) => unit === 1 && pdu.startsWith("03") && atMs > fromMs - 100,
    );
    const gaps = polls.slice(1).map(({ atMs }, i) => atMs - (polls[i]?.atMs as number));
    expect(polls.length).toBeGreaterThan(5);
    expect(Math.max(...gaps)).toBeLessThan(900);
    expect(running.stats().devices.find((one) => one.device === "press")).toMatchObject({ connects: 1, failures: 0 });
    expect(plc.requests.filter(({ unit, atMs }) => unit === 3 && atMs > sinceMs)).toEqual([]);
    // What it had read is still to be confirmed; then it dies.
    const { epoch } = running.outbox();
    const last = lastOffset(epoch);
    await host.commit(epoch, [[0, last]], { last });
    await host.until("death of the one that is gone", () => host.ofType("DDEATH", "oven")[0]);
  });

  const lastOffset = (epoch: string): number =>
    host.seen.reduce((high, { header }) => (header?.epoch === epoch ? Math.max(high, header.offset) : high), 0);

  test("begins anew for another broker's setting, and says what needs a start without doing it", async () => {
    const running = startGateway(config(), { log, clock: systemClock });
    gateway = running;
    await host.until("read", () => reading("press", 7));
    const births = nodeBirths().length;
    const next = config({ broker: ", keepaliveMs: 9000", outbox: join(folder, "other.db"), more: "logLevel: debug" });
    expect(await running.reload(next)).toMatchObject({ whole: ["broker"], restart: ["outbox", "logLevel"] });
    const sinceMs = performance.now();
    await host.until("born again", () => nodeBirths()[births]);
    await host.until("read again", () => reading("press", 7, sinceMs));
    expect(await running.reload(next)).toMatchObject({ whole: [], restart: ["outbox", "logLevel"] });
    expect(running.stats().devices).toHaveLength(1);
  });

  test("takes one after the other, and none once it ends", async () => {
    const running = startGateway(config(), { log, clock: systemClock });
    gateway = running;
    const ids = ["a", "b", "c", "d"];
    await Promise.all(ids.map((id, i) => running.reload(config({ devices: [device(id, i + 2)] }))));
    expect(running.stats().devices.map((one) => one.device)).toEqual(["d"]);
    await Promise.all([running.close(), running.reload(config())]);
    expect(running.stats().devices).toEqual([]);
  });
});

test("a file that is still being written is not taken", async () => {
  const file = join(folder, "gateway.yaml");
  const whole = text({ devices: [device("press", 1), device("saw", 2)] });
  writeFileSync(file, whole);
  const taken: string[][] = [];
  const read = async () => config({ devices: readFileSync(file, "utf8").includes("saw") ? [device("saw", 2)] : [] });
  const reload = async (next: GatewayConfig) => {
    taken.push(next.devices.map(({ id }) => id));
    return difference(next, next);
  };
  using _ = reloadOnChange({ file, read, gateway: { reload }, log: pino({ level: "silent" }), everyMs: 40 });
  // It grows for many looks, a whole file at each.
  for (let size = 0; size < 40; size += 1) {
    writeFileSync(file, `${text()}${"#".repeat(size)}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  writeFileSync(file, whole);
  await vi.waitFor(() => expect(taken).not.toEqual([]), 10_000);
  expect(taken).toEqual([["saw"]]);
});

describe("the program", () => {
  let bench: ReturnType<typeof programs>;
  beforeEach(() => {
    bench = programs();
  });
  afterEach(() => bench.end());

  test("refuses to reload where its clock cannot be read, and goes on", async () => {
    const [file, clock] = [join(bench.folder, "gateway.yaml"), join(bench.folder, "clock")];
    writeFileSync(file, text().replace("unitId", "simulated: true, unitId"));
    writeFileSync(clock, `1,${Date.now()},${Date.now()}`);
    const { child, output, ended } = bench.start(["run", "--config", file], { JILIAN_CLOCK: `@${clock}` });
    await host.until("read", () => reading("press", 7), 20_000);
    unlinkSync(clock);
    child.kill("SIGHUP");
    await vi.waitFor(() => expect(output.out).toContain("CONFIG_REFUSED"), 10_000);
    const sinceMs = performance.now();
    await host.until("read on", () => reading("press", 7, sinceMs));
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });

  test("refuses a file with faults and keeps what it has, on SIGHUP; takes it when it changes", async () => {
    const file = join(bench.folder, "gateway.yaml");
    writeFileSync(file, text());
    const { child, output, ended } = bench.start(["run", "--config", file]);
    await host.until("read", () => reading("press", 7), 20_000);
    const logged = (code: string) => logLines(output.out).filter((line) => line.code === code || line.msg === code);
    writeFileSync(file, text({ devices: [device("press", 1, 70_000)] }));
    child.kill("SIGHUP");
    await vi.waitFor(() => expect(logged("CONFIG_REFUSED")).not.toEqual([]), 10_000);
    expect(String(logged("CONFIG_REFUSED")[0]?.msg)).toContain("/devices/0/tags/0/address");
    const sinceMs = performance.now();
    await host.until("read on", () => reading("press", 7, sinceMs));
    // As editors do: another file in its place.
    writeFileSync(`${file}.new`, text({ devices: [device("press", 1, 9), device("saw", 2)], outbox: "other.db" }));
    renameSync(`${file}.new`, file);
    await host.until("the other register", () => reading("press", 9), 20_000);
    await host.until("the other device", () => reading("saw", 7));
    expect(logged("CONFIG_NEEDS_RESTART")).toMatchObject([{ keys: ["outbox"] }]);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });
});
