import type { Clock } from "@jilian/domain/clock.ts";
import type { Logger } from "pino";
import { type Accounts, startAccounts } from "./accounts.ts";
import { startCollector } from "./collect.ts";
import type { GatewayConfig } from "./config.ts";
import { gatewayDrivers } from "./drivers/drivers.ts";
import type { LineDoubts } from "./drivers/line-doubts.ts";
import { startEdgeNode } from "./edge-node.ts";
import type { History } from "./history.ts";
import type { CollectorEvents } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import type { Difference } from "./reload.ts";

export type GatewayDeps = { log: Logger; clock: Clock };
/** `history`: what keeps quarter hours beside the outbox, where it is wanted. `doubts`: what earlier assemblies have asked. */
export type AssemblyDeps = GatewayDeps & { history: History | undefined; doubts: LineDoubts };

/** Samples of one record at most: a poll of a large device is several, none of which is near the size of a message. */
const maxRecordSamples = 5000;

/** A reading's way through the gateway: on disk first, then on the wire. */
export function collectInto(
  outbox: OpenedOutbox,
  edge: Pick<ReturnType<typeof startEdgeNode>, "deviceDefinitions" | "deviceConnection" | "recordWritten">,
  accounts: Accounts,
): CollectorEvents {
  const idsOf = new Map<string, Map<string, number>>();
  return {
    onDefinitions: (device, shaped) => {
      const definitions = accounts.withAccount(shaped);
      const ids = outbox.declare(device, definitions, { lastReadingMs: accounts.lastSourceTimeMs(device) });
      accounts.declared(device, ids);
      idsOf.set(device, new Map(definitions.map(({ name }, i) => [name, ids[i] as number])));
      edge.deviceDefinitions(device, definitions);
    },
    onConnection: edge.deviceConnection,
    onSamples: (device, samples) => {
      const ids = idsOf.get(device);
      for (let from = 0; from < samples.length; from += maxRecordSamples) {
        const part = samples.length > maxRecordSamples ? samples.slice(from, from + maxRecordSamples) : samples;
        const stored = part.map(({ metric, value, status, sourceTimeMs, gatewayTimeMs }) => {
          return { metricId: ids?.get(metric) as number, value, status, sourceTimeMs, gatewayTimeMs };
        });
        accounts.queued(device, part);
        const record = outbox.write(device, stored);
        if (record) edge.recordWritten(record);
      }
    },
  };
}

export type Assembly = ReturnType<typeof assemble>;

/**
 * Everything of a gateway around one open outbox: edge node, accounts, drivers, collector. They know its ids and epochs, so that another
 * outbox needs another assembly.
 * @param onDropped is given what to tell of dropped samples, for as long as this assembly runs
 */
export function assemble(config: GatewayConfig, outbox: OpenedOutbox, { log, clock, history, doubts }: AssemblyDeps) {
  const { group, node, broker, primaryHost, devices } = config;
  const edge = startEdgeNode({
    group,
    node,
    devices: devices.map(({ id }) => id),
    broker,
    settings: config.outbox,
    ...(primaryHost === undefined ? {} : { primaryHost }),
    outbox,
    clock,
    log,
  });
  const accounts = startAccounts({ devices, outbox, clock, onWritten: edge.recordWritten });
  const drivers = gatewayDrivers(config, { clock, log, doubts });
  const events = collectInto(outbox, edge, accounts);
  const collector = startCollector({
    devices,
    createDriver: drivers.create,
    clock,
    events: history?.beside(events) ?? events,
    polls: accounts.polls,
    log,
    lastSourceTimeMs: accounts.lastSourceTimeMs,
  });
  async function closeAll(): Promise<void> {
    await collector.close();
    accounts.close();
    await drivers.close();
    await edge.close();
  }
  /** Takes over devices, and what they share, of another configuration that is the same in all else; those that are the same go on undisturbed. */
  async function setDevices(next: GatewayConfig, found: Difference): Promise<void> {
    const { added, changed, removed } = found;
    await collector.stop(new Set([...changed, ...removed]));
    if (closing) return;
    await drivers.reload(next, found);
    if (closing) return;
    accounts.setDevices(next.devices, new Set(changed));
    edge.setDevices(next.devices.map(({ id }) => id));
    const begun = new Set([...added, ...changed]);
    collector.start(next.devices.filter(({ id }) => begun.has(id)));
  }

  let closing: Promise<void> | undefined;
  return {
    outbox,
    setDevices,
    reconnect: edge.reconnect,
    ask: collector.ask,
    values: collector.values,
    onDropped: accounts.dropped,
    stats: () => ({ edge: edge.stats(), devices: collector.stats(), lines: drivers.lineStats() }),
    /** Stops collecting, takes leave of the broker. The outbox stays open. */
    close: (): Promise<void> => {
      closing ??= closeAll();
      return closing;
    },
  };
}
