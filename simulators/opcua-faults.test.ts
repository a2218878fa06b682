import { createServer } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type OpcuaFaultSpec, parseOpcuaFaultSpec } from "./opcua-faults.ts";
import { type OpcuaServer, startOpcuaServer } from "./opcua-server.ts";
import { createPlant } from "./plant.ts";
import { connectRaw, until } from "./raw-client.ts";
import { connectOpcua, type Seen, type TestClient, testPkiDir } from "./test-opcua.ts";

const START_MS = Date.UTC(2026, 0, 5);
const TOTAL = "machine-1/production-total";
const OTHER = "machine-2/production-total";
const STATE = "machine-1/state";
let nowMs = START_MS;
let server: OpcuaServer;
let client: TestClient;

async function start(): Promise<void> {
  nowMs = START_MS;
  const plant = createPlant({ profile: "copper-casting", seed: 7, startMs: START_MS });
  server = await startOpcuaServer({ plant, id: "plant", now: () => nowMs, port: 0, pkiDir: testPkiDir("server") });
}

async function connect(): Promise<void> {
  client = await connectOpcua(server, { timeoutMs: 500 });
}

async function advance(byMs: number): Promise<void> {
  nowMs += byMs;
  await until("a scan", () => server.plant.timeMs === nowMs);
}

async function readOne(name: string): Promise<Seen> {
  const [seen] = await client.read(name);
  if (seen === undefined) throw new Error(`no ${name}`);
  return seen;
}

async function reconnect(): Promise<void> {
  await client.close();
  await connect();
}

const truthOf = (name: string) => server.plant.truth().variables[name];

describe("parseOpcuaFaultSpec", () => {
  it.each<[unknown, RegExp[]]>([
    [[], [/object/]],
    [{ kind: "exception" }, [/kind: found "exception", expected one of restart, cut, silent/]],
    [{ kind: "restart", downMs: -1, device: "machine-1" }, [/downMs/, /device: no field/]],
    [{ kind: "badStatus", device: "pump", code: "Good" }, [/device: .*incoming-meter/, /code: .*BadSensorFailure/]],
    [{ kind: "badStatus", device: "machine-1", point: TOTAL, code: "BadSensorFailure" }, [/device: a point/]],
    [{ kind: "wrongClock", offsetMs: 0.5 }, [/offsetMs/]],
    [{ kind: "deadSubscription", keepAlive: 1 }, [/keepAlive/]],
    [{ kind: "counterReset" }, [/point/]],
  ])("tells every complaint about %j", (input, complaints) => {
    const parsed = parseOpcuaFaultSpec(input);
    if (!("errors" in parsed)) throw new Error("was accepted");
    expect(parsed.errors).toHaveLength(complaints.length);
    for (const [i, complaint] of complaints.entries()) expect(parsed.errors[i]).toMatch(complaint);
  });
});

