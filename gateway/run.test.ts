import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "@jilian/domain/clock.ts";
import { nodeMetrics } from "@jilian/domain/sample.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ScriptedServer, startScriptedServer } from "./cases/scripted-server.ts";
import { readGatewayConfig } from "./config.ts";
import { openOutbox } from "./outbox.ts";
import { type Gateway, startGateway } from "./run.ts";
import { type Host, startHost } from "./test-host.ts";

let folder: string;
let host: Host;
let plc: ScriptedServer;
let gateway: Gateway | undefined;
const lines: Record<string, unknown>[] = [];
const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "jilian-run-"));
  host = await startHost();
  // It reads registers and knows no identification.
  const rules = [
    { when: "03", send: ["addresses"] },
    { when: "2b", send: ["TTTT 0000 0003 UU AB 01"] },
  ];
  plc = await startScriptedServer({ rules });
  lines.length = 0;
});
afterEach(async () => {
  vi.restoreAllMocks();
  await gateway?.close();
  gateway = undefined;
  await plc.close();
  await host.close();
  rmSync(folder, { recursive: true });
});

function start(path: string): Gateway {
  const checked = readGatewayConfig(
    `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port}, reconnectMinMs: 10, reconnectMaxMs: 50 }
outbox: { path: ${path}, fsyncMs: 20 }
devices:
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: ${plc.port}, unitId: 1, pollIntervalMs: 20, heartbeatMs: 20,
      tags: [{ name: temperature, table: holding, address: 7, type: int16 }] }
`,
    "gateway.yaml",
  );
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  gateway = startGateway(checked.value, { log, clock: systemClock, retryMs: 300, unwritableMs: 100 });
  return gateway;
}

/** Source times of what the platform got of the tag, by epoch. */
function timesByEpoch(): Map<string, Set<number>> {
  const times = new Map<string, Set<number>>();
  for (const { header, payload, values } of host.ofType("DDATA", "press")) {
    if (!header || values.temperature !== 7) continue;
    const of = times.get(header.epoch) ?? new Set();
    times.set(header.epoch, of);
    for (const { timestampMs } of payload.metrics) of.add(timestampMs as number);
  }
  return times;
}

const until = <T>(what: string, find: () => T | undefined | false) => host.until(what, find, 15_000);

/** What the file holds after the gateway has ended: offsets and source times of the current and earlier epochs. */
async function pendingIn(path: string) {
  const outbox = openOutbox({
    ...{ path, maxBytes: 1e9, fsyncMs: 1000, group: "factory-1", node: "gateway-1" },
    ...{ clock: systemClock, log },
  });
  const found = outbox.pending(0, 100_000).map(({ record }) => record);
  const stats = outbox.stats();
  await outbox.close();
  return { found, stats };
}

