import { readFileSync } from "node:fs";
import {
  AttributeIds,
  type BrowseResult,
  DataType,
  type ReferenceDescription,
  StatusCodes,
  Variant,
} from "node-opcua-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { opcuaMapOf } from "./opcua-map.ts";
import { type OpcuaServer, startOpcuaServer } from "./opcua-server.ts";
import { createPlant } from "./plant.ts";
import { PROFILE_NAMES } from "./profiles.ts";
import { until } from "./raw-client.ts";
import { registerMapOf } from "./register-map.ts";
import { scaledNow } from "./simulator.ts";
import { connectOpcua, type TestClient, testPkiDir } from "./test-opcua.ts";

const START_MS = Date.UTC(2026, 0, 5);
const USER = { name: "gateway", password: "a secret" };
const pkiDir = testPkiDir("server");

describe("with a clock that is moved by hand", () => {
  let nowMs = START_MS;
  let server: OpcuaServer;
  let client: TestClient;

  beforeAll(async () => {
    const plant = createPlant({ profile: "copper-rolling", seed: 3, startMs: START_MS });
    server = await startOpcuaServer({ plant, id: "plant", now: () => nowMs, port: 0, pkiDir, user: USER });
    client = await connectOpcua(server);
  });
  afterAll(async () => {
    await client.close();
    await server.close();
  });

  it("serves every variable as the truth has it, with the plant time of its last change", async () => {
    nowMs += 5_000_050;
    const { timeMs } = server.plant.truthAt(nowMs);
    await until("a scan", () => server.plant.timeMs === timeMs);
    const seen = await client.read();
    const truth = server.plant.truth();
    expect(Object.fromEntries(seen.map(({ point, raw }) => [point, raw]))).toEqual(truth.variables);
    expect(new Set(seen.map(({ status }) => status))).toEqual(new Set(["Good"]));
    expect(new Set(seen.map(({ valuesTimeMs }) => valuesTimeMs))).toEqual(new Set([START_MS, timeMs]));
    const moved = seen.filter(({ valuesTimeMs }) => valuesTimeMs === timeMs).map(({ point }) => point);
    expect(moved).toContain("incoming-meter/energy-import");
    expect(moved).not.toContain("machine-1/fault");
  });

  it("notes what it held and what was read of it", async () => {
    const before = server.served().length;
    const [seen] = await client.read("machine-1/production-total");
    const [noted, ...more] = server.served({ after: before });
    expect(more).toEqual([]);
    expect(noted).toMatchObject({ ...seen, service: "read", delivery: "normal", timeMs: nowMs });
    expect(server.served({ client: noted?.client ?? "" }).length).toBeGreaterThan(0);
    expect(server.served({ client: "nobody" })).toEqual([]);
    const held = server.held({ point: "machine-1/production-total" });
    expect(held.map(({ valuesTimeMs }) => valuesTimeMs)).toEqual([START_MS, nowMs - 50]);
    expect(held.at(-1)).toMatchObject(seen ?? {});
  });

  it("publishes every change once, and each is the truth at its source timestamp", async () => {
    const { seen, subscription } = await client.subscribe();
    await until("first values", () => seen.length === server.map.points.length);
    const first = server.held().at(-1)?.sequence ?? 0;
    for (let step = 0; step < 20; step++) {
      nowMs += 1700;
      const timeMs = Math.floor(nowMs / 100) * 100;
      await until("a scan", () => server.plant.timeMs === timeMs);
    }
    const held = server.held({ after: first });
    await until("all values", () => seen.length === server.map.points.length + held.length);
    const text = (values: readonly { point: string; valuesTimeMs: number; raw: unknown }[]) =>
      values.map(({ point, valuesTimeMs, raw }) => `${valuesTimeMs} ${point} ${raw}`).sort();
    expect(text(seen.slice(server.map.points.length))).toEqual(text(held));
    expect(held.length).toBeGreaterThan(300);
    for (const { point, raw, valuesTimeMs, timeMs } of held.slice(0, 50)) {
      expect(raw, point).toEqual(server.plant.truthAt(valuesTimeMs).variables[point]);
      expect(valuesTimeMs).toBe(timeMs);
    }
    const published = server.served().filter(({ service }) => service === "publish");
    expect(text(published)).toEqual(text(seen));
    await subscription.terminate();
  });

  it("lays out Objects/Plant/<device>/<Signal> with units, and lets nobody write anything", async () => {
    const children = async (nodeId: string) => {
      const result = (await client.session.browse(nodeId)) as BrowseResult;
      return result.references ?? [];
    };
    const named = (references: readonly ReferenceDescription[], name: string) =>
      references.find(({ browseName }) => browseName.name === name)?.nodeId.toString() ?? "";
    const devices = await children(named(await children("ObjectsFolder"), "Plant"));
    const map = opcuaMapOf("copper-rolling");
    expect(devices.map(({ browseName }) => browseName.name)).toEqual(map.devices.map(({ device }) => device));
    for (const { device, points } of map.devices) {
      const variables = await children(named(devices, device));
      expect(variables.map(({ browseName }) => browseName.name)).toEqual(points.map(({ browseName }) => browseName));
      for (const { nodeId } of variables) {
        const properties = await children(nodeId.toString());
        const all = [nodeId, ...properties.map((property) => property.nodeId)];
        const attributeId = AttributeIds.AccessLevel;
        const levels = await client.session.read(all.map((id) => ({ nodeId: id.toString(), attributeId })));
        expect(levels.map(({ value }) => value.value & 0b10)).toEqual(levels.map(() => 0));
      }
    }
    const energy = map.points.find(({ name }) => name === "incoming-meter/energy-import");
    if (energy === undefined) throw new Error("no energy");
    const unit = named(await children(client.nodeIdOf(energy)), "EngineeringUnits");
    const { value } = await client.session.read({ nodeId: unit, attributeId: AttributeIds.Value });
    // "WHR" of UNECE Recommendation 20, as OPC 10000-8, 5.6.4.3 makes a number of it.
    expect(value.value).toMatchObject({ unitId: 0x57_48_52, displayName: { text: "W·h" } });
    const refused = await client.session.write({
      nodeId: client.nodeIdOf(energy),
      attributeId: AttributeIds.Value,
      value: { value: new Variant({ dataType: DataType.UInt64, value: [0, 0], arrayType: 0 }) },
    });
    expect(refused).toBe(StatusCodes.BadNotWritable);
    expect(server.stats().writesRefused).toBe(1);
  });

  it("says that it is simulated", async () => {
    // Server_ServerStatus_BuildInfo_ProductUri (OPC 10000-6, A.3).
    const { value } = await client.session.read({ nodeId: "ns=0;i=2262", attributeId: AttributeIds.Value });
    expect(value.value).toBe("urn:jilian:simulator:plant");
  });
});