describe("on command, at one server", () => {
  // What is cleared leaves nothing behind: one server, which takes most of a second of a core to start, serves all of these.
  beforeAll(start);
  beforeEach(connect);
  afterEach(async () => {
    await client.close();
    await server.clearFaults();
    await until("the client is gone", () => server.stats().connections === 0);
  });
  afterAll(() => server.close());

  describe("freeze", () => {
    it("of a device lets its values and their timestamps stand still, and the truth and other devices go on", async () => {
      await advance(10_000);
      const before = await readOne(TOTAL);
      const fault = await server.startFault({ kind: "freeze", device: "machine-1" });
      await advance(60_000);
      expect(await readOne(TOTAL)).toEqual(before);
      expect(truthOf(TOTAL)).not.toBe(before.raw);
      expect(await readOne(OTHER)).toMatchObject({ raw: truthOf(OTHER), valuesTimeMs: nowMs });
      expect(server.faults()).toEqual([fault]);
      expect(await server.clearFaults("id" in fault ? fault.id : -1)).toBe(1);
      expect(await readOne(TOTAL)).toMatchObject({ raw: truthOf(TOTAL), valuesTimeMs: nowMs });
    });
  });

  describe("deadSubscription", () => {
    it.each([false, true])(
      "with keepAlive %s ends what existing subscriptions tell, not the session",
      async (keepAlive) => {
        const { seen, subscription } = await client.subscribe(TOTAL);
        await until("the first value", () => seen.length === 1);
        await server.startFault({ kind: "deadSubscription", keepAlive });
        let beats = 0;
        subscription.on("keepalive", () => {
          beats += 1;
        });
        await advance(10_000);
        const fresh = await client.subscribe(TOTAL);
        await until("a new subscription's value", () => fresh.seen.length === 1);
        if (keepAlive) await until("signs of life", () => beats >= 2);
        await advance(10_000);
        await until("a new subscription's next value", () => fresh.seen.length === 2);
        expect(seen).toHaveLength(1);
        if (!keepAlive) expect(beats).toBe(0);
        expect(await readOne(TOTAL)).toMatchObject({ raw: truthOf(TOTAL) });
        expect(server.stats()).toMatchObject({ sessions: 1, connections: 1 });
        await server.clearFaults();
        await until("what was kept", () => seen.length === 3);
        expect(seen.at(-1)).toEqual(fresh.seen.at(-1));
      },
    );

    it("is cleared after its subscription has gone, without harm", async () => {
      const { subscription } = await client.subscribe(TOTAL);
      await server.startFault({ kind: "deadSubscription" });
      await subscription.terminate();
      expect(await server.clearFaults()).toBe(1);
      expect(await readOne(STATE)).toMatchObject({ status: "Good" });
    });
  });

  describe("badStatus", () => {
    it("of a device gives no value under a bad code, at the time it turned bad, and tells subscribers", async () => {
      const { seen } = await client.subscribe(TOTAL);
      await until("the first value", () => seen.length === 1);
      await advance(10_000);
      await server.startFault({ kind: "badStatus", code: "BadSensorFailure", device: "machine-1" });
      const bad = { raw: null, status: "BadSensorFailure", valuesTimeMs: nowMs };
      expect(await client.read()).toEqual(
        server.map.points.map(({ name, device }) =>
          expect.objectContaining(device === "machine-1" ? { point: name, ...bad } : { point: name, status: "Good" }),
        ),
      );
      await advance(10_000);
      expect(await readOne(TOTAL)).toMatchObject(bad);
      await server.clearFaults();
      await until("the good value", () => seen.at(-1)?.status === "Good" && seen.length > 2);
      expect(seen.at(-1)).toMatchObject({ raw: truthOf(TOTAL), valuesTimeMs: nowMs });
      expect(seen.map(({ status }) => status).filter((status) => status !== "Good")).toEqual(["BadSensorFailure"]);
      expect(
        server
          .held({ point: TOTAL })
          .slice(-seen.length)
          .map(({ raw, status, valuesTimeMs }) => ({ raw, status, valuesTimeMs })),
      ).toEqual(seen.map(({ raw, status, valuesTimeMs }) => ({ raw, status, valuesTimeMs })));
    });

    it("holds the value under UncertainLastUsableValue and goes on under other uncertain codes", async () => {
      const before = await readOne(TOTAL);
      await server.startFault({ kind: "badStatus", code: "UncertainLastUsableValue", point: TOTAL });
      await server.startFault({ kind: "badStatus", code: "UncertainSensorNotAccurate", point: OTHER });
      await advance(60_000);
      expect(await readOne(TOTAL)).toMatchObject({ raw: before.raw, status: "UncertainLastUsableValue" });
      expect(await readOne(OTHER)).toMatchObject({ raw: truthOf(OTHER), status: "UncertainSensorNotAccurate" });
      expect(await readOne("machine-1/production-good")).toMatchObject({ status: "Good" });
    });
  });

  describe("silent and slow", () => {
    it("silent takes requests and answers none while connections stay", async () => {
      await server.startFault({ kind: "silent" });
      const answered = readOne(STATE).then(
        () => true,
        () => false,
      );
      await until("the request is taken", () => server.stats().unanswered === 1);
      expect(server.stats()).toMatchObject({ sessions: 1, connections: 1 });
      await server.clearFaults();
      expect(await answered).toBe(false);
      await reconnect();
      expect(await readOne(STATE)).toMatchObject({ raw: 1n });
    });

    it("slow answers one request after the other, with the values of the moment of answering", async () => {
      await server.startFault({ kind: "slow", delayMs: 120 });
      const beganMs = performance.now();
      const answers = Promise.all([readOne(TOTAL), readOne(TOTAL)]);
      await advance(60_000);
      const [first] = await answers;
      expect(performance.now() - beganMs).toBeGreaterThan(235);
      expect(first).toMatchObject({ raw: truthOf(TOTAL), valuesTimeMs: nowMs });
    });
  });

  it("are checked at the server's door too, where points and codes must exist", async () => {
    await expect(server.startFault({ kind: "slow" } as unknown as OpcuaFaultSpec)).rejects.toThrow(TypeError);
    const bad = { kind: "badStatus", code: "BadLuck" } as const;
    await expect(server.startFault(bad)).rejects.toThrow(/BadLuck is no StatusCode/);
    await expect(server.startFault({ ...bad, code: "BadSensorFailure", point: "x" })).rejects.toThrow(
      /x is no variable/,
    );
    await expect(server.startFault({ kind: "counterReset", point: STATE })).rejects.toThrow(RangeError);
    expect(server.faults()).toEqual([]);
  });

  describe("counterReset", () => {
    it("restarts a counter at 0; the truth goes on", async () => {
      await advance(60_000);
      const before = Number((await readOne(TOTAL)).raw);
      await server.startFault({ kind: "counterReset", point: TOTAL });
      expect(await readOne(TOTAL)).toMatchObject({ raw: 0n, valuesTimeMs: nowMs });
      await advance(60_000);
      const after = Number((await readOne(TOTAL)).raw);
      expect(server.plant.truth().machines[0]?.production.total).toBe(before + after);
      expect(server.plant.raw(server.plant.map.points.find(({ name }) => name === TOTAL) as never)).toBe(BigInt(after));
    });
  });
});

