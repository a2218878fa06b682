import { codeOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import type { Driver } from "../model.ts";
import { createModbusReader, type ModbusTimes } from "./modbus.ts";
import type { ModbusDevice } from "./modbus-config.ts";
import { openConnection } from "./modbus-connection.ts";
import { endpointOf, type TcpTarget } from "./modbus-errors.ts";
import { sharesConnection } from "./modbus-facts.ts";
import type { Ports } from "./modbus-port.ts";

function targetOf({ id, unitId, timeoutMs }: ModbusDevice, { host, port }: { host: string; port: number }): TcpTarget {
  return { device: id, host, port, endpoint: endpointOf(host, port), unitId, timeoutMs };
}

/** What a unit tells by that it does not know a request: silence, another frame, and of some devices the end of the connection. */
const refusals = new Set(["MODBUS_TIMEOUT", "MODBUS_FRAME_INVALID", "MODBUS_CONNECTION_LOST"]);

/**
 * Reads the tags of one unit behind Modbus TCP (modbus.ts): over the connection that all devices of its host and port share
 * (modbus-port.ts), or over one of its own (modbus-connection.ts). A device with a backup address is tried at the other one after each
 * connect or session in which nothing was read: it stays where it answers.
 * @param ports of the gateway
 */
export function createModbusDriver(
  device: ModbusDevice,
  { ports, log, ...times }: { ports: Pick<Ports, "share" | "join">; log: Logger } & ModbusTimes,
): Driver {
  const targets = [device, ...(device.backup ? [device.backup] : [])].map((address) => targetOf(device, address));
  const isShared = sharesConnection(device);
  if (isShared && targets.length > 1) ports.join(targets);
  let at = 0;
  let hasRead = true;
  /** Whether the change of address was told since something was read: while both are dead there is one at every attempt. */
  let isTold = false;
  const current = () => targets[at] as TcpTarget;

  const reader = createModbusReader(device, {
    target: current,
    open: (signal) => (isShared ? Promise.resolve(ports.share(current())) : openConnection(current(), signal)),
    // A connection that is shared has one request at a time.
    maxReadsInFlight: isShared ? 1 : device.maxReadsInFlight,
    isRefusal: (thrown) => refusals.has(codeOf(thrown)),
    log,
    ...times,
  });
  return {
    ...reader,
    async connect(signal) {
      if (!hasRead && targets.length > 1) {
        at = (at + 1) % targets.length;
        const level = isTold ? "debug" : "warn";
        isTold = true;
        log[level]({ device: device.id, address: current().endpoint }, "nothing was read: the other address is tried");
      }
      hasRead = false;
      return await reader.connect(signal);
    },
    async read(signal) {
      const readings = await reader.read(signal);
      hasRead = true;
      isTold = false;
      return readings;
    },
  };
}
