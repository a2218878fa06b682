import { isIP } from "node:net";
import { carrierRoles, type Role, roles } from "@jilian/domain/roles.ts";
import type { DeviceConfig, GatewayConfig } from "../config.ts";
import type { LineConfig } from "../drivers/line-config.ts";
import type { ModbusDevice, ModbusRtuDevice, ModbusTag, ModbusUnit } from "../drivers/modbus-config.ts";
import { isBitTable, sharesConnection, widthOf } from "../drivers/modbus-facts.ts";
import type { CommonTag } from "../drivers/tag-config.ts";
import { isCounter } from "../drivers/tag-facts.ts";
import { isIntegerType } from "../drivers/value-types.ts";
import { unreadableWarnings } from "../unfilled.ts";
import { isOnLine, lineWarnings, tcpWarnings, timeoutWarnings } from "./check-load.ts";

/** Connections that even small devices and serial gateways usually take at once. */
const usualConnections = 4;
/** Energy is counted by the minute; polls closer than this are load without a use. */
const energyPollMs = 500;
/** Of one kind: a mistake that is made in every tag is told often enough. */
const mostOfOneKind = 10;

type Warnings = readonly string[];

const isTcp = (device: DeviceConfig): device is ModbusDevice => device.driver === "modbus-tcp";
const isRtu = (device: DeviceConfig): device is ModbusRtuDevice => device.driver === "modbus-rtu";
const endOf = (tag: ModbusTag): number => tag.address + widthOf(tag);

/** Two values in the same registers, of which one is most likely read wrongly; a register beside its own bits is usual. */
function overlapWarnings({ id, tags, order }: ModbusUnit): Warnings {
  const values = tags.filter((tag) => !isBitTable(tag) && tag.type !== "bool");
  const sorted = values.toSorted((a, b) => a.table.localeCompare(b.table) || a.address - b.address);
  const shape = (tag: ModbusTag) => `${tag.address} ${tag.type} ${tag.order ?? order}`;
  const found: string[] = [];
  for (const [i, tag] of sorted.entries()) {
    for (let j = i + 1; j < sorted.length; j += 1) {
      const other = sorted[j] as ModbusTag;
      if (other.table !== tag.table || other.address >= endOf(tag)) break;
      if (shape(other) === shape(tag)) continue;
      const where = (one: ModbusTag) => `${one.name} (${one.table} ${one.address}, ${one.type})`;
      found.push(`device ${id}: ${where(tag)} and ${where(other)} share registers; compare addresses and types`);
    }
  }
  return found;
}

function connectionWarnings(devices: readonly ModbusDevice[]): Warnings {
  return [...Map.groupBy(devices, ({ host }) => host.toLowerCase())].flatMap(([host, units]) => {
    const shared = new Set(units.filter(sharesConnection).map(({ port }) => port)).size;
    const all = shared + units.filter((unit) => !sharesConnection(unit)).length;
    if (all <= usualConnections) return [];
    const many = `${all} connections, of which ${shared} are shared`;
    return [`${host}: ${many}; many devices and serial gateways take ${usualConnections} to 8 at once: see its manual`];
  });
}

/**
 * Units that change between two addresses one by one. What is behind an address the configuration does not tell; several units are most
 * often behind a converter, and then its backup is one on the same line.
 */
function backupWarnings(devices: readonly ModbusDevice[]): Warnings {
  const placeOf = ({ host, port }: { readonly host: string; readonly port: number }) => `${host.toLowerCase()}:${port}`;
  const withBackup = devices.flatMap((device) => {
    const { backup } = device;
    return backup ? [{ device, pair: [placeOf(device), placeOf(backup)].toSorted().join(" and ") }] : [];
  });
  return [...Map.groupBy(withBackup, ({ pair }) => pair)].flatMap(([pair, all]) => {
    if (all.length < 2) return [];
    const units = all.map(({ device }) => device.unitId).join(", ");
    const own = all.filter(({ device }) => !sharesConnection(device)).map(({ device }) => device.id);
    const why =
      own.length === 0
        ? "this gateway asks at one of them at a time, another program must not ask at either"
        : `with connections of their own ${own.join(", ")} may be asked at both at once: remove connection and maxReadsInFlight there`;
    return [
      `${pair} stand in for each other for units ${units}: as converters on one line they are two masters; ${why}`,
    ];
  });
}

/** Units of meters' registers, and the roles that they may be. */
const meterUnits: Readonly<Record<string, readonly Role[]>> = {
  Wh: ["energy.import"],
  kWh: ["energy.import"],
  MWh: ["energy.import"],
  MJ: ["heat.import"],
  GJ: ["heat.import"],
  m3: ["water.import", "gas.import", "compressed_air.import"],
  "m³": ["water.import", "gas.import", "compressed_air.import"],
  Nm3: ["gas.import", "compressed_air.import"],
  "Nm³": ["gas.import", "compressed_air.import"],
  pcs: ["production.total", "production.good"],
};

