import { readGatewayConfig } from "@jilian/gateway/config.ts";
import { createDlt645Driver } from "@jilian/gateway/drivers/dlt645.ts";
import type { Dlt645Device } from "@jilian/gateway/drivers/dlt645-config.ts";
import { createLine, type SharedLine } from "@jilian/gateway/drivers/line-shared.ts";
import { tcpMedium } from "@jilian/gateway/drivers/line-socket.ts";
import type { Driver } from "@jilian/gateway/model.ts";
import { createMeter, type MeterOptions, type MeterValues } from "@jilian/simulators/dlt645-meter.ts";
import { type Dlt645Server, startDlt645Server } from "@jilian/simulators/dlt645-server.ts";
import pino, { type Logger } from "pino";

const silent = pino({ level: "silent" });
export const meterAddress = "000000000161";

/** A device as its configuration gives it. @param tags flow mappings: `dataId: "00010000"`; they are named t0, t1 ... */
export function dlt645Device(tags: readonly string[], extra = "timeoutMs: 150"): Dlt645Device {
  const head =
    "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\nlines: [{ id: east, kind: tcp, host: h, port: 1 }]\ndevices:\n";
  const named = tags.map((tag, i) => `{ name: t${i}, ${tag} }`);
  const device = `  - { id: meter, driver: dlt645, line: east, meterAddress: "${meterAddress}", ${extra}, tags: [${named}] }\n`;
  const read = readGatewayConfig(head + device, "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value.devices[0] as Dlt645Device;
}

export type MeterWorld = {
  readonly server: Dlt645Server;
  readonly line: SharedLine;
  readonly driver: Driver;
  readonly close: () => Promise<void>;
};

export type WorldOptions = {
  readonly values: MeterValues | (() => MeterValues);
  readonly tags: readonly string[];
  readonly meter?: Partial<MeterOptions>;
  readonly extra?: string;
  readonly log?: Logger;
  readonly retryRefusedMs?: number;
};

/** One simulated meter behind a converter on TCP, a line to it, and the driver. */
export async function startMeter(options: WorldOptions): Promise<MeterWorld> {
  const { values, tags, extra, log = silent, retryRefusedMs } = options;
  const read = typeof values === "function" ? values : () => values;
  const meter = createMeter({ address: meterAddress, values: read, ...options.meter });
  const other = createMeter({ address: "000000000162", values: read });
  const server = await startDlt645Server({ meters: [meter, other], port: 0 });
  const place = {
    id: "east",
    kind: "tcp",
    host: "127.0.0.1",
    port: server.port,
    quietMs: 0.1,
    turnaroundMs: 0,
  } as const;
  const line = createLine("east", tcpMedium(place, silent), silent);
  const retry = retryRefusedMs === undefined ? {} : { retryRefusedMs };
  const driver = createDlt645Driver(dlt645Device(tags, extra), { line, log, ...retry });
  return {
    server,
    line,
    driver,
    async close() {
      await driver.close();
      await line.close();
      await server.stop();
    },
  };
}