it("holds plants that run 60 times faster, each published value being the truth at its time", async () => {
  const plant = createPlant({ profile: "aluminium-extrusion", seed: 2, startMs: START_MS });
  const now = scaledNow({ rate: 60, originMs: START_MS, startedRealMs: Date.now() });
  const server = await startOpcuaServer({ plant, id: "plant", now, port: 0, pkiDir });
  const client = await connectOpcua(server);
  const { seen } = await client.subscribe("feeder-2/energy-import", "machine-1/inspection-inspected");
  await until("two minutes of the plant", () => plant.timeMs > START_MS + 120_000 && seen.length > 20);
  await client.close();
  const values = seen.map(({ raw }) => raw as bigint);
  expect(values.length).toBeGreaterThan(20);
  for (const { point, raw, valuesTimeMs } of seen) {
    expect(raw).toBe(server.plant.truthAt(valuesTimeMs).variables[point]);
    expect(server.held({ point }).filter((held) => held.valuesTimeMs === valuesTimeMs)).toMatchObject([{ raw }]);
  }
  await server.close();
});

describe("the variables", () => {
  it.each(PROFILE_NAMES)("of %s bear the names, roles, units and products of its registers", (profile) => {
    const about = ({ name, role, unit, carrier, product, counter }: Record<string, unknown>) => [
      name,
      role,
      unit,
      carrier,
      product,
      counter,
    ];
    const variables = opcuaMapOf(profile).points.filter(({ type }) => type !== "string");
    const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name);
    expect([...variables].sort(byName).map(about)).toEqual([...registerMapOf(profile).points].sort(byName).map(about));
  });

  it("count in integers, finely enough that no digit of a register is lost", () => {
    for (const { name, type, counter, scale } of opcuaMapOf("copper-casting").points) {
      if (!counter) continue;
      expect(type, name).toMatch(/int/);
      const register = registerMapOf("copper-casting").points.find((point) => point.name === name);
      expect(scale.denominator % (register?.scale.denominator ?? 0), name).toBe(0);
    }
  });

  it("turn negative, roll over and show energy to the mWh", () => {
    const plant = createPlant({ profile: "copper-casting", seed: 7, startMs: START_MS });
    const history = Array.from({ length: 400 }, (_, i) => plant.truthAt(START_MS + i * 10_000));
    const series = (name: string) => history.map(({ variables }) => variables[name] as bigint);
    expect(series("feeder-2/power-reactive").some((value) => value < 0n)).toBe(true);
    for (const name of ["feeder-3/energy-import", "machine-1/inspection-inspected"]) {
      const falls = series(name).filter((value, i, all) => i > 0 && value < (all[i - 1] ?? 0n));
      expect(falls.length, name).toBeGreaterThan(0);
    }
    for (const { meters, variables } of history.slice(0, 20)) {
      const feeder = meters.find(({ device }) => device === "feeder-2");
      expect(variables["feeder-2/energy-import"]).toBe(BigInt(feeder?.energyKWh.replace(".", "") ?? 0));
    }
  });
});

