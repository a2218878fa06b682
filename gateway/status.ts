import type { Clock } from "@jilian/domain/clock.ts";
import { software } from "./births.ts";
import type { DeviceStats } from "./collect.ts";
import type { GatewayConfig } from "./config.ts";
import { lifeFault, ownLife } from "./drivers/opcua-own.ts";
import { brokerAddress } from "./edge-link.ts";
import type { FailureKinds } from "./failure-kinds.ts";
import type { HistoryStats } from "./history.ts";
import { askedDays } from "./history-reach.ts";
import { historySetting } from "./history-setting.ts";
import type { Renewal, RenewalStats } from "./renewal.ts";
import type { Gateway } from "./run.ts";

/** How a running gateway is, as it goes over its control socket: times are ISO 8601, nothing in it is secret. */
export type GatewayStatus = {
  readonly software: string;
  readonly group: string;
  readonly node: string;
  readonly pid: number;
  /** Machine time since the gateway started. */
  readonly uptimeMs: number;
  readonly memoryBytes: number;
  readonly broker: {
    readonly address: string;
    readonly connected: boolean;
    /** Births are out: the platform is told of readings. */
    readonly born: boolean;
    readonly connects: number;
  };
  /** Of the gateway itself; absent where it has none. */
  readonly certificate?: {
    readonly ends: string;
    /** Attempts to renew it that failed since the last one that did not. */
    readonly failures: number;
    readonly lastFailure?: { readonly at: string; readonly reason: string };
  };
  /** That which OPC UA servers are shown; absent where no device needs one, and until there is one. */
  readonly opcuaCertificate?: {
    readonly path: string;
    readonly starts: string;
    readonly ends: string;
    /** What is wrong with its life now, by stable code. */
    readonly fault?: { readonly code: string; readonly message: string; readonly remedy: string };
  };
  readonly devices: readonly DeviceStatus[];
  readonly outbox: {
    readonly path: string;
    readonly pendingRecords: number;
    readonly pendingBytes: number;
    readonly maxBytes: number;
    /** Of the oldest reading that is pending, in the gateway's clock. */
    readonly oldestAgeMs?: number;
    readonly droppedSamples: number;
    readonly droppedByReason: Readonly<Record<string, number>>;
    readonly asideRecords: number;
    readonly isWritable: boolean;
    /** The medium fails, and readings wait in memory. */
    readonly isInMemory: boolean;
  };
  /** Of the box's own quarter hours; absent where none are kept. */
  readonly history?: HistoryStatus;
};

export type HistoryStatus = {
  readonly path: string;
  /** Begin of the oldest quarter hour in the file, and how far back that is in the gateway's clock; absent while there is none. */
  readonly oldest?: { readonly at: string; readonly agoMs: number };
  readonly bytes: number;
  readonly maxBytes: number;
  /** Days of the tags of now that will fit, reckoned, and those that are asked for. */
  readonly fitsDays: number;
  readonly askedDays: number;
  readonly isWritable: boolean;
};

export type DeviceStatus = {
  readonly device: string;
  readonly connected: boolean;
  readonly pollIntervalMs: number;
  readonly lastPollMs: number;
  readonly polls: number;
  /** Polls left out because the one before took longer than the interval. */
  readonly skippedPolls: number;
  readonly failures: number;
  /** By stable error code; absent where there was none. */
  readonly failureKinds?: FailureKinds;
  readonly lastFailure?: { readonly at: string; readonly reason: string };
};

function deviceStatus(stats: DeviceStats, pollIntervalMs: number): DeviceStatus {
  const { device, connected, lastPollMs, polls, skippedPolls, failures, failureKinds, lastFailure } = stats;
  const failure = lastFailure && { at: new Date(lastFailure.atMs).toISOString(), reason: lastFailure.reason };
  return {
    ...{ device, connected, pollIntervalMs, lastPollMs: Math.round(lastPollMs), polls, skippedPolls, failures },
    ...(failures > 0 ? { failureKinds } : {}),
    ...(failure ? { lastFailure: failure } : {}),
  };
}

