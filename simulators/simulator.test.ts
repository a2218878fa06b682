import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Control, startControl } from "./control.ts";
import { connectRaw } from "./raw-client.ts";
import { type Simulator, scaledNow, startSimulator } from "./simulator.ts";

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
