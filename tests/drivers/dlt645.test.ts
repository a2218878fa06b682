import { Writable } from "node:stream";
import { statusName } from "@jilian/domain/quality.ts";
import type { RawReading } from "@jilian/gateway/model.ts";
import type { Dlt645FaultSpec } from "@jilian/simulators/dlt645-faults.ts";
import pino from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { type MeterWorld, meterAddress, startMeter, type WorldOptions } from "./test-dlt645.ts";

const never = new AbortController().signal;
const closers: (() => Promise<void>)[] = [];
let worlds: MeterWorld[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  // Read-only toward meters, whatever went wrong before: read data, read following data, to one meter by its whole address.
  const requests = worlds.flatMap(({ server }) => [...server.requests]);
  expect(requests.length).toBeGreaterThan(0);
  expect(
    requests.filter(({ control, address }) => ![0x11, 0x12].includes(control) || address !== meterAddress),
  ).toEqual([]);
  worlds = [];
});

const values = {
  "00010000": "12345678",
  "00010100": "00000001",
  "00010200": "00000203",
  "02010100": "2301",
  "02010200": "2302",
  "02010300": "2303",
  "02030000": "923456",
  "02800002": "4998",
};
const voltages = ['dataId: "02010100"', 'dataId: "02010200"', 'dataId: "02010300"'];

async function start(options: Partial<WorldOptions> & { tags: readonly string[] }): Promise<MeterWorld> {
  const world = await startMeter({ values, ...options });
  closers.push(world.close);
  worlds.push(world);
  await world.driver.connect(never);
  return world;
}

/** Readings by tag: the value, or the status of a bad one. */
function shown(readings: readonly RawReading[]): unknown[] {
  return readings
    .toSorted((a, b) => a.tag - b.tag)
    .map(({ tag, value, status }, i) => {
      expect(tag).toBe(i);
      return value ?? statusName(status);
    });
}
const read = async ({ driver }: MeterWorld) => shown(await driver.read(never));
const looked = new WeakMap<MeterWorld["server"], number>();
/** What was asked for since the last call, the question who it is left out. */
function asked({ server }: MeterWorld): string[] {
  const requests = server.requests.slice(looked.get(server) ?? 0);
  looked.set(server, server.requests.length);
  return requests.flatMap(({ dataId }) => (dataId === "04000403" ? [] : [dataId]));
}

describe("createDlt645Driver", () => {
  it("reads counts of each format's last digit, signed ones too", async () => {
    const world = await start({ tags: ['dataId: "00010000"', 'dataId: "02030000"', 'dataId: "02800002"'] });
    expect(await read(world)).toEqual([12_345_678, -123_456, 4998]);
    expect(asked(world)).toEqual(["00010000", "02030000", "02800002"]);
  });

  it("asks once for the tags of a block, also with other tags between them", async () => {
    const tags = [voltages[2] as string, 'dataId: "02800002"', voltages[0] as string];
    const world = await start({ tags });
    expect(await read(world)).toEqual([2303, 4998, 2301]);
    expect(asked(world)).toEqual(["0201FF00", "02800002"]);
  });

  it("puts the following frames of a long answer together", async () => {
    const world = await start({
      tags: ['dataId: "00010000"', 'dataId: "00010100"', 'dataId: "00010200"'],
      meter: { maxDataBytes: 5 },
    });
    expect(await read(world)).toEqual([12_345_678, 1, 203]);
    expect(asked(world)).toEqual(["0001FF00", "0001FF00", "0001FF00"]);
  });

  it("gives up a meter's answer that never ends, and keeps the other tags", async () => {
    const world = await start({
      values: { ...values, "00990000": "00".repeat(40) },
      tags: ['dataId: "00990000", format: XXXX', 'dataId: "02800002"'],
      meter: { maxDataBytes: 2 },
    });
    expect(await read(world)).toEqual(["BadDecodingError", 4998]);
    expect(asked(world)).toHaveLength(1 + 16 + 1);
  });

  it("takes FF for no value of that phase alone, and other bytes for no digits", async () => {
    const world = await start({
      values: { ...values, "02010200": "FFFF", "02010300": "23A0" },
      tags: voltages,
    });
    expect(await read(world)).toEqual([2301, "BadSensorFailure", "BadDecodingError"]);
  });

  it("takes a sentinel for no value", async () => {
    const world = await start({ tags: voltages, extra: "timeoutMs: 150, sentinels: [2302]" });
    expect(await read(world)).toEqual([2301, "BadSensorFailure", 2303]);
  });

  it("asks for a tag alone that the block does not hold", async () => {
    const world = await start({
      values: { "00010000": "00000100", "00010200": "00000203", "00010100": "00000001", "00010400": "00000004" },
      tags: ['dataId: "00010000"', 'dataId: "00010200"', 'dataId: "00010400"'],
    });
    expect(await read(world)).toEqual([100, 203, 4]);
    expect(asked(world)).toEqual(["0001FF00", "00010400"]);
    expect(await read(world)).toEqual([100, 203, 4]);
    expect(asked(world)).toEqual(["0001FF00", "00010400"]);
  });
});

