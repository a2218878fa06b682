import { type Checked, checkConfig, duplicates, type SemanticFault } from "@jilian/domain/check-config.ts";
import type { Env } from "@jilian/domain/config-env.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { logLevels } from "@jilian/domain/log-levels.ts";
import { opsSchema } from "@jilian/domain/ops-schema.ts";
import { type Static, Type } from "typebox";
import { commonDevice } from "./drivers/common-device.ts";
import { derivedFaults } from "./drivers/derived-config.ts";
import { dlt645DeviceFaults, dlt645DeviceSchema } from "./drivers/dlt645-config.ts";
import { lineFaults, linePortFaults, linesSchema } from "./drivers/line-config.ts";
import {
  modbusConnectionFaults,
  modbusDeviceFaults,
  modbusDeviceSchema,
  modbusRtuDeviceSchema,
} from "./drivers/modbus-config.ts";
import { opcuaDeviceFaults, opcuaDeviceSchema, opcuaSchema, opcuaSharingFaults } from "./drivers/opcua-config.ts";
import { oneOf } from "./drivers/tag-config.ts";
import { historySchema } from "./history-config.ts";
import { defaultMaxPayloadBytes } from "./payload-limit.ts";
import { expandProfiles, namingProfile } from "./profile-apply.ts";
import type { Profiles } from "./profile-schema.ts";
import { unfilledFaults } from "./unfilled.ts";

const strict = { additionalProperties: false } as const;
const mebibyte = 1024 * 1024;
const dayMs = 86_400_000;
const id = (description: string) => Type.String({ pattern: idPattern, description });

const tlsFile = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));

/** TLS on the way to the broker. The broker's certificate is always verified: there is no key that turns that off. */
const brokerTlsSchema = Type.Object(
  {
    caFile: tlsFile("authority of the broker's certificate, PEM; those that Node.js knows if absent"),
    serverName: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        description: "name in the broker's certificate, if not that of host",
      }),
    ),
    certFile: tlsFile("certificate of this gateway, where the broker asks for one"),
    keyFile: tlsFile("its private key, without a pass phrase, readable by this user alone"),
  },
  strict,
);

const brokerSchema = Type.Object(
  {
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, description: "1883 if absent, with tls 8883" })),
    tls: Type.Optional(brokerTlsSchema),
    username: Type.Optional(Type.String({ minLength: 1 })),
    password: Type.Optional(Type.String({ minLength: 1, description: "better: passwordFile" })),
    passwordFile: Type.Optional(Type.String({ minLength: 1, description: "file whose first line is the password" })),
    keepaliveMs: Type.Integer({ default: 15_000, minimum: 1000, maximum: 3_600_000 }),
    reconnectMinMs: Type.Integer({ default: 500, minimum: 10, maximum: 3_600_000 }),
    reconnectMaxMs: Type.Integer({ default: 30_000, minimum: 10, maximum: 3_600_000 }),
    maxPayloadBytes: Type.Integer({
      default: defaultMaxPayloadBytes,
      minimum: 16_384,
      maximum: 256 * mebibyte,
      description: "no message is larger: a record beyond it is divided; below the limit of the broker",
    }),
  },
  strict,
);