describe("the endpoints", () => {
  const open = (more: object = {}) => {
    const plant = createPlant({ profile: "copper-casting", seed: 1, startMs: START_MS });
    return startOpcuaServer({ plant, id: "plant", now: () => START_MS, port: 0, pkiDir, ...more });
  };

  it("let the user in on the secured ones, and anonymous clients on the unsecured one alone", async () => {
    const server = await open({ user: USER });
    for (const policy of ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"] as const) {
      const client = await connectOpcua(server, { policy, user: USER });
      expect(await client.read("machine-1/state")).toMatchObject([{ raw: 1n, status: "Good" }]);
      await client.close();
    }
    const policy = "Basic256Sha256";
    const wrong = { ...USER, password: "another" };
    await expect(connectOpcua(server, { policy, user: wrong })).rejects.toThrow(/BadUserAccessDenied/);
    await expect(connectOpcua(server, { policy })).rejects.toThrow(/ANONYMOUS/);
    await expect(connectOpcua(server, { user: wrong })).rejects.toThrow(/BadUserAccessDenied/);
    for (const login of [{}, { user: USER }]) await (await connectOpcua(server, login)).close();
    await until("all connections closed", () => server.stats().connections === 0);
    expect(server.stats().sessions).toBe(0);
    await server.close();
  });

  it.each([
    ["there is no user", {}],
    ["it is wanted", { user: USER, anonymousOnSecured: true }],
  ])("let anonymous clients in on the secured ones where %s", async (_, options) => {
    const server = await open(options);
    const client = await connectOpcua(server, { policy: "Basic256Sha256" });
    await client.close();
    await server.close();
  });

  it("refuse a client's unknown certificate where it is wanted", async () => {
    const server = await open({ user: USER, acceptUnknownClients: false, pkiDir: testPkiDir("strict") });
    await expect(connectOpcua(server, { policy: "Basic256Sha256", user: USER })).rejects.toThrow();
    await (await connectOpcua(server)).close();
    await server.close();
  });

  it("keep their certificate and reject a port that is taken", async () => {
    const first = await open();
    const certificate = readFileSync(first.certificatePath, "utf8");
    await expect(open({ port: first.port })).rejects.toThrow(/EADDRINUSE/);
    await first.close();
    const second = await open({ port: first.port });
    expect(second.port).toBe(first.port);
    expect(readFileSync(second.certificatePath, "utf8")).toBe(certificate);
    await second.close();
    await second.close();
  });
});

it("bounds its logs and counts what they gave up", async () => {
  let nowMs = START_MS;
  const plant = createPlant({ profile: "copper-casting", seed: 1, startMs: START_MS });
  const server = await startOpcuaServer({ plant, id: "plant", now: () => nowMs, port: 0, pkiDir, maxLoggedValues: 60 });
  const client = await connectOpcua(server);
  nowMs += 60_000;
  await until("a scan", () => plant.timeMs === nowMs);
  await client.read();
  await client.read();
  const { valuesHeld, heldDropped, valuesServed, servedDropped } = server.stats();
  const variables = server.map.points.length;
  expect([server.held().length, server.served().length]).toEqual([60, 60]);
  expect([valuesHeld - heldDropped, valuesServed - servedDropped]).toEqual([60, 60]);
  expect(valuesServed).toBe(2 * variables);
  expect(server.held({ limit: 7 }).map(({ sequence }) => sequence)[0]).toBe(heldDropped + 1);
  await client.close();
  await server.close();
});