describe("a meter that refuses", () => {
  it("a block is asked one by one from then on", async () => {
    const world = await start({ tags: voltages, meter: { blocks: "refused" } });
    expect(await read(world)).toEqual([2301, 2302, 2303]);
    expect(asked(world)).toEqual(["0201FF00", "02010100", "02010200", "02010300"]);
    expect(await read(world)).toEqual([2301, 2302, 2303]);
    expect(asked(world)).toEqual(["02010100", "02010200", "02010300"]);
  });

  it("one value turns that tag bad alone, and is left alone for ten minutes", async () => {
    const world = await start({ tags: ['dataId: "02800003"', 'dataId: "00010000"'] });
    for (let i = 0; i < 3; i += 1) expect(await read(world)).toEqual(["BadNodeIdUnknown", 12_345_678]);
    expect(asked(world).filter((dataId) => dataId === "02800003")).toHaveLength(1);
  });

  it("one value is asked for it again when its time has come", async () => {
    const known: Record<string, string> = { ...values };
    delete known["02800002"];
    const tags = ['dataId: "02800002"', 'dataId: "00010000"'];
    const world = await start({ values: () => known, tags, retryRefusedMs: 0 });
    expect(await read(world)).toEqual(["BadNodeIdUnknown", 12_345_678]);
    known["02800002"] = "5001";
    expect(await read(world)).toEqual([5001, 12_345_678]);
  });

  it("for another reason is asked again at each poll, and the reason is logged once", async () => {
    const logged: string[] = [];
    const stream = new Writable({
      write: (chunk, _, done) => {
        logged.push(String(chunk));
        done();
      },
    });
    const world = await start({ tags: ['dataId: "02800002"', 'dataId: "00010000"'], log: pino(stream) });
    world.server.startFault({ kind: "errorAnswer", error: 0x04, dataId: "02800002", times: 2 });
    expect(await read(world)).toEqual(["BadDeviceFailure", 12_345_678]);
    expect(await read(world)).toEqual(["BadDeviceFailure", 12_345_678]);
    expect(await read(world)).toEqual([4998, 12_345_678]);
    expect(logged).toHaveLength(1);
    expect(JSON.parse(logged[0] as string)).toMatchObject({
      device: "meter",
      tag: "t0",
      address: `line east meter ${meterAddress} data 02800002`,
      msg: expect.stringContaining("04H (wrong password or not authorised)"),
    });
  });

  it("everything fails as a whole, and is asked anew after another connect", async () => {
    const world = await start({ tags: voltages });
    world.server.startFault({ kind: "errorAnswer", error: 0x02, times: 4 });
    const error = { code: "DLT645_NOTHING_READABLE", device: "meter", action: "read" };
    await expect(world.driver.read(never)).rejects.toMatchObject(error);
    await expect(world.driver.read(never)).rejects.toMatchObject(error);
    await world.driver.connect(never);
    expect(await read(world)).toEqual([2301, 2302, 2303]);
  });
});