function historyStatus(
  config: GatewayConfig,
  stats: HistoryStats | undefined,
  nowMs: number,
): HistoryStatus | undefined {
  const setting = historySetting(config);
  if (stats === undefined || setting === undefined) return undefined;
  const { oldestMs, bytes, fitsDays, isWritable } = stats;
  const { path, maxBytes } = setting;
  const oldest = oldestMs !== undefined && {
    oldest: { at: new Date(oldestMs).toISOString(), agoMs: Math.max(0, nowMs - oldestMs) },
  };
  return { path, ...oldest, bytes, maxBytes, fitsDays: Math.floor(fitsDays), askedDays, isWritable };
}

function certificateStatus(stats: RenewalStats | undefined): Pick<GatewayStatus, "certificate"> {
  if (stats === undefined) return {};
  const { endsMs, failures, lastFailure } = stats;
  const last = lastFailure && { at: new Date(lastFailure.atMs).toISOString(), reason: lastFailure.reason };
  return { certificate: { ends: new Date(endsMs).toISOString(), failures, ...(last ? { lastFailure: last } : {}) } };
}

/** As it lies there now: a person who has exchanged it asks whether it is right. */
function opcuaCertificateStatus(config: GatewayConfig): Pick<GatewayStatus, "opcuaCertificate"> {
  try {
    const life = ownLife(config);
    if (life === undefined) return {};
    const { path, startsMs, endsMs } = life;
    const fault = lifeFault(life, Date.now());
    const times = { starts: new Date(startsMs).toISOString(), ends: new Date(endsMs).toISOString() };
    return { opcuaCertificate: { path, ...times, ...(fault ? { fault } : {}) } };
  } catch {
    // One that cannot be read: the last failure of its devices tells.
    return {};
  }
}

type Running = { gateway: Pick<Gateway, "stats" | "config">; renewal?: Pick<Renewal, "stats">; clock: Clock };

/** Tells how a gateway is whenever it is asked. Its uptime begins with this call. */
export function statusTeller({ gateway, renewal, clock }: Running): () => GatewayStatus {
  const startedMs = performance.now();
  return () => {
    const { group, node, broker, outbox, devices: configured } = gateway.config();
    const { devices, edge, outbox: box, history } = gateway.stats();
    const ofHistory = historyStatus(gateway.config(), history, clock.now());
    // In the order of the configuration: a reload puts devices that have changed behind the others.
    const statsOf = new Map(devices.map((device) => [device.device, device]));
    const { oldestWrittenAtMs } = box;
    return {
      software,
      group,
      node,
      pid: process.pid,
      uptimeMs: Math.round(performance.now() - startedMs),
      memoryBytes: process.memoryUsage.rss(),
      broker: { address: brokerAddress(broker), connected: edge.connected, born: edge.born, connects: edge.connects },
      ...certificateStatus(renewal?.stats()),
      ...opcuaCertificateStatus(gateway.config()),
      devices: configured.flatMap(({ id, pollIntervalMs }) => {
        const device = statsOf.get(id);
        return device === undefined ? [] : [deviceStatus(device, pollIntervalMs)];
      }),
      outbox: {
        path: outbox.path,
        pendingRecords: box.pendingRecords,
        pendingBytes: box.pendingBytes,
        maxBytes: outbox.maxBytes,
        ...(oldestWrittenAtMs === undefined ? {} : { oldestAgeMs: Math.max(0, clock.now() - oldestWrittenAtMs) }),
        droppedSamples: box.droppedSamples,
        droppedByReason: box.droppedByReason,
        asideRecords: box.asideRecords,
        isWritable: box.isWritable,
        isInMemory: box.isInMemory,
      },
      ...(ofHistory ? { history: ofHistory } : {}),
    };
  };
}