describe("on command, at a server of its own", () => {
  beforeEach(async () => {
    await start();
    await connect();
  });
  afterEach(async () => {
    await client.close();
    await server.close();
  });

  describe("wrongClock", () => {
    it("puts the source timestamps of what changes off, and nothing else", async () => {
      await server.startFault({ kind: "wrongClock", offsetMs: -3_600_000, device: "machine-1" });
      await advance(60_000);
      expect(await readOne(TOTAL)).toMatchObject({ raw: truthOf(TOTAL), valuesTimeMs: nowMs - 3_600_000 });
      expect(await readOne(OTHER)).toMatchObject({ valuesTimeMs: nowMs });
      expect(await readOne(STATE)).toMatchObject({ valuesTimeMs: START_MS });
      expect(server.held({ point: TOTAL }).at(-1)).toMatchObject({ timeMs: nowMs, valuesTimeMs: nowMs - 3_600_000 });
    });
  });

  describe("forgetSession", () => {
    it("drops sessions while their connections stay", async () => {
      expect(await server.startFault({ kind: "forgetSession" })).toEqual({ sessions: 1, timeMs: START_MS });
      expect(server.stats()).toMatchObject({ sessions: 0, connections: 1, connectionsAccepted: 1 });
      // This client logs in again by itself, over the same connection, once its session is refused.
      const old = client.session.sessionId.toString();
      expect(await readOne(STATE)).toMatchObject({ raw: 1n });
      expect(client.session.sessionId.toString()).not.toBe(old);
      expect(server.stats()).toMatchObject({ sessions: 1, connections: 1, connectionsAccepted: 1 });
      expect(server.faults()).toEqual([]);
    });
  });

  describe("cut", () => {
    it("resets connections and new ones until it is cleared", async () => {
      const raw = await connectRaw(server.port);
      await server.startFault({ kind: "cut" });
      expect(await raw.ended).toBe("ECONNRESET");
      await until("all connections gone", () => server.stats().connections === 0);
      // The reset may overtake the client's own notice of being connected.
      const again = connectRaw(server.port).then(
        ({ ended }) => ended,
        (error: NodeJS.ErrnoException) => error.code,
      );
      expect(await again).toBe("ECONNRESET");
      await server.clearFaults();
      await reconnect();
      expect(await readOne(STATE)).toMatchObject({ raw: 1n });
      expect(server.stats().restarts).toBe(0);
    });

    it("closes the port with `refuse` and opens it again", async () => {
      const lost = new Promise<void>((resolve) => client.client.once("connection_lost", () => resolve()));
      await server.startFault({ kind: "cut", refuse: true });
      await lost;
      await expect(connectRaw(server.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
      await server.clearFaults();
      await reconnect();
      expect(await readOne(STATE)).toMatchObject({ raw: 1n });
    });
  });

  describe("restart", () => {
    it("ends the server hard and starts it on the same port, with what its variables held", async () => {
      const { port } = server;
      const raw = await connectRaw(port);
      const lost = new Promise<void>((resolve) => client.client.once("connection_lost", () => resolve()));
      await server.startFault({ kind: "restart", downMs: 400 });
      await lost;
      expect(await raw.ended).toBe("ECONNRESET");
      await expect(connectRaw(port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
      expect(server.faults()).toMatchObject([{ spec: { kind: "restart" } }]);
      await expect(server.startFault({ kind: "cut" })).rejects.toThrow(/restarting/);
      await advance(60_000);
      await until("the server is back", () => server.faults().length === 0);
      expect(server.stats()).toMatchObject({ restarts: 1, sessions: 0, connections: 0 });
      await reconnect();
      expect(await readOne(TOTAL)).toMatchObject({ raw: truthOf(TOTAL), valuesTimeMs: nowMs });
      expect(await readOne(STATE)).toMatchObject({ raw: 1n, valuesTimeMs: START_MS });
      const { seen } = await client.subscribe(TOTAL);
      await advance(10_000);
      await until("values of the new server", () => seen.length === 2);
      expect(server.served({ point: TOTAL }).filter(({ service }) => service === "publish")).toHaveLength(2);
    });

    it("is over at once when it is cleared, and when the server is closed", async () => {
      await server.startFault({ kind: "restart", downMs: 600_000 });
      expect(await server.clearFaults()).toBe(1);
      await reconnect();
      expect(await readOne(STATE)).toMatchObject({ raw: 1n });
      await server.startFault({ kind: "restart", downMs: 600_000 });
      await server.close();
      await expect(connectRaw(server.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    });

    it("says so when its port was taken meanwhile, and tries again when it is cleared", async () => {
      const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
      await server.startFault({ kind: "restart", downMs: 300 });
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(server.port, "127.0.0.1", resolve));
      await until("the warning", () => warned.mock.calls.length > 0);
      expect(String(warned.mock.calls[0]?.[0])).toMatch(/EADDRINUSE/);
      warned.mockRestore();
      expect(server.faults()).toHaveLength(1);
      await new Promise((resolve) => other.close(resolve));
      await server.clearFaults();
      await reconnect();
      expect(await readOne(STATE)).toMatchObject({ raw: 1n });
    });
  });
});
