import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Control, startControl } from "./control.ts";
import { opcuaCertificatePath } from "./opcua-pki.ts";
import { connectRaw, until } from "./raw-client.ts";
import { type Simulator, scaledNow, startSimulator } from "./simulator.ts";
import { testPkiDir } from "./test-opcua.ts";

const START_MS = Date.UTC(2026, 0, 5);
let nowMs = START_MS;
let simulator: Simulator;
let control: Control;

beforeEach(async () => {
  nowMs = START_MS;
  simulator = await startSimulator({
    plants: [
      { profile: "copper-casting", seed: 1 },
      { id: "second", profile: "copper-rolling", seed: 1 },
    ],
    now: () => nowMs,
    realNow: () => 42,
  });
  control = await startControl({ simulator });
});

afterEach(async () => {
  await control.close();
  await simulator.close();
});

async function ask(path: string, method = "GET", body?: unknown): Promise<{ status: number; body: unknown }> {
  const init =
    body === undefined ? { method } : { method, body: typeof body === "string" ? body : JSON.stringify(body) };
  const response = await fetch(`http://127.0.0.1:${control.port}${path}`, init);
  return { status: response.status, body: await response.json() };
}

async function readStates(): Promise<void> {
  const client = await connectRaw(simulator.ports[0] ?? 0);
  client.send("0001 0000 0006 0b 03 0000 0004");
  await client.receive(17);
  client.close();
}

describe("startSimulator", () => {
  it("starts each plant on a port of its own", () => {
    expect(new Set(simulator.ports).size).toBe(2);
    expect(simulator.plants.map(({ id, port }) => [id, port])).toEqual([
      ["copper-casting-1", simulator.ports[0]],
      ["second", simulator.ports[1]],
    ]);
  });

  it("starts all plants or none, and refuses two of one id", async () => {
    const taken = simulator.ports[0] ?? 0;
    const first = { profile: "copper-casting", seed: 1 } as const;
    const plants = [first, { profile: "copper-rolling", seed: 1, port: taken } as const];
    await expect(startSimulator({ plants, now: () => nowMs })).rejects.toMatchObject({ code: "EADDRINUSE" });
    await expect(startSimulator({ plants: [first, first], now: () => nowMs })).rejects.toThrow(/two plants/);
  });
});

describe("scaledNow", () => {
  it("shows the origin at the start and runs at its rate, in whole ms", () => {
    let realMs = 1000;
    const now = scaledNow({ rate: 7.5, originMs: START_MS, startedRealMs: 1000, realNow: () => realMs });
    expect(now()).toBe(START_MS);
    realMs += 3;
    expect(now()).toBe(START_MS + 22);
    expect(() => scaledNow({ rate: 0, originMs: 0, startedRealMs: 0 })).toThrow(RangeError);
  });
});