describe("a line on which", () => {
  it.each<Dlt645FaultSpec>([
    { kind: "echo" },
    { kind: "noise" },
    { kind: "otherMeter" },
    { kind: "preamble", bytes: 0 },
    { kind: "preamble", bytes: 1 },
    { kind: "preamble", bytes: 4 },
    { kind: "slowBytes", gapMs: 1 },
    { kind: "late", delayMs: 20 },
  ])("there is $kind costs no value", async (fault) => {
    const world = await start({ tags: ['dataId: "00010000"', ...voltages], extra: "timeoutMs: 2000" });
    world.server.startFault(fault);
    expect(await read(world)).toEqual([12_345_678, 2301, 2302, 2303]);
  });

  it.each<[Dlt645FaultSpec, string]>([
    [{ kind: "silent" }, "DLT645_TIMEOUT"],
    [{ kind: "wrongChecksum" }, "LINE_GARBLED"],
    [{ kind: "otherMeter", instead: true }, "LINE_GARBLED"],
    [{ kind: "otherData" }, "LINE_GARBLED"],
  ])("there is %o instead of the answer fails the device, and it comes back", async (fault, code) => {
    const world = await start({ tags: ['dataId: "00010000"'] });
    world.server.startFault({ ...fault, times: 1 });
    await expect(world.driver.read(never)).rejects.toMatchObject({
      code,
      device: "meter",
      address: expect.stringContaining(code === "DLT645_TIMEOUT" ? `meter ${meterAddress} data 00010000` : "line east"),
    });
    await world.driver.connect(never);
    expect(await read(world)).toEqual([12_345_678]);
  });

  it("a late answer comes to the next question takes it for none", async () => {
    const world = await start({ tags: ['dataId: "00010000"', 'dataId: "02800002"'] });
    world.server.startFault({ kind: "late", delayMs: 200, dataId: "00010000", times: 1 });
    world.server.startFault({ kind: "late", delayMs: 100, dataId: "02800002", times: 1 });
    await expect(world.driver.read(never)).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    expect(await read(world)).toEqual([12_345_678, 4998]);
  });

  it("a late refusal comes to the next question asks that again: it does not say what it refuses", async () => {
    const world = await start({ tags: ['dataId: "00010000"'] });
    world.server.startFault({ kind: "errorAnswer", error: 0x02, dataId: "00010000", times: 1 });
    world.server.startFault({ kind: "late", delayMs: 200, dataId: "00010000", times: 1 });
    await expect(world.driver.read(never)).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    world.server.startFault({ kind: "late", delayMs: 100, dataId: "04000403", times: 1 });
    expect(await world.driver.connect(never)).toEqual({ simulated: true });
    expect(world.server.requests.map(({ dataId }) => dataId).slice(-2)).toEqual(["04000403", "04000403"]);
    expect(await read(world)).toEqual([12_345_678]);
  });
});

