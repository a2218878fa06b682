import type { Clock } from "@jilian/domain/clock.ts";
import type { Logger } from "pino";
import type { DeviceConfig, GatewayConfig } from "../config.ts";
import type { Driver } from "../model.ts";
import type { Difference } from "../reload.ts";
import { createDlt645Driver } from "./dlt645.ts";
import { createLineDoubts, type LineDoubts } from "./line-doubts.ts";
import { placeOf } from "./line-facts.ts";
import { createLines } from "./line-pool.ts";
import type { LineStats } from "./line-shared.ts";
import { createPorts } from "./modbus-port.ts";
import { createModbusRtuDriver } from "./modbus-rtu.ts";
import { createModbusDriver } from "./modbus-tcp.ts";
import { createOpcuaDriver } from "./opcua.ts";
import { ownIdentity } from "./opcua-own.ts";
import { createPool, type OpcuaPool } from "./opcua-pool.ts";

export type Drivers = {
  readonly create: (device: DeviceConfig) => Driver;
  readonly lineStats: () => LineStats[];
  /** Goes on by another configuration. No driver of a line or protocol that differs may be used any more; the others notice nothing. */
  readonly reload: (config: GatewayConfig, found: Pick<Difference, "opcua">) => Promise<void>;
  /** Closes what drivers share, once all of them are closed. */
  readonly close: () => Promise<void>;
};

/** What OPC UA devices share. */
function poolOf(config: GatewayConfig, log: Logger): OpcuaPool {
  const { devices, opcua } = config;
  const { acceptUnknownCertificates } = opcua;
  if (acceptUnknownCertificates && devices.some((d) => d.driver === "opcua" && d.security.mode !== "None")) {
    const remedy = "set opcua.acceptUnknownCertificates to false once the plant is commissioned";
    log.warn({ code: "OPCUA_ACCEPTS_EVERYONE" }, `every OPC UA server that is met is trusted from now on; ${remedy}`);
  }
  return createPool({ ...ownIdentity(config), acceptUnknownCertificates }, log);
}

/** What a converter or box has kept and sends into a new connection has come by then, also over a mobile network. */
const lateWayMs = 250;

const onLines = (devices: readonly DeviceConfig[]) => devices.filter((device) => "line" in device);

/** `doubts`: what was asked on lines before, where there was a before. */
export type DriversDeps = { clock: Clock; log: Logger; doubts?: LineDoubts };

/** The drivers of a gateway, by the `driver` of each device. Opens nothing: connects do. */
export function gatewayDrivers(config: GatewayConfig, deps: DriversDeps): Drivers {
  const { clock, log, doubts = createLineDoubts() } = deps;
  let { devices } = config;
  const lines = createLines(config.lines ?? [], log, (line) => {
    const longestMs = onLines(devices).reduce(
      (ms, one) => (one.line === line.id ? Math.max(ms, one.timeoutMs) : ms),
      0,
    );
    return doubts.opened(placeOf(line), longestMs, line.kind === "serial" ? 0 : lateWayMs);
  });
  const ports = createPorts(log);
  let pool = poolOf(config, log);
  return {
    create(device) {
      const of = log.child({ device: device.id });
      if (device.driver === "opcua") return createOpcuaDriver(device, { pool, clock, log: of });
      if (device.driver === "modbus-rtu") {
        const unanswered = doubts.ofUnit(lines.placeOf(device.line), device.unitId, device.timeoutMs);
        return createModbusRtuDriver(device, { lines, unanswered, log: of, clockRate: clock.rate });
      }
      if (device.driver === "dlt645") {
        const doubt = doubts.ofMeter(lines.placeOf(device.line), device.meterAddress, device.timeoutMs);
        return createDlt645Driver(device, { line: lines.line(device.line), doubt, log: of });
      }
      return createModbusDriver(device, { ports, log: of, clockRate: clock.rate });
    },
    lineStats: () => [...lines.stats(), ...ports.stats()],
    async reload(next, { opcua }) {
      devices = next.devices;
      await lines.set(next.lines ?? [], onLines(devices));
      const tcp = next.devices.filter((device) => device.driver === "modbus-tcp");
      const placesOf = (device: (typeof tcp)[number]) => [device, ...(device.backup ? [device.backup] : [])];
      ports.keep(tcp.flatMap((one) => placesOf(one).map(({ host, port }) => ({ device: one.id, host, port }))));
      if (!opcua) return;
      await pool.close();
      pool = poolOf(next, log);
    },
    close: async () => void (await Promise.all([lines.close(), ports.close(), pool.close()])),
  };
}
