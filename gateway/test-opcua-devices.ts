import { type Clock, systemClock } from "@jilian/domain/clock.ts";
import { statusName } from "@jilian/domain/quality.ts";
import pino from "pino";
import type { Collector } from "./collect.ts";
import { type GatewayConfig, readGatewayConfig } from "./config.ts";
import type { Drivers } from "./drivers/drivers.ts";
import type { ShapedSample } from "./model.ts";
import { collectFrom } from "./test-collect.ts";

/** OPC UA devices of a gateway, from configuration to events, for tests. */

export const log = pino({ level: process.env.JILIAN_TEST_LOG ?? "silent" });

/** Intervals that let faults be found in a second: keep-alive 200 ms, held 600 ms and the time-out, quiet tags checked after 400 ms. */
export const quick =
  "pollIntervalMs: 50, heartbeatMs: 400, publishingIntervalMs: 50, samplingIntervalMs: 0, timeoutMs: 500, retryMinMs: 50, retryMaxMs: 200";

export type DeviceText = { id?: string; endpointUrl: string; extra?: string; tags: readonly string[] };

/**
 * The configuration of a gateway with these devices; tags are YAML flow mappings, `NODE(x)` a node of the test server. Commas
 * part the lines of a device in `extra`; within a section they are written as semicolons.
 */
export function opcuaConfig(folder: string, devices: readonly DeviceText[], opcua = "{}"): GatewayConfig {
  const text = devices.map(({ id = "machine", endpointUrl, extra = quick, tags }) => {
    const list = tags.map((tag) => `      - { ${tag.replaceAll(/NODE\((\w+)\)/g, '"nsu=urn:test:machine;s=$1"')} }\n`);
    const lines = extra.split(", ").map((line) => `    ${line.replaceAll(";", ",")}\n`);
    return `  - id: ${id}\n    driver: opcua\n    endpointUrl: ${endpointUrl}\n${lines.join("")}    tags:\n${list.join("")}`;
  });
  const head = `group: factory\nnode: gateway\nbroker: { host: h }\noutbox: { path: ${folder}/outbox.db }\nopcua: ${opcua}\n`;
  const read = readGatewayConfig(`${head}devices:\n${text.join("")}`, "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults, null, 1));
  return read.value;
}

export type Seen =
  | { device: string; connected: boolean; reason: string }
  | { device: string; samples: readonly ShapedSample[] }
  | { device: string; simulated: boolean };

export type Collected = {
  readonly collector: Collector;
  readonly drivers: Drivers;
  readonly seen: Seen[];
  /** Samples of a device and metric as `value status`, in the order in which they came. */
  readonly of: (metric: string, device?: string) => ShapedSample[];
  readonly reasons: (device?: string) => string[];
  readonly close: () => Promise<void>;
};

export const show = (samples: readonly ShapedSample[]) =>
  samples.map(({ value, status }) => (status === 0 ? value : `${value} ${statusName(status)}`));

/** Collects for real, from drivers to samples. */
export function collectOpcua(config: GatewayConfig, clock: Clock = systemClock): Collected {
  const seen: Seen[] = [];
  const { collector, drivers, close } = collectFrom(config, log, {
    clock,
    events: {
      onDefinitions: (device, all) => seen.push({ device, simulated: all.every((d) => d.simulated) }),
      onConnection: (device, { connected, reason }) => seen.push({ device, connected, reason }),
      onSamples: (device, samples) => seen.push({ device, samples }),
    },
  });
  return {
    collector,
    drivers,
    seen,
    of: (metric, device = "machine") =>
      seen.flatMap((one) =>
        "samples" in one && one.device === device ? one.samples.filter((s) => s.metric === metric) : [],
      ),
    reasons: (device = "machine") =>
      seen.flatMap((one) => ("reason" in one && one.device === device && !one.connected ? [one.reason] : [])),
    close,
  };
}
