/**
 * Writes the gateway configurations of the demonstration from the simulators' maps: `node deploy/demo/make-gateways.ts`.
 * They are committed, because they are also the example of a gateway's configuration; a test compares them with the maps.
 */
import { writeFileSync } from "node:fs";
import { type Role, roles } from "@jilian/domain/roles.ts";
import { type OpcuaPoint, opcuaMapOf } from "@jilian/simulators/opcua-map.ts";
import type { ProfileName } from "@jilian/simulators/profiles.ts";
import { type DeviceMap, type Point, registerMapOf } from "@jilian/simulators/register-map.ts";
import { stringify } from "yaml";

export type DemoPlant = {
  readonly factory: string;
  readonly gateway: string;
  readonly profile: ProfileName;
  /** What the plant is served over, as `npm run simulate -- --protocols` takes it. */
  readonly protocols: "modbus" | "opcua" | "both";
  /** What the gateway reads of meters and of machines. */
  readonly reads: { readonly meters: Driver; readonly machines: Driver };
  /** OPC UA with signed and encrypted messages and a user; without both if false. */
  readonly secured: boolean;
};
type Driver = "modbus-tcp" | "opcua";

/** The three plants of the demonstration, in the order in which the simulators start them: ports follow each other. */
export const demoPlants = [
  {
    factory: "xinghua-casting",
    gateway: "gw-casting",
    profile: "copper-casting",
    protocols: "modbus",
    reads: { meters: "modbus-tcp", machines: "modbus-tcp" },
    secured: false,
  },
  {
    factory: "nanling-extrusion",
    gateway: "gw-extrusion",
    profile: "aluminium-extrusion",
    protocols: "opcua",
    reads: { meters: "opcua", machines: "opcua" },
    secured: true,
  },
  {
    factory: "xinghua-rolling",
    gateway: "gw-rolling",
    profile: "copper-rolling",
    protocols: "both",
    reads: { meters: "modbus-tcp", machines: "opcua" },
    secured: false,
  },
] as const satisfies readonly DemoPlant[];

/** User of the secured OPC UA server, and the file beside a gateway's configuration whose first line is the password. */
export const demoOpcuaUser = { name: "gateway", passwordFile: "opcua.password" } as const;

/** Ports of one plant's servers. */
export type PlantPorts = { readonly modbus: number; readonly opcua: number };

/** Ports that the committed configurations name. */
export function examplePorts(index: number): PlantPorts {
  return { modbus: 15_020 + index, opcua: 15_120 + index };
}

/** Address of a simulated OPC UA server, as a device's configuration names it. */
export function opcuaUrl(port: number): string {
  return `opc.tcp://127.0.0.1:${port}`;
}

/** Changes smaller than this are noise, in the unit. Counters and states report every change. */
const deadbands: Record<string, number> = { V: 0.5, A: 1, Hz: 0.02, "°C": 0.5, kW: 0.5, kvar: 1 };

/** What a tag says of its point, whatever the protocol. */
function meaningOf({ type, unit, scale, role: name, modulus, product }: Point | OpcuaPoint) {
  const role = Object.hasOwn(roles, name) ? (name as Role) : undefined;
  const scaled = scale.numerator !== 1 || scale.denominator !== 1;
  const natural = /^uint(16|32)$/.exec(type);
  const counts = modulus === null ? undefined : Number(modulus);
  return {
    ...(scaled ? { scale: { numerator: scale.numerator, denominator: scale.denominator } } : {}),
    unit,
    ...(role ? { role } : {}),
    ...(role === "energy.import" ? { carrier: "electricity" } : {}),
    ...(role && product !== undefined ? { product } : {}),
    ...(role && roles[role].kind === "counter" && counts !== undefined && counts !== 2 ** Number(natural?.[1] ?? 0)
      ? { modulusCounts: counts }
      : {}),
    ...(deadbands[unit] === undefined ? {} : { deadband: deadbands[unit] }),
  };
}

function tagNameOf({ name }: { name: string }): string {
  return name.slice(name.indexOf("/") + 1);
}

function modbusDevice({ device, unitId, order: own, points }: DeviceMap, { modbus }: PlantPorts) {
  return {
    id: device,
    driver: "modbus-tcp",
    host: "127.0.0.1",
    port: modbus,
    unitId,
    simulated: true,
    order: own,
    tags: points.map((point) => {
      const { table, address, type, order } = point;
      const ordered = order === own || type === "bool" ? {} : { order };
      return { name: tagNameOf(point), table, address, type, ...ordered, ...meaningOf(point) };
    }),
  };
}

/** The same tags as over Modbus: what a server offers beyond them is left where it is. */
function opcuaDevice({ device, points }: DeviceMap, { profile, secured }: DemoPlant, { opcua }: PlantPorts) {
  const variables = new Map(opcuaMapOf(profile).points.map((point) => [point.name, point]));
  return {
    id: device,
    driver: "opcua",
    endpointUrl: opcuaUrl(opcua),
    security: secured ? { mode: "SignAndEncrypt", policy: "Basic256Sha256" } : { mode: "None" },
    ...(secured ? { user: { ...demoOpcuaUser } } : {}),
    simulated: true,
    tags: points.map(({ name }) => {
      const variable = variables.get(name);
      if (variable === undefined) throw new Error(`${profile} serves no variable ${name} over OPC UA`);
      return { name: tagNameOf(variable), nodeId: variable.nodeId, type: variable.type, ...meaningOf(variable) };
    }),
  };
}

/** The YAML text of one plant's gateway. */
export function gatewayYaml(plant: DemoPlant, ports: PlantPorts): string {
  const { factory, gateway, profile, reads, protocols } = plant;
  const map = registerMapOf(profile);
  const devices = map.devices.map((device) => {
    const driver = device.device.startsWith("machine") ? reads.machines : reads.meters;
    return driver === "opcua" ? opcuaDevice(device, plant, ports) : modbusDevice(device, ports);
  });
  const head = `# Gateway of the simulated plant ${map.label.zh} (${map.label.en}). Made by deploy/demo/make-gateways.ts.\n`;
  const config = {
    group: factory,
    node: gateway,
    broker: { host: "127.0.0.1", port: 1883, username: `${factory}/${gateway}`, passwordFile: `${gateway}.password` },
    outbox: { path: `${gateway}.outbox.sqlite` },
    ...(protocols === "modbus" ? {} : { opcua: { pkiDir: `${gateway}.pki` } }),
    devices,
  };
  return head + stringify(config, { lineWidth: 0, flowCollectionPadding: true, aliasDuplicateObjects: false });
}

if (import.meta.main) {
  for (const [i, plant] of demoPlants.entries()) {
    const path = new URL(`./gateways/${plant.gateway}.yaml`, import.meta.url);
    writeFileSync(path, gatewayYaml(plant, examplePorts(i)));
  }
}