describe("a plant over both protocols", () => {
  const pkiDir = testPkiDir("simulator");

  it("is one truth, and its faults and logs are each protocol's own", async () => {
    await using both = await startSimulator({
      plants: [{ profile: "copper-casting", seed: 1, opcuaPort: 0 }],
      now: () => nowMs,
      opcua: { pkiDir },
    });
    const bothControl = await startControl({ simulator: both });
    const [plant] = both.plants;
    const server = plant?.opcua;
    if (plant === undefined || server === undefined) throw new Error("no OPC UA server");
    expect(server.certificatePath).toBe(opcuaCertificatePath(join(pkiDir, plant.id)));
    const askIt = async (path: string, init?: RequestInit) =>
      (await (await fetch(`http://127.0.0.1:${bothControl.port}${path}`, init)).json()) as Record<string, unknown>;
    const post = (body: object) => askIt("/faults", { method: "POST", body: JSON.stringify(body) });
    nowMs += 60_000;
    const { registers, variables } = plant.truth();
    expect(variables["machine-1/production-total"]).toBe(registers["machine-1/production-total"]);
    await until("a scan", () => server.held().at(-1)?.timeMs === nowMs);
    expect((await askIt("/held?point=machine-1/production-total&after=1")).length).toBe(2);
    expect(await askIt("/map?protocol=opcua")).toMatchObject({ namespaceUri: "urn:jilian:simulator" });
    expect(await askIt("/served?protocol=opcua")).toEqual([]);
    expect(await post({ kind: "silent", unitId: 1 })).toMatchObject({ id: 1 });
    expect(await post({ protocol: "opcua", kind: "freeze", device: "feeder-1" })).toMatchObject({ id: 1 });
    expect(await post({ protocol: "opcua", kind: "slow", unitId: 1 })).toEqual({
      error: expect.stringMatching(/delayMs.*; unitId: no field/),
    });
    expect(await post({ protocol: "bacnet", kind: "cut" })).toEqual({ error: expect.stringMatching(/modbus, opcua/) });
    const badCode = { protocol: "opcua", kind: "badStatus", code: "BadLuck" };
    expect(await post(badCode)).toEqual({ error: "BadLuck is no StatusCode of OPC UA" });
    expect(await askIt("/faults")).toMatchObject([{ faults: [{ spec: { kind: "silent" } }], opcua: [{ id: 1 }] }]);
    expect(await askIt("/plants")).toMatchObject([
      { opcua: { endpointUrl: server.endpointUrl, stats: { writesRefused: 0 }, faults: [{ id: 1 }] } },
    ]);
    expect(await askIt("/faults?id=1&protocol=opcua", { method: "DELETE" })).toEqual({ cleared: 1 });
    expect(server.faults()).toEqual([]);
    await post({ protocol: "opcua", kind: "freeze" });
    expect(await askIt("/faults", { method: "DELETE" })).toEqual({ cleared: 2 });
    await bothControl.close();
  });

  it("may be served over OPC UA alone", async () => {
    await using alone = await startSimulator({
      plants: [{ profile: "copper-casting", seed: 1, port: null, opcuaPort: 0 }],
      now: () => nowMs,
      opcua: { pkiDir },
    });
    const [plant] = alone.plants;
    expect(alone.ports).toEqual([null]);
    expect(plant?.opcua?.port).toBeGreaterThan(0);
    expect([plant?.served(), plant?.stats().requests]).toEqual([[], 0]);
    await expect(plant?.startFault({ kind: "cut" })).rejects.toThrow(/not served over Modbus/);
    const aloneControl = await startControl({ simulator: alone });
    const body = JSON.stringify({ kind: "forgetSession" });
    const response = await fetch(`http://127.0.0.1:${aloneControl.port}/faults`, { method: "POST", body });
    expect([response.status, await response.json()]).toEqual([201, { sessions: 0, timeMs: nowMs }]);
    await aloneControl.close();
  });

  it("ends all servers where one cannot start, and refuses a plant that nobody could reach", async () => {
    const plants = [
      { profile: "copper-casting", seed: 1, port: null, opcuaPort: 0 },
      { profile: "copper-casting", seed: 2, port: simulator.ports[0] ?? 0 },
    ] as const;
    const opcua = { pkiDir };
    await expect(startSimulator({ plants, now: () => nowMs, opcua })).rejects.toMatchObject({ code: "EADDRINUSE" });
    const nowhere = [{ profile: "copper-casting", seed: 1, port: null }] as const;
    await expect(startSimulator({ plants: nowhere, now: () => nowMs })).rejects.toThrow(/no protocol/);
  });
});

