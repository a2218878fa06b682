/** The configuration of the gateway in a soak, and what a reload makes of it. Pure. */
import type { DeviceName } from "@jilian/simulators/register-layout.ts";
import type { PlantHandle } from "@jilian/simulators/simulator.ts";
import { stringify } from "yaml";
import type { KindOf } from "./plan.ts";

export const meterAddresses = ["000000000161", "000000000162", "000000000163"] as const;
export const box = { registration: "SOAK-01", heartbeat: "hb" } as const;

type Device = Record<string, unknown> & { readonly id: string; readonly tags: readonly object[] };
export type SoakConfig = Record<string, unknown> & {
  readonly broker: Record<string, unknown>;
  readonly lines: readonly Record<string, unknown>[];
  readonly devices: readonly Device[];
};

export type Ports = { readonly meters: number; readonly rtu: number; readonly dialled: number };

/** Recovery takes seconds, so that half an hour has room for many faults. */
const patience = { simulated: true, timeoutMs: 1000, retryMinMs: 200, retryMaxMs: 2000, heartbeatMs: 5000 };
const opcuaDevices: readonly DeviceName[] = ["machine-1", "machine-2", "feeder-1"];

function modbusDevices({ port, registerMap }: PlantHandle): Device[] {
  return registerMap.devices.map(({ device, unitId, order, points }) => {
    const tags = points.map(({ name, table, address, type, order: own }) => {
      const ordered = own === order || type === "bool" ? {} : { order: own };
      return { name: name.slice(device.length + 1), table, address, type, ...ordered };
    });
    return { ...patience, id: device, driver: "modbus-tcp", host: "127.0.0.1", port, unitId, order, tags };
  });
}

function devicesOverOpcua({ opcua }: PlantHandle): Device[] {
  return opcuaDevices.map((device) => {
    const points = opcua?.map.points.filter((point) => point.device === device) ?? [];
    const tags = points.map(({ name, nodeId, type }) => ({ name: name.slice(device.length + 1), nodeId, type }));
    const common = { ...patience, id: `opcua-${device}`, driver: "opcua", endpointUrl: opcua?.endpointUrl };
    return { ...common, timeoutMs: 2000, samplingIntervalMs: 500, publishingIntervalMs: 500, tags };
  });
}

function rtuDevice(line: string, unitId: number): Device {
  const tags = Array.from({ length: 20 }, (_, i) => ({ name: `r${i}`, table: "holding", address: i, type: "int16" }));
  return { ...patience, id: `${line}-${unitId}`, driver: "modbus-rtu", line, unitId, timeoutMs: 300, tags };
}

function meter(meterAddress: string, i: number): Device {
  const ids = ["00010000", "02030000", "02040000", "02010100", "02010200", "02010300"];
  const tags = ids.map((dataId) => ({ name: `d${dataId}`, dataId }));
  return { ...patience, id: `meter-${i}`, driver: "dlt645", line: "meters", meterAddress, timeoutMs: 300, tags };
}

/**
 * @param base group, node and broker as the platform knows them
 * @param plant served over Modbus TCP and OPC UA
 */
export function soakConfig(
  base: Record<"group" | "node", string> & { broker: Record<string, unknown> },
  plant: PlantHandle,
  ports: Ports,
): SoakConfig {
  const listening = { host: "127.0.0.1", port: ports.dialled };
  return {
    ...base,
    broker: { ...base.broker, keepaliveMs: 3000, reconnectMinMs: 100, reconnectMaxMs: 2000 },
    outbox: { path: "outbox.sqlite", commitTimeoutMs: 3000 },
    opcua: { pkiDir: "gateway.pki", acceptUnknownCertificates: true },
    lines: [
      { id: "meters", kind: "tcp", host: "127.0.0.1", port: ports.meters, quietMs: 1 },
      { id: "rtu", kind: "tcp", host: "127.0.0.1", port: ports.rtu, quietMs: 1 },
      { id: "boxes", kind: "listen", ...listening, ...box, quietMs: 1 },
    ],
    devices: [
      ...modbusDevices(plant),
      ...devicesOverOpcua(plant),
      ...meterAddresses.map(meter),
      ...["rtu", "boxes"].flatMap((line) => [rtuDevice(line, 1), rtuDevice(line, 2)]),
    ],
  };
}

/** The configuration's text, or what it is after a reload of this kind; the faulty one is to be refused. */
export function changedText(config: SoakConfig, kind: KindOf<"reload"> | undefined, draw: number): string {
  const { devices, lines, broker } = config;
  const struck = draw % devices.length;
  const of = (change: (device: Device) => Device[]) =>
    devices.flatMap((device, i) => (i === struck ? change(device) : [device]));
  const changes: Record<KindOf<"reload">, object> = {
    // Every line keeps a device on it.
    device: { devices: of(() => []) },
    tag: { devices: of((device) => [{ ...device, tags: device.tags.slice(1) }]) },
    line: { lines: lines.map((line) => ({ ...line, turnaroundMs: 1 + (draw % 5) })) },
    broker: { broker: { ...broker, keepaliveMs: 4000 } },
    faulty: { devices: of((device) => [{ ...device, driver: "none" }]) },
  };
  return stringify({ ...config, ...(kind && changes[kind]) });
}