const outboxSchema = Type.Object(
  {
    path: Type.String({ minLength: 1, description: "file that keeps readings until the platform has stored them" }),
    durability: Type.Union([Type.Literal("power-cut"), Type.Literal("process")], {
      default: "power-cut",
      description:
        "power-cut: a killed process costs nothing, a power cut the readings of the last fsyncMs. " +
        "process: a killed process costs nothing, a power cut what the operating system had not written yet, 30 s or more.",
    }),
    maxBytes: Type.Integer({ default: 1024 * mebibyte, minimum: mebibyte, maximum: Number.MAX_SAFE_INTEGER }),
    maxAgeMs: Type.Integer({
      default: 90 * dayMs,
      minimum: 3_600_000,
      maximum: 3650 * dayMs,
      description: "pending readings older than this are dropped, where the clock can tell",
    }),
    fsyncMs: Type.Integer({ default: 500, minimum: 0, maximum: 60_000 }),
    backlogRecordsPerSecond: Type.Integer({ default: 500, minimum: 1, maximum: 1_000_000 }),
    backlogBytesPerSecond: Type.Integer({ default: 2 * mebibyte, minimum: 1024, maximum: 1_000_000_000 }),
    commitTimeoutMs: Type.Integer({ default: 10_000, minimum: 100, maximum: 3_600_000 }),
    maxInFlightRecords: Type.Integer({ default: 2000, minimum: 1, maximum: 1_000_000 }),
  },
  strict,
);

/** The whole configuration of a gateway; every default suits a small plant. */
export const gatewaySchema = Type.Object(
  {
    group: id("factory id: the Sparkplug group"),
    node: id("gateway id: the Sparkplug edge node"),
    broker: brokerSchema,
    outbox: outboxSchema,
    history: historySchema,
    primaryHost: Type.Optional(
      Type.String({ minLength: 1, maxLength: 60, description: "Sparkplug host id to wait for before publishing" }),
    ),
    logLevel: Type.Optional(oneOf(logLevels)),
    ops: Type.Optional(opsSchema(9465)),
    opcua: opcuaSchema,
    lines: linesSchema,
    devices: Type.Array(
      Type.Union([modbusDeviceSchema, modbusRtuDeviceSchema, opcuaDeviceSchema, dlt645DeviceSchema]),
      { minItems: 1 },
    ),
  },
  strict,
);

export type GatewayConfig = Static<typeof gatewaySchema>;
export type DeviceConfig = GatewayConfig["devices"][number];

function deviceFaults(device: DeviceConfig, base: string): SemanticFault[] {
  if (device.driver === "modbus-tcp" || device.driver === "modbus-rtu") {
    const own = device.driver === "modbus-tcp" ? modbusConnectionFaults(device, base) : [];
    return [...own, ...namingProfile(modbusDeviceFaults(device, base), device, base)];
  }
  if (device.driver === "dlt645") return dlt645DeviceFaults(device, base);
  // A driver that does not exist is a fault of the schema, and comes here all the same.
  return device.driver === "opcua" ? opcuaDeviceFaults(device, base) : [];
}

/** What NBIRTH takes at most, reasons left out: a fixed part, and of each device a name in two metrics. */
export function nodeBirthBytes(deviceIds: readonly string[]): number {
  return deviceIds.reduce((sum, device) => sum + 90 + 2 * Buffer.byteLength(device), 2000);
}

/** NBIRTH lists every device and cannot be divided: a broker would end each connection at it. */
function birthFaults({ broker: { maxPayloadBytes }, devices }: GatewayConfig): SemanticFault[] {
  const bytes = nodeBirthBytes(devices.map((device) => device.id));
  if (bytes <= maxPayloadBytes) return [];
  const expected = `devices whose NBIRTH fits in broker.maxPayloadBytes (${maxPayloadBytes}); these take ${bytes} bytes`;
  const remedy = "divide the devices among several gateways, or raise broker.maxPayloadBytes here and at the broker";
  return [{ path: "/devices", expected, remedy }];
}

type Unit = { readonly unitId: number };

function unitAt({ host, port }: { readonly host: string; readonly port: number }, { unitId }: Unit): string {
  return `${host.toLowerCase()}:${port}:${unitId}`;
}

/** A backup address that is another device's, or the same one, would read what is read already. */
function backupFaults(devices: readonly DeviceConfig[], units: readonly string[]): SemanticFault[] {
  const taken = new Set(units);
  return devices.flatMap((device, i) => {
    if (device.driver !== "modbus-tcp" || device.backup === undefined) return [];
    const unit = unitAt(device.backup, device);
    const isTaken = taken.has(unit);
    taken.add(unit);
    const expected = "an address at which no device has this unitId yet";
    const remedy = "write the device's second address, or remove it";
    return isTaken ? [{ path: `/devices/${i}/backup`, expected, remedy }] : [];
  });
}