describe("a gateway whose medium fails", () => {
  test("at the start runs from memory, and goes on from the file with all that waited once that can be made", async () => {
    const blocked = join(folder, "data");
    writeFileSync(blocked, "a file where the folder should be");
    const path = join(blocked, "outbox.db");
    const running = start(path);
    await until("ten readings live", () => [...(timesByEpoch().values().next().value ?? [])].length >= 10);
    expect(running.stats().outbox).toMatchObject({ isWritable: false, isInMemory: true });
    expect(running.outbox().identity).toEqual({ box: "", starts: 0 });
    const [birth] = host.ofType("NBIRTH");
    expect(birth?.values).toMatchObject({ [nodeMetrics.writable]: false, [nodeMetrics.box]: "" });
    expect(lines.filter(({ code }) => code === "OUTBOX_UNOPENABLE")).toMatchObject([
      { path, remedy: expect.stringContaining("folder exists") },
    ]);
    const [memoryEpoch] = [...timesByEpoch().keys()] as [string];

    rmSync(blocked);
    await until("readings under the file's epoch", () => timesByEpoch().size > 1 && running.outbox().isWritable());
    expect(running.stats().outbox).toMatchObject({ isWritable: true, isInMemory: false });
    expect(running.outbox().identity).toMatchObject({ box: expect.stringMatching(/^[0-9a-f]{16}$/), starts: 1 });
    const fileEpoch = running.outbox().epoch;
    const waited = timesByEpoch().get(memoryEpoch) as Set<number>;
    await running.close();
    // Nothing was committed: all of it waits in the file under new ids.
    const { found, stats } = await pendingIn(path);
    const kept = new Set(found.flatMap(({ samples }) => samples.map(({ sourceTimeMs }) => sourceTimeMs)));
    for (const ms of waited) expect(kept).toContain(ms);
    expect(new Set(found.map(({ epoch }) => epoch))).toEqual(new Set([fileEpoch]));
    expect(stats.droppedSamples).toBe(0);
  });

  test("in use goes to memory and comes back to the file, and no reading is lost; source times only rise", async () => {
    const path = join(folder, "outbox.db");
    let refuses = false;
    const original = DatabaseSync.prototype.prepare;
    const onFile = new Set<DatabaseSync>();
    vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, sql) {
      if (this.location() === path) {
        onFile.add(this);
        this.exec(`PRAGMA query_only = ${refuses ? 1 : 0}`);
      }
      return original.call(this, sql);
    });
    const refuse = (on: boolean): void => {
      refuses = on;
      for (const db of onFile) if (db.isOpen) db.exec(`PRAGMA query_only = ${on ? 1 : 0}`);
    };
    const running = start(path);
    await until("readings", () => [...timesByEpoch().values()].some((times) => times.size >= 5));
    const { identity, epoch } = running.outbox();
    const inFile = running.stats().outbox.pendingRecords;
    expect(inFile).toBeGreaterThan(0);
    const writes = vi.spyOn(running.outbox(), "write");
    refuse(true);
    await until("readings from memory", () => timesByEpoch().size === 2);
    expect(running.stats().outbox).toMatchObject({ isWritable: false, isInMemory: true, droppedSamples: 0 });
    // What the file holds is not confirmed either.
    const waiting = running.stats().outbox.pendingRecords - running.outbox().pending(0, 1000).length;
    expect(waiting).toBeGreaterThanOrEqual(inFile);
    // What was read while the file took nothing, and before it was left.
    const held = writes.mock.calls
      .filter((_, i) => writes.mock.results[i]?.value === undefined)
      .flatMap(([, samples]) => samples.filter(({ value }) => value === 7).map(({ sourceTimeMs }) => sourceTimeMs));
    expect(held.length).toBeGreaterThan(2);
    // It is tried again, and stays away as long as it takes nothing.
    await vi.waitFor(() => expect(lines.map(({ code }) => code)).toContain("OUTBOX_UNOPENABLE"), { timeout: 5000 });
    expect(running.stats().outbox.isInMemory).toBe(true);
    refuse(false);
    await until("readings from the file again", () => timesByEpoch().size === 3);
    expect(lines.map(({ code }) => code)).toEqual(expect.arrayContaining(["OUTBOX_UNWRITABLE", "OUTBOX_RECOVERED"]));
    expect(running.outbox().identity.box).toBe(identity.box);
    expect(running.stats().outbox).toMatchObject({ isWritable: true, droppedSamples: 0 });
    await running.close();
    const { found, stats } = await pendingIn(path);
    expect(stats.droppedSamples).toBe(0);
    const times = found.flatMap(({ samples }) => samples.map(({ sourceTimeMs }) => sourceTimeMs));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    const kept = new Set(times);
    for (const ms of held) expect(kept).toContain(ms);
    for (const [of, seen] of timesByEpoch()) for (const ms of seen) if (of !== epoch) expect(kept).toContain(ms);
  });

  test("whose file fails again amid the return to it goes on from memory under another epoch: late notices are no set-back", async () => {
    const blocked = join(folder, "data");
    writeFileSync(blocked, "a file where the folder should be");
    const path = join(blocked, "outbox.db");
    const original = DatabaseSync.prototype.prepare;
    const onFile = new Set<DatabaseSync>();
    vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, sql) {
      if (this.location() === path) onFile.add(this);
      return original.call(this, sql);
    });
    const running = start(path);
    await until("readings", () => timesByEpoch().size > 0);
    const memory = running.outbox();
    const before = memory.epoch;
    const metricId = memory.metrics()[0]?.id as number;
    host.listen(({ type }) => {
      if (type !== "NDEATH" || !running.isMoving() || onFile.size === 0) return;
      // The session has ended for the move: something more to be moved, and no file that takes it.
      memory.write("press", [{ metricId, value: 1, status: 0, sourceTimeMs: 1, gatewayTimeMs: 1 }]);
      for (const db of onFile) if (db.isOpen) db.exec("PRAGMA query_only = 1");
      onFile.clear();
    });
    rmSync(blocked);
    await until("another session from memory", () => host.ofType("NBIRTH").length > 1);
    expect(running.outbox()).toBe(memory);
    expect(memory.epoch).not.toBe(before);
    // What was moved waits there, and is counted as what waits here is.
    using db = new DatabaseSync(path, { readOnly: true });
    const moved = Number(db.prepare("SELECT count(*) AS records FROM record").get()?.records);
    expect(moved).toBeGreaterThan(0);
    expect(running.stats().outbox.pendingRecords).toBe(moved + memory.pending(0, 100_000).length);
    const sent = await until("its readings", () =>
      host.ofType("DDATA").find(({ header }) => header?.epoch === memory.epoch),
    );
    expect(sent.header?.offset).toBeGreaterThan(0);
    // The platform has more of the epoch before than this session has sent.
    await host.commit(before, [[0, 0]], { last: 1_000_000 });
    const count = host.ofType("DDATA").length;
    await until("what it sends after that", () => host.ofType("DDATA").length > count + 3);
    expect(running.stats().edge.setBacks).toBe(0);
  });

  test("is closed amid the move to its file: all that waited in memory is in it", async () => {
    const blocked = join(folder, "data");
    writeFileSync(blocked, "a file where the folder should be");
    const path = join(blocked, "outbox.db");
    const running = start(path);
    await until("readings", () => timesByEpoch().size > 0);
    const memory = running.outbox();
    const metricId = memory.metrics()[0]?.id as number;
    const timesMs = Array.from({ length: 20_000 }, (_, i) => 1_700_000_000_000 + i);
    for (const sourceTimeMs of timesMs)
      memory.write("press", [{ metricId, value: 1, status: 0, sourceTimeMs, gatewayTimeMs: sourceTimeMs }]);
    rmSync(blocked);
    await until("the move", () => running.isMoving());
    expect(running.outbox()).toBe(memory);
    await running.close();
    expect(running.isMoving()).toBe(false);
    const { found, stats } = await pendingIn(path);
    const kept = new Set(found.flatMap(({ samples }) => samples.map(({ sourceTimeMs }) => sourceTimeMs)));
    expect(timesMs.filter((ms) => !kept.has(ms))).toEqual([]);
    expect(stats.droppedSamples).toBe(0);
  });

  test("for one transaction, and then had nothing to write, stays with its file", async () => {
    const path = join(folder, "outbox.db");
    const original = DatabaseSync.prototype.prepare;
    const onFile = new Set<DatabaseSync>();
    vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, sql) {
      if (this.location() === path) onFile.add(this);
      return original.call(this, sql);
    });
    await plc.close();
    const running = start(path);
    const outbox = running.outbox();
    await vi.waitFor(() => expect(running.stats().devices[0]?.connected).toBe(false));
    for (const db of onFile) db.exec("PRAGMA query_only = 1");
    outbox.declare("press", []);
    expect(outbox.isWritable()).toBe(false);
    for (const db of onFile) db.exec("PRAGMA query_only = 0");
    await vi.waitFor(() => expect(outbox.isWritable()).toBe(true), { timeout: 5000 });
    expect(running.outbox()).toBe(outbox);
    expect(lines.map(({ code }) => code)).not.toContain("OUTBOX_UNWRITABLE");
  });

  test("is not refused at the start where the file is damaged, and is where it is no outbox", async () => {
    const path = join(folder, "outbox.db");
    writeFileSync(path, "of another program");
    expect(() => start(path)).toThrow(expect.objectContaining({ code: "OUTBOX_FOREIGN_FILE" }));
    writeFileSync(path, Buffer.alloc(20_000));
    writeFileSync(`${path}-reserve`, "");
    const running = start(path);
    await until("readings", () => timesByEpoch().size > 0);
    expect(running.stats().outbox).toMatchObject({ isWritable: true, isInMemory: false });
  });

  test("ends in order while it is away", async () => {
    mkdirSync(join(folder, "outbox.db"));
    const running = start(join(folder, "outbox.db"));
    await until("readings", () => timesByEpoch().size > 0);
    const startedMs = performance.now();
    await running.close();
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });
});