function roleWarning(tag: CommonTag): string | undefined {
  const { role, unit, type, scale, carrier, rawRange } = tag;
  if (role === undefined) {
    const may = unit === undefined || !Object.hasOwn(meterUnits, unit) ? undefined : meterUnits[unit];
    if (may === undefined) return undefined;
    const names = may.map((name) => `${name} (in ${roles[name].unit})`).join(", ");
    return `unit ${unit} without a role: no indicator counts it; if it is a meter's register, add role: ${names}`;
  }
  if (carrier !== undefined && role.endsWith(".import") && carrierRoles[carrier] !== role)
    return `role ${role} with carrier ${carrier}, whose meters have role ${carrierRoles[carrier]}; correct one of them`;
  if (isCounter(tag) && type === "float32")
    return "a counter in a float32, which has 7 digits: beyond 100,000 it no longer sees 0.01; take its integer registers if there are any";
  const { numerator, denominator } = scale;
  if (role === "power.active" && isIntegerType(type) && numerator === denominator && !rawRange)
    return "unit kW without a scale: it counts whole kW; most meters give W or 0.1 kW, see its manual";
  if (unit === "pcs" && isCounter(tag) && numerator % denominator !== 0)
    return `pieces with a scale of ${numerator}/${denominator}: is it one count for a piece?`;
  return undefined;
}

function roleWarnings({ id, tags }: DeviceConfig): Warnings {
  return (tags as readonly CommonTag[]).flatMap((tag) => {
    const why = roleWarning(tag);
    return why === undefined ? [] : [`device ${id}, tag ${tag.name}: ${why}`];
  });
}

const isEnergy = ({ role }: CommonTag): boolean => role !== undefined && /\.import$|^power\.|^temperature$/.test(role);

function pollWarnings({ id, tags, pollIntervalMs }: DeviceConfig): Warnings {
  const withRole = (tags as readonly CommonTag[]).filter(({ role }) => role !== undefined);
  if (pollIntervalMs >= energyPollMs || withRole.length === 0 || !withRole.every(isEnergy)) return [];
  const remedy = "1000 to 10000 ms is enough, and spares the meter";
  return [`device ${id}: polled every ${pollIntervalMs} ms, for energy that is counted by the minute; ${remedy}`];
}

/** Where manuals begin to count the registers of a table: 40001 is the first holding register, 0 on the wire. */
const manualBase = { holding: 40_001, input: 30_001, discrete: 10_001 } as const;

/** All of a table as a manual counts them: a few devices have registers there, most answer with exception 2. */
function manualWarnings({ id, tags }: ModbusUnit): Warnings {
  return Object.entries(manualBase).flatMap(([table, base]) => {
    const addresses = tags.filter((tag) => tag.table === table).map(({ address }) => address);
    const first = addresses[0];
    if (first === undefined || !addresses.every((address) => address >= base && address < base + 9999)) return [];
    const remedy = `if they are, write ${first - base} for ${first}, and so on`;
    return [`device ${id}: are the ${table} addresses (${first}) as the manual counts them? ${remedy}`];
  });
}

/**
 * Looks like an IP address and is none: the gateway would ask a name server for it, or go to another one, since 010 is 8 to the C library
 * (inet_aton).
 */
function addressWarnings({ broker, devices, lines = [] }: GatewayConfig): Warnings {
  const places = [broker, ...devices, ...lines];
  const backups = places.flatMap((one) => ("backup" in one && one.backup ? one.backup : []));
  const hosts = [...places, ...backups].flatMap((one) => ("host" in one && one.host ? [one.host] : []));
  const wrong = [...new Set(hosts)].filter((host) => /^[\d.]+$/.test(host) && isIP(host) === 0);
  return wrong.map(
    (host) => `${host} is no IP address: four numbers from 0 to 255 without zeros before them, with dots between`,
  );
}

/** A line that whoever dials last is given, from wherever. */
function listenWarnings(lines: readonly LineConfig[]): Warnings {
  return lines.flatMap((line) => {
    if (line.kind !== "listen" || line.registration !== undefined || line.allow !== undefined) return [];
    const remedy = "set a registration in it and write it here, or the addresses from which it dials in allow";
    return [`line ${line.id}: whoever dials port ${line.port} is taken for its box; ${remedy}`];
  });
}

/** A kind of warning, and how many more of it there are. */
function bounded(found: Warnings): Warnings {
  if (found.length <= mostOfOneKind) return found;
  return [...found.slice(0, mostOfOneKind), `and ${found.length - mostOfOneKind} more of this kind`];
}

/**
 * What of a configuration that has no fault is seldom meant so: for whoever puts a plant into service. Pure; polls and connections are
 * reckoned, not measured, and not for simulated devices, which are no plant.
 */
export function commissioningWarnings(config: GatewayConfig): string[] {
  const { devices, lines = [] } = config;
  const real = devices.filter(({ simulated }) => !simulated);
  return [
    [...devices.filter(isTcp), ...devices.filter(isRtu)].flatMap(overlapWarnings),
    [...devices.filter(isTcp), ...devices.filter(isRtu)].flatMap(manualWarnings),
    addressWarnings(config),
    unreadableWarnings(config),
    tcpWarnings(real.filter(isTcp)),
    lineWarnings(real.filter(isOnLine), lines),
    timeoutWarnings(devices.filter(isOnLine), lines),
    connectionWarnings(real.filter(isTcp)),
    backupWarnings(devices.filter(isTcp)),
    listenWarnings(lines),
    devices.flatMap(roleWarnings),
    devices.flatMap(pollWarnings),
  ].flatMap(bounded);
}
