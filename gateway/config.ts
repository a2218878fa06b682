import { type Checked, checkConfig, duplicates, type SemanticFault } from "@jilian/domain/check-config.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { type Static, Type } from "typebox";
import { modbusDeviceFaults, modbusDeviceSchema, oneOf } from "./drivers/modbus-config.ts";

const strict = { additionalProperties: false } as const;
const mebibyte = 1024 * 1024;
const id = (description: string) => Type.String({ pattern: idPattern, description });

const brokerSchema = Type.Object(
  {
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Integer({ default: 1883, minimum: 1, maximum: 65_535 }),
    username: Type.Optional(Type.String({ minLength: 1 })),
    password: Type.Optional(Type.String({ minLength: 1, description: "better: passwordFile" })),
    passwordFile: Type.Optional(Type.String({ minLength: 1, description: "file whose first line is the password" })),
    keepaliveMs: Type.Integer({ default: 15_000, minimum: 1000, maximum: 3_600_000 }),
    reconnectMinMs: Type.Integer({ default: 500, minimum: 10, maximum: 3_600_000 }),
    reconnectMaxMs: Type.Integer({ default: 30_000, minimum: 10, maximum: 3_600_000 }),
  },
  strict,
);

const outboxSchema = Type.Object(
  {
    path: Type.String({ minLength: 1, description: "file that keeps readings until the platform has stored them" }),
    maxBytes: Type.Integer({ default: 1024 * mebibyte, minimum: mebibyte, maximum: Number.MAX_SAFE_INTEGER }),
    fsyncMs: Type.Integer({ default: 500, minimum: 0, maximum: 60_000 }),
    backlogRecordsPerSecond: Type.Integer({ default: 500, minimum: 1, maximum: 1_000_000 }),
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
    primaryHost: Type.Optional(
      Type.String({ minLength: 1, maxLength: 60, description: "Sparkplug host id to wait for before publishing" }),
    ),
    logLevel: Type.Optional(oneOf(["fatal", "error", "warn", "info", "debug", "trace", "silent"])),
    devices: Type.Array(modbusDeviceSchema, { minItems: 1 }),
  },
  strict,
);

export type GatewayConfig = Static<typeof gatewaySchema>;
export type DeviceConfig = GatewayConfig["devices"][number];
export type TagConfig = DeviceConfig["tags"][number];

function semanticFaults(config: GatewayConfig): SemanticFault[] {
  const { broker, devices } = config;
  const faults = devices.flatMap((device, i) => modbusDeviceFaults(device, `/devices/${i}`));
  const ids = devices.map((device) => device.id);
  faults.push(...duplicates("/devices", ids, "device id"));
  // Two devices on one unit would read the same registers twice and count every figure twice.
  const units = devices.map(({ host, port, unitId }) => `${host.toLowerCase()}:${port}:${unitId}`);
  faults.push(...duplicates("/devices", units, "unit of one host and port", "unitId"));
  if (broker.password !== undefined && broker.passwordFile !== undefined) {
    const remedy = 'remove "password": the file keeps the secret out of this one';
    faults.push({ path: "/broker/passwordFile", expected: "password or passwordFile, not both", remedy });
  }
  const secret = broker.password !== undefined ? "password" : "passwordFile";
  if (broker[secret] !== undefined && broker.username === undefined) {
    faults.push({ path: "/broker/username", expected: `a user name beside "${secret}"`, remedy: 'add "username"' });
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
 * @returns the configuration with every default filled in, or all faults at once
 */
export function readGatewayConfig(text: string, fileName: string): Checked<GatewayConfig> {
  return checkConfig(gatewaySchema, text, fileName, semanticFaults);
}
