/**
 * Writes the gateway configurations of the demonstration from the simulators' register maps: `node deploy/demo/make-gateways.ts`.
 * They are committed, because they are also the example of a gateway's configuration; a test compares them with the maps.
 */
import { writeFileSync } from "node:fs";
import { type Role, roles } from "@jilian/domain/roles.ts";
import type { ProfileName } from "@jilian/simulators/profiles.ts";
import { registerMapOf } from "@jilian/simulators/register-map.ts";
import { stringify } from "yaml";

/** The three plants of the demonstration, in the order in which the simulators start them: ports follow each other. */
export const demoPlants = [
  { factory: "xinghua-casting", gateway: "gw-casting", profile: "copper-casting" },
  { factory: "nanling-extrusion", gateway: "gw-extrusion", profile: "aluminium-extrusion" },
  { factory: "xinghua-rolling", gateway: "gw-rolling", profile: "copper-rolling" },
] as const satisfies readonly { factory: string; gateway: string; profile: ProfileName }[];

/** Changes smaller than this are noise, in the unit. Counters and states report every change. */
const deadbands: Record<string, number> = { V: 0.5, A: 1, Hz: 0.02, "°C": 0.5, kW: 0.5, kvar: 1 };

function tagOf(point: ReturnType<typeof registerMapOf>["points"][number], deviceOrder: string) {
  const { table, address, type, order, unit, scale } = point;
  const role = Object.hasOwn(roles, point.role) ? (point.role as Role) : undefined;
  const scaled = scale.numerator !== 1 || scale.denominator !== 1;
  const natural = /^uint(16|32)$/.exec(type);
  const counts = point.modulus === null ? undefined : Number(point.modulus);
  return {
    name: point.name.slice(point.name.indexOf("/") + 1),
    table,
    address,
    type,
    ...(order === deviceOrder || type === "bool" ? {} : { order }),
    ...(scaled ? { scale: { numerator: scale.numerator, denominator: scale.denominator } } : {}),
    unit,
    ...(role ? { role } : {}),
    ...(role === "energy.import" ? { carrier: "electricity" } : {}),
    ...(role && roles[role].kind === "counter" && counts !== undefined && counts !== 2 ** Number(natural?.[1] ?? 0)
      ? { modulusCounts: counts }
      : {}),
    ...(deadbands[unit] === undefined ? {} : { deadband: deadbands[unit] }),
  };
}

/** The YAML text of one plant's gateway. */
export function gatewayYaml({ factory, gateway, profile }: (typeof demoPlants)[number], port: number): string {
  const map = registerMapOf(profile);
  const devices = map.devices.map((device) => ({
    id: device.device,
    driver: "modbus-tcp",
    host: "127.0.0.1",
    port,
    unitId: device.unitId,
    simulated: true,
    order: device.order,
    tags: device.points.map((point) => tagOf(point, device.order)),
  }));
  const head = `# Gateway of the simulated plant ${map.label.zh} (${map.label.en}). Made by deploy/demo/make-gateways.ts.\n`;
  const config = {
    group: factory,
    node: gateway,
    broker: { host: "127.0.0.1", port: 1883, username: `${factory}/${gateway}`, passwordFile: `${gateway}.password` },
    outbox: { path: `${gateway}.outbox.sqlite` },
    devices,
  };
  return head + stringify(config, { lineWidth: 0, flowCollectionPadding: true });
}

if (import.meta.main) {
  for (const [i, plant] of demoPlants.entries()) {
    writeFileSync(new URL(`./gateways/${plant.gateway}.yaml`, import.meta.url), gatewayYaml(plant, 15020 + i));
  }
}
