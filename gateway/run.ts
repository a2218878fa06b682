import type { Clock } from "@jilian/domain/clock.ts";
import type { Logger } from "pino";
import { type DeviceStats, startCollector } from "./collect.ts";
import type { GatewayConfig } from "./config.ts";
import { gatewayDrivers } from "./drivers/drivers.ts";
import { type EdgeNode, startEdgeNode } from "./edge-node.ts";
import type { CollectorEvents, OutboxStats } from "./model.ts";
import { type OpenedOutbox, openOutbox } from "./outbox.ts";

export type Gateway = {
  readonly stats: () => {
    outbox: OutboxStats & { isWritable: boolean };
    edge: ReturnType<EdgeNode["stats"]>;
    devices: DeviceStats[];
  };
  /** Stops collecting, takes leave of the broker, closes the outbox; within two seconds. What is pending stays on disk. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** A reading's way through the gateway: on disk first, then on the wire. */
function collectInto(outbox: OpenedOutbox, edge: EdgeNode): CollectorEvents {
  const idsOf = new Map<string, Map<string, number>>();
  return {
    onDefinitions: (device, definitions) => {
      const ids = outbox.declare(device, definitions);
      idsOf.set(device, new Map(definitions.map(({ name }, i) => [name, ids[i] as number])));
      edge.deviceDefinitions(device, definitions);
    },
    onConnection: edge.deviceConnection,
    onSamples: (device, samples) => {
      const ids = idsOf.get(device);
      const stored = samples.map(({ metric, ...sample }) => ({ ...sample, metricId: ids?.get(metric) as number }));
      const record = outbox.write(device, stored);
      if (record) edge.recordWritten(record);
    },
  };
}

/**
 * Runs a gateway: collector, outbox, edge node. A PLC or a broker that is not there does not stop it; an outbox that cannot be opened does.
 * @param config checked; paths in it are absolute or relative to the working directory, the password is resolved
 * @throws JilianError OUTBOX_*: see {@link openOutbox}
 */
export function startGateway(config: GatewayConfig, { log, clock }: { log: Logger; clock: Clock }): Gateway {
  const { group, node, broker, primaryHost } = config;
  const { path, maxBytes, fsyncMs, ...settings } = config.outbox;
  const outbox = openOutbox({ path, maxBytes, fsyncMs, group, node, clock, log });
  const edge = startEdgeNode({
    group,
    node,
    devices: config.devices.map(({ id }) => id),
    broker,
    settings,
    ...(primaryHost === undefined ? {} : { primaryHost }),
    outbox,
    clock,
    log,
  });
  const drivers = gatewayDrivers(config, { clock, log });
  const collector = startCollector({
    devices: config.devices,
    createDriver: drivers.create,
    clock,
    events: collectInto(outbox, edge),
    log,
    lastSourceTimeMs: outbox.lastSourceTimeMs,
  });
  let closing: Promise<void> | undefined;
  async function closeAll(): Promise<void> {
    await collector.close();
    await drivers.close();
    await edge.close();
    await outbox.close();
  }
  const close = (): Promise<void> => {
    closing ??= closeAll();
    return closing;
  };
  return {
    stats: () => ({
      outbox: { ...outbox.stats(), isWritable: outbox.isWritable() },
      edge: edge.stats(),
      devices: collector.stats(),
    }),
    close,
    [Symbol.asyncDispose]: close,
  };
}
