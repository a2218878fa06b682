import type { Value } from "@jilian/domain/datatypes.ts";
import type { Result } from "@jilian/domain/result.ts";
import { resultId } from "@jilian/domain/result.ts";
import type { Series, SeriesId } from "./telemetry.ts";

/** Newest known sample of a series. */
export type LiveSample = { series: Series; value: Value; status: number; sourceTimeMs: number; gatewayTimeMs: number };

/** What is known of a gateway right now. */
export type LiveNode = {
  group: string;
  node: string;
  /** True between NBIRTH and NDEATH. */
  alive: boolean;
  sinceMs: number;
  /** Metrics of the node itself (backlog, software), by name; never stored. */
  metrics: Map<string, Value>;
  /** Per device what the gateway says of its PLC. */
  devices: Map<string, { connected: boolean; reason: string }>;
};

/** Online, stale (birthed and alive, but nothing fresh), offline (no valid birth), never (not seen since the registry has it). */
export type DeviceState = "online" | "stale" | "offline" | "never";

export type LiveDevice = {
  group: string;
  node: string;
  device: string;
  /** True between DBIRTH and DDEATH or NDEATH. */
  born: boolean;
  bornMs: number;
  /** Source time of the newest good process sample, UTC ms; 0 when none. */
  lastGoodMs: number;
  /** Until when what it has told keeps it online: each good process sample for three heartbeats of its metric; 0 when there was none. */
  freshUntilMs: number;
};

/**
 * Live values and online state: a cache in memory, seeded from the store at start, never the truth. One process writes it (ingest), the
 * others of the same process read it (api).
 */
export type LiveState = {
  readonly samples: Map<SeriesId, LiveSample>;
  readonly nodes: Map<string, LiveNode>;
  readonly devices: Map<string, LiveDevice>;
  /** Newest result of each figure of the current and the last few periods, by resultId. */
  readonly results: Map<string, Result>;
  /** Counters of the services, for people: shed samples, duplicates, conflicts, transactions. */
  readonly counters: Map<string, number>;
};

export function createLiveState(): LiveState {
  return { samples: new Map(), nodes: new Map(), devices: new Map(), results: new Map(), counters: new Map() };
}

/** Adds to a counter. */
export function count(live: LiveState, name: string, by = 1): void {
  live.counters.set(name, (live.counters.get(name) ?? 0) + by);
}

/** State of a device at a time: its certificate, its gateway's life and the freshness of a good sample all must hold for online. */
export function deviceState(live: LiveState, group: string, node: string, device: string, nowMs: number): DeviceState {
  const known = live.devices.get(`${group}/${node}/${device}`);
  if (!known || (known.bornMs === 0 && known.lastGoodMs === 0)) return "never";
  if (!known.born || !live.nodes.get(`${group}/${node}`)?.alive) return "offline";
  return nowMs <= known.freshUntilMs ? "online" : "stale";
}

/** Puts results into the live cache. */
export function publishResults(live: LiveState, results: readonly Result[]): void {
  for (const result of results) live.results.set(resultId(result), result);
}

/** Drops results of periods that ended before a time from the live cache. */
export function dropResults(live: LiveState, keepSinceMs: number): void {
  for (const [id, result] of live.results) if (result.endMs < keepSinceMs) live.results.delete(id);
}