describe("the control interface", () => {
  it("tells of plants and their truth, now and earlier, with 64-bit integers as strings", async () => {
    nowMs += 60_000;
    expect((await ask("/plants")).body).toMatchObject([
      { id: "copper-casting-1", simulated: true, startMs: START_MS, timeMs: nowMs, stats: { writesRefused: 0 } },
      { id: "second", profile: "copper-rolling" },
    ]);
    const truth = simulator.plants[1]?.truth();
    const { body } = await ask("/truth?plant=second");
    expect(body).toMatchObject({ plant: "second", meters: truth?.meters, machines: truth?.machines });
    expect(body).toMatchObject({
      registers: { "incoming-meter/energy-import": String(truth?.registers["incoming-meter/energy-import"]) },
    });
    expect((await ask("/truth")).body).toHaveLength(2);
    expect((await ask(`/truth?plant=second&at=${START_MS}`)).body).toMatchObject({
      timeMs: START_MS,
      meters: [{ energySinceStartKWh: "0.000000" }, {}, {}, {}],
    });
    expect((await ask("/map?plant=second")).body).toMatchObject({ profile: "copper-rolling", devices: { length: 7 } });
  });

  it("tells what was served, from a sequence number on", async () => {
    await readStates();
    await readStates();
    const path = "/served?plant=copper-casting-1&point=machine-1/production-total";
    const total = String(simulator.plants[0]?.truth().registers["machine-1/production-total"]);
    const { body } = await ask(path);
    expect(body).toMatchObject([
      { sequence: 1, timeMs: START_MS, realTimeMs: 42, raw: total },
      { sequence: 2, raw: total },
    ]);
    expect((await ask(`${path}&after=1`)).body).toHaveLength(1);
    expect((await ask("/reads?plant=copper-casting-1&limit=1")).body).toMatchObject([
      { quantity: 4, words: { length: 4 } },
    ]);
  });

  it("starts, lists and clears faults", async () => {
    const started = await ask("/faults", "POST", { plant: "second", kind: "silent", unitId: 3 });
    expect(started).toMatchObject({ status: 201, body: { id: 1, spec: { kind: "silent", unitId: 3 } } });
    expect((await ask("/faults")).body).toMatchObject([{ faults: [] }, { plant: "second", faults: [{ id: 1 }] }]);
    expect((await ask("/faults?plant=second&id=1", "DELETE")).body).toEqual({ cleared: 1 });
    await ask("/faults", "POST", { plant: "second", kind: "freeze" });
    expect((await ask("/faults", "DELETE")).body).toEqual({ cleared: 1 });
    const reset = await ask("/faults", "POST", {
      plant: "second",
      kind: "counterReset",
      point: "feeder-2/energy-import",
    });
    expect(reset).toMatchObject({ status: 201, body: { timeMs: START_MS, finalRaw: expect.stringMatching(/^\d+$/) } });
    expect((await ask("/truth?plant=second")).body).toMatchObject({ registers: { "feeder-2/energy-import": "0" } });
  });

  it.each<[string, string, unknown, number, RegExp]>([
    ["GET", "/truth?plant=third", undefined, 400, /third.*copper-casting-1, second/],
    ["GET", "/served", undefined, 400, /plant: missing/],
    ["GET", "/served?plant=second&point=x", undefined, 400, /point/],
    ["GET", "/served?plant=second&after=-1", undefined, 400, /after/],
    ["GET", "/truth?at=1", undefined, 400, /before/],
    ["GET", `/truth?at=${START_MS + 1}`, undefined, 400, /after the plant's now/],
    ["GET", "/nothing", undefined, 404, /GET \/plants/],
    ["PUT", "/faults", {}, 404, /POST \/faults/],
    ["POST", "/faults", "{", 400, /JSON/],
    ["POST", "/faults", [], 400, /object/],
    ["POST", "/faults", { kind: "cut" }, 400, /plant: missing/],
    ["POST", "/faults", { plant: "second", kind: "slow", unitId: "3" }, 400, /unitId.*; delayMs/],
    ["POST", "/faults", { plant: "second", kind: "counterReset", point: "x" }, 400, /x is no counter/],
    ["POST", "/faults", " ".repeat(70_000), 413, /longer/],
    ["DELETE", "/faults?id=1", undefined, 400, /plant/],
  ])("%s %s with %j is answered with a reason", async (method, path, body, status, reason) => {
    const reply = await ask(path, method, body);
    expect(reply.status).toBe(status);
    expect((reply.body as { error: string }).error).toMatch(reason);
  });
});
