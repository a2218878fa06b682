import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readGatewayConfig } from "@jilian/gateway/config.ts";
import { readRegistry } from "@jilian/store/registry.ts";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readPlatformConfig } from "../config.ts";
import { type DemoPlant, demoPlants, examplePorts, gatewayYaml } from "./make-gateways.ts";
import { freePort, freshFolder, prepareDemo } from "./prepare.ts";

let base = "";
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "jilian-demo-"));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const ports = { modbus: [15020, 15021, 15022], opcua: [15120, 15121, 15122], broker: 1883, api: 8080 };
const text = (path: string) => readFileSync(path, "utf8");

it("keeps the committed gateway configurations equal to the simulators' maps", () => {
  for (const [i, plant] of demoPlants.entries()) {
    const committed = text(new URL(`./gateways/${plant.gateway}.yaml`, import.meta.url).pathname);
    expect(committed, `run: node deploy/demo/make-gateways.ts`).toBe(gatewayYaml(plant, examplePorts(i)));
  }
});

it("means the same by a tag over either protocol", () => {
  const tagsOf = (plant: DemoPlant) => {
    const config = readGatewayConfig(gatewayYaml(plant, examplePorts(0)), plant.gateway);
    if (!config.ok) throw new Error(`${plant.gateway} has faults`);
    return config.value.devices.flatMap(({ id, tags }) =>
      tags.map(({ name, unit, role, carrier, product, deadband }) => ({
        id,
        name,
        unit,
        role,
        carrier,
        product,
        deadband,
      })),
    );
  };
  for (const plant of demoPlants) {
    const over = (driver: "modbus-tcp" | "opcua") => tagsOf({ ...plant, reads: { meters: driver, machines: driver } });
    expect(over("opcua")).toEqual(over("modbus-tcp"));
    expect(tagsOf(plant)).toEqual(over("modbus-tcp"));
  }
});

it("prepares a folder in which every file passes its check and every gateway is registered", () => {
  const dir = join(base, "demo");
  const demo = prepareDemo({ dir, ports, separateBroker: true, log: pino({ level: "silent" }) });
  expect(readPlatformConfig(text(demo.platformFile), "platform.yaml", ["ingest", "api"]).ok).toBe(true);
  const registry = readRegistry(text(join(dir, "cluster.yaml")), "cluster.yaml");
  if (!registry.ok) throw new Error("the demonstration's registry has faults");
  for (const { file } of demo.gatewayFiles) {
    const config = readGatewayConfig(text(file), file);
    if (!config.ok) throw new Error(`${file} has faults`);
    const { group, node, devices } = config.value;
    for (const { id } of devices) expect(registry.value.devices.has(`${group}/${node}/${id}`), id).toBe(true);
  }
  for (const secret of ["ingest.password", "gw-casting.password"])
    expect(statSync(join(dir, secret)).mode & 0o077).toBe(0);
});

it("shows a visitor what a registry can say", () => {
  const registry = readRegistry(text(new URL("./cluster.yaml", import.meta.url).pathname), "cluster.yaml");
  if (!registry.ok) throw new Error("the demonstration's registry has faults");
  const { factories, lines, meters, devices, pilotPeriods, file } = registry.value;
  for (const factory of factories.values()) {
    expect(factory.tariff?.periods.length, factory.id).toBeGreaterThan(0);
    expect(factory.calendar?.shifts.map(({ name }) => name)).toEqual(["白班", "夜班"]);
  }
  expect([...lines.values()].map((line) => line.devices.length)).toEqual([6, 6, 6]);
  const above = [...meters.values()].filter(({ parent }) => parent !== undefined);
  expect([meters.size, above.length]).toEqual([12, 9]);
  expect([...meters.values()].filter(({ calibrationDueOn }) => calibrationDueOn === undefined)).toEqual([]);
  const machines = [...devices.values()].filter(({ device }) => device.kind === "machine");
  expect(machines.filter(({ device }) => device.products === undefined)).toEqual([]);
  expect(machines.filter(({ device }) => device.keyProcess).length).toBeGreaterThan(0);
  expect(pilotPeriods.map(({ id }) => id)).toEqual(["y1", "y2"]);
  expect(file.enterprises.map(({ digitalLevel }) => digitalLevel?.level)).toEqual(["L7", "L6"]);
});

it("empties only a folder that it made", () => {
  const dir = join(base, "precious");
  freshFolder(dir);
  writeFileSync(join(dir, "old.txt"), "of the last start");
  freshFolder(dir);
  expect(() => statSync(join(dir, "old.txt"))).toThrow();
  expect(() => freshFolder(base)).toThrow(/not a demonstration's folder/);
  expect(statSync(dir).isDirectory()).toBe(true);
});

it("takes another port where the preferred one is taken", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const taken = (server.address() as { port: number }).port;
  const found = await freePort(taken);
  expect(found).not.toBe(taken);
  expect(found).toBeGreaterThan(0);
  await new Promise((resolve) => server.close(resolve));
});