describe("a meter that is silent", () => {
  it("on a block alone is asked one by one from the next connect on, and not for the block again", async () => {
    const world = await start({ tags: voltages, meter: { blocks: "silent" } });
    await expect(world.driver.read(never)).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    for (let i = 0; i < 2; i += 1) {
      await world.driver.connect(never);
      expect(await read(world)).toEqual([2301, 2302, 2303]);
    }
    expect(asked(world).filter((dataId) => dataId === "0201FF00")).toHaveLength(1);
  });

  it("on a block is tried for it once more after a while, and then no more", async () => {
    const world = await start({ tags: voltages, meter: { blocks: "silent" }, retryRefusedMs: 0 });
    const outcomes: unknown[] = [];
    for (let i = 0; i < 4; i += 1) {
      outcomes.push(await read(world).catch((thrown: { code: string }) => thrown.code));
      await world.driver.connect(never);
    }
    expect(outcomes).toEqual(["DLT645_TIMEOUT", "DLT645_TIMEOUT", [2301, 2302, 2303], [2301, 2302, 2303]]);
  });

  it("on a block once, because the line was disturbed, is read by the block again after a while", async () => {
    const world = await start({ tags: voltages, retryRefusedMs: 1500 });
    world.server.startFault({ kind: "silent", dataId: "0201FF00", times: 1 });
    await expect(world.driver.read(never)).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    await world.driver.connect(never);
    asked(world);
    expect(await read(world)).toEqual([2301, 2302, 2303]);
    expect(asked(world)).toEqual(["02010100", "02010200", "02010300"]);
    const again = async () => [await read(world), asked(world)];
    await expect.poll(again, { timeout: 10_000 }).toEqual([[2301, 2302, 2303], ["0201FF00"]]);
  });

  it("altogether when a block is due once more has told nothing about it", async () => {
    const world = await start({ tags: voltages, retryRefusedMs: 600 });
    world.server.startFault({ kind: "silent", dataId: "0201FF00", times: 1 });
    await expect(world.driver.read(never)).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    const silentMs = performance.now();
    await world.driver.connect(never);
    expect(await read(world)).toEqual([2301, 2302, 2303]);
    await expect.poll(() => performance.now() - silentMs, { timeout: 10_000 }).toBeGreaterThan(700);
    asked(world);
    world.server.startFault({ kind: "silent", times: 1 });
    await expect(world.driver.read(never)).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    expect(asked(world)).toEqual(["02010100"]);
    await world.driver.connect(never);
    expect(await read(world)).toEqual([2301, 2302, 2303]);
    expect(asked(world)).toEqual(["0201FF00"]);
  });

  it.each([1, 2, 3, 4, 5, 6, 7])(
    "from the start for %i questions is read by its blocks once it answers",
    async (times) => {
      const world = await startMeter({
        values,
        tags: [...voltages, 'dataId: "00010000"', 'dataId: "00010100"', 'dataId: "02800002"'],
      });
      closers.push(world.close);
      worlds.push(world);
      world.server.startFault({ kind: "silent", times });
      const attempt = () => world.driver.connect(never).then(() => read(world));
      const outcomes: unknown[] = [];
      for (let i = 0; i <= times; i += 1)
        outcomes.push(await attempt().catch((thrown: { code: string }) => thrown.code));
      // Each costs the line one time-out.
      expect(outcomes.slice(0, -1)).toEqual(Array(times).fill("DLT645_TIMEOUT"));
      expect(outcomes.at(-1)).toEqual([2301, 2302, 2303, 12_345_678, 1, 4998]);
      asked(world);
      await read(world);
      expect(asked(world)).toEqual(["0201FF00", "0001FF00", "02800002"]);
    },
  );

  it("altogether has told nothing about its blocks, nor about what it is", async () => {
    const world = await start({ tags: voltages });
    world.server.startFault({ kind: "silent" });
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < 4; i += 1) {
      const attempt = world.driver.connect(never).then(() => world.driver.read(never));
      codes.push(await attempt.then(() => undefined).catch((thrown: { code: string }) => thrown.code));
    }
    expect(codes).toEqual(Array(4).fill("DLT645_TIMEOUT"));
    // One time-out for each attempt: the others on the line wait no longer.
    expect(world.server.requests).toHaveLength(1 + 4);
    world.server.clearFaults();
    asked(world);
    expect(await world.driver.connect(never)).toEqual({ simulated: true });
    expect(await read(world)).toEqual([2301, 2302, 2303]);
    expect(asked(world)).toEqual(["0201FF00"]);
  });

  it("for long is looked for as long as answers take, and not for its whole time-out", async () => {
    const world = await start({ tags: voltages, extra: "timeoutMs: 2000" });
    await read(world);
    world.server.startFault({ kind: "silent" });
    await expect(world.driver.read(never)).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    const startedMs = performance.now();
    for (let i = 0; i < 2; i += 1) {
      const attempt = world.driver.connect(never).then(() => world.driver.read(never));
      await expect(attempt).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    }
    // Two probes of 100 ms or so and what the first question of them is lent: less than one time-out and a half.
    expect(performance.now() - startedMs).toBeLessThan(3000);
    world.server.clearFaults();
    await world.driver.connect(never);
    expect(await read(world)).toEqual([2301, 2302, 2303]);
  });

  it("on the question what it is, is read from the next connect on", async () => {
    const world = await start({ tags: voltages });
    world.server.startFault({ kind: "silent", dataId: "04000403" });
    await expect(world.driver.connect(never)).rejects.toMatchObject({ code: "DLT645_TIMEOUT" });
    await expect(world.driver.read(never)).rejects.toMatchObject({ code: "DLT645_STOPPED" });
    for (let i = 0; i < 2; i += 1) {
      expect(await world.driver.connect(never)).toEqual({ simulated: false });
      expect(await read(world)).toEqual([2301, 2302, 2303]);
    }
  });
});
