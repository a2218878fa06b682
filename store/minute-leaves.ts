import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { CounterLeaf } from "@jilian/domain/leaf.ts";
import { type Channels, type MinuteLeaves, type RollupSource, seriesAt } from "@jilian/domain/rollup.ts";
import type { StateLeaf } from "@jilian/domain/state-leaf.ts";
import type { SeriesId, Telemetry } from "./telemetry.ts";

/** Leaves by minute, and in it by series or device. */
export type MinuteTable<K, V> = Map<number, Map<K, V>>;

/** Leaves that are not written yet: those of open minutes. They stand before what is written. */
export type OpenLeaves = {
  readonly counters: MinuteTable<SeriesId, CounterLeaf>;
  readonly online: MinuteTable<string, number>;
  /** Time that a device was online in the minute that runs, until the time of the figures. */
  readonly onlineNow: (device: string) => number;
};

/**
 * Reads the leaves of some sources in [fromMs, toMs), by the numbers that the sources have for them: those of series, and of channels where
 * births have changed what a series means.
 */
export async function readMinutes(
  {
    telemetry,
    open,
  }: { telemetry: Pick<Telemetry, "readLeaves" | "readStates" | "readConnections">; open?: OpenLeaves },
  sources: readonly RollupSource[],
  fromMs: number,
  toMs: number,
): Promise<MinuteLeaves> {
  const channels: Channels = new Map(sources.flatMap((source) => [...(source.channels ?? [])]));
  const seriesOf = (id: SeriesId) => channels.get(id)?.map(({ series }) => series) ?? [id];
  const numbers = sources.flatMap((s) => [...s.counters, ...s.gauges, ...s.demand.filter((id) => id !== undefined)]);
  const counted = numbers.flatMap(seriesOf);
  const stateIds = [...new Set(sources.flatMap(({ states }) => states).flatMap(seriesOf))];
  const devices = sources.filter(({ key }) => key.includes("/")).map(({ key }) => key);
  const ids = [...new Set(counted)];
  const [leaves, connections, states] = await Promise.all([
    ids.length > 0 ? telemetry.readLeaves(ids, fromMs, toMs) : [],
    // All of them are one scan; many names in a question are slower than rows that nobody asked for.
    devices.length > 0 ? telemetry.readConnections(devices.length > 500 ? [] : devices, fromMs, toMs) : [],
    stateIds.length > 0 ? telemetry.readStates(stateIds, fromMs, toMs) : [],
  ]);
  const found = {
    counters: new Map() as MinuteTable<number, CounterLeaf>,
    online: new Map() as MinuteTable<string, number>,
    states: new Map() as MinuteTable<number, StateLeaf>,
  };
  const row = <K, V>(table: MinuteTable<K, V>, minute: number) => getOrMake(table, minute, () => new Map<K, V>());
  for (const { series, minuteMs: at, leaf } of leaves) row(found.counters, at).set(series, leaf);
  for (const { device, minuteMs: at, onlineMs } of connections) row(found.online, at).set(device, onlineMs);
  for (const { series, minuteMs: at, leaf } of states) row(found.states, at).set(series, leaf);
  const counterAt = (series: SeriesId, at: number) =>
    open?.counters.get(at)?.get(series) ?? found.counters.get(at)?.get(series);
  const stateAt = (series: SeriesId, at: number) => found.states.get(at)?.get(series);
  /** Of a channel, the leaf of the series that it is in the minute. */
  const inChannels = <L>(leafAt: (series: SeriesId, at: number) => L | undefined): typeof leafAt =>
    channels.size === 0
      ? leafAt
      : (id, at) => {
          const series = seriesAt(channels, id, at);
          return series === undefined ? undefined : leafAt(series, at);
        };
  return {
    counterAt: inChannels(counterAt),
    onlineAt: (device, at) => open?.online.get(at)?.get(device) ?? found.online.get(at)?.get(device) ?? 0,
    stateAt: inChannels(stateAt),
  };
}
