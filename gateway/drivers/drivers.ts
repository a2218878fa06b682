import type { Clock } from "@jilian/domain/clock.ts";
import type { Logger } from "pino";
import type { DeviceConfig, GatewayConfig } from "../config.ts";
import type { Driver } from "../model.ts";
import { createModbusDriver } from "./modbus-tcp.ts";
import { createOpcuaDriver } from "./opcua.ts";
import { createPool } from "./opcua-pool.ts";

export type Drivers = {
  readonly create: (device: DeviceConfig) => Driver;
  /** Closes what drivers share, once all of them are closed. */
  readonly close: () => Promise<void>;
};

/** The drivers of a gateway, by the `driver` of each device. Opens nothing: connects do. */
export function gatewayDrivers(config: GatewayConfig, { clock, log }: { clock: Clock; log: Logger }): Drivers {
  const { group, node, outbox, opcua, devices } = config;
  const { acceptUnknownCertificates } = opcua;
  if (acceptUnknownCertificates && devices.some((d) => d.driver === "opcua" && d.security.mode !== "None")) {
    const remedy = "set opcua.acceptUnknownCertificates to false once the plant is commissioned";
    log.warn({ code: "OPCUA_ACCEPTS_EVERYONE" }, `every OPC UA server that is met is trusted from now on; ${remedy}`);
  }
  const { applicationUri = `urn:jilian:gateway:${group}:${node}`, pkiDir = `${outbox.path}.pki` } = opcua;
  const pool = createPool({ applicationUri, pkiDir, acceptUnknownCertificates }, log);
  return {
    create(device) {
      const of = log.child({ device: device.id });
      return device.driver === "opcua"
        ? createOpcuaDriver(device, { pool, clock, log: of })
        : createModbusDriver(device, { log: of });
    },
    close: pool.close,
  };
}