function semanticFaults(config: GatewayConfig): SemanticFault[] {
  const { broker, devices } = config;
  const faults = devices.flatMap((device, i) => [
    ...deviceFaults(device, `/devices/${i}`),
    ...derivedFaults(commonDevice(device), `/devices/${i}`),
  ]);
  faults.push(...birthFaults(config));
  faults.push(...lineFaults(config.lines ?? [], devices), ...linePortFaults(config.lines ?? [], devices));
  const ids = devices.map((device) => device.id);
  faults.push(...duplicates("/devices", ids, "device id"));
  // Two devices on one unit would read the same registers twice and count every figure twice.
  const units = devices.map((device, i) => (device.driver === "modbus-tcp" ? unitAt(device, device) : `device ${i}`));
  faults.push(...duplicates("/devices", units, "unit of one host and port", "unitId"), ...backupFaults(devices, units));
  const lineUnits = devices.map((d, i) => (d.driver === "modbus-rtu" ? `${d.line}:${d.unitId}` : `device ${i}`));
  faults.push(...duplicates("/devices", lineUnits, "unit of one line", "unitId"));
  const meters = devices.map((device, i) =>
    device.driver === "dlt645" ? `${device.line} ${device.meterAddress}` : `${i}`,
  );
  faults.push(...duplicates("/devices", meters, "meter of one line", "meterAddress"));
  faults.push(
    ...opcuaSharingFaults([...devices.entries()].flatMap(([i, d]) => (d.driver === "opcua" ? [[i, d] as const] : []))),
  );
  if (broker.password !== undefined && broker.passwordFile !== undefined) {
    const remedy = 'remove "password": the file keeps the secret out of this one';
    faults.push({ path: "/broker/passwordFile", expected: "password or passwordFile, not both", remedy });
  }
  const secret = broker.password !== undefined ? "password" : "passwordFile";
  if (broker[secret] !== undefined && broker.username === undefined) {
    faults.push({ path: "/broker/username", expected: `a user name beside "${secret}"`, remedy: 'add "username"' });
  }
  if ((broker.tls?.certFile === undefined) !== (broker.tls?.keyFile === undefined)) {
    const missing = broker.tls?.certFile === undefined ? "certFile" : "keyFile";
    const expected = "certFile and keyFile, both or neither";
    faults.push({ path: `/broker/tls/${missing}`, expected, remedy: `add "${missing}"` });
  }
  if (config.history !== false && config.history.path === config.outbox.path) {
    const remedy = "give the history a file of its own, or leave the path out: it lies beside the outbox then";
    faults.push({ path: "/history/path", expected: "another file than outbox.path", remedy });
  }
  if (broker.reconnectMinMs > broker.reconnectMaxMs) {
    const expected = `<= reconnectMaxMs (${broker.reconnectMaxMs})`;
    faults.push({ path: "/broker/reconnectMinMs", expected, remedy: "exchange them" });
  }
  return faults;
}

/**
 * Reads a gateway's configuration (YAML). Pure: files it names (`passwordFile`, `outbox.path`) are not opened here.
 * @param fileName name to report in faults
 * @param env variables that come in place of the file's values (domain/config-env.ts)
 * @param profiles that devices may name (profile-files.ts reads them)
 * @returns the configuration with every default filled in, or all faults at once
 */
export function readGatewayConfig(
  text: string,
  fileName: string,
  env: Env = {},
  profiles: Profiles = new Map(),
): Checked<GatewayConfig> {
  const semantic = [semanticFaults, (config: GatewayConfig) => unfilledFaults(config, text)];
  return checkConfig(gatewaySchema, text, fileName, semantic, env, (value) => expandProfiles(value, profiles));
}
