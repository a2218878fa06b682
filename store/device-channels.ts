import { createHash } from "node:crypto";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { CounterSum } from "@jilian/domain/machine-sums.ts";
import { roles } from "@jilian/domain/roles.ts";
import { type ChannelPart, isTelling } from "@jilian/domain/rollup.ts";
import type { CounterSeries, DeviceSeries } from "./device-series.ts";
import { definitionAt, firstMinute } from "./series-versions.ts";
import type { Series, SeriesId } from "./telemetry.ts";

/** A stretch of minutes, [fromMs, toMs), in which the births of a device say the same, and its series as they say it. */
export type BirthStretch = { readonly fromMs: number; readonly toMs: number; readonly own: readonly Series[] };

/** What a device's series come to in such a stretch. */
export type StretchSeries = BirthStretch & { readonly device: DeviceSeries };

/** The stretches in which the births of a device said the same; a minute is of what held when it began. */
export function stretchesOf(own: readonly Series[]): BirthStretch[] {
  const changes = own.flatMap(({ dated = [] }) => dated.slice(1).map(({ fromMs }) => firstMinute(fromMs)));
  const edges = [...new Set([0, ...changes])].sort((a, b) => a - b);
  return edges.map((fromMs, i) => ({
    fromMs,
    toMs: edges[i + 1] ?? Number.POSITIVE_INFINITY,
    own: own.map(({ dated, ...series }) => ({
      ...series,
      definition: dated ? definitionAt({ definition: series.definition, dated }, fromMs) : series.definition,
    })),
  }));
}

/** Series have smaller numbers. */
const firstChannel = 2 ** 32;

/** A number for a channel that no series has, and under every version of the registry the same for the same parts. */
function channelNumber(parts: readonly ChannelPart[]): number {
  const text = createHash("sha256").update(JSON.stringify(parts)).digest("hex");
  return firstChannel + Number.parseInt(text.slice(0, 12), 16);
}

/** Gives channels their numbers; a series that never changed is its own. */
function channelBook() {
  const channels = new Map<number, readonly ChannelPart[]>();
  return {
    channels,
    /** @param parts in order; those that follow each other in one series are one */
    idOf: (parts: readonly ChannelPart[]): number | undefined => {
      const joined: ChannelPart[] = [];
      for (const part of parts) {
        const last = joined.at(-1);
        if (last?.series === part.series && last.toMs === part.fromMs)
          joined[joined.length - 1] = { ...last, toMs: part.toMs };
        else joined.push(part);
      }
      const [first] = joined;
      if (!first) return undefined;
      if (joined.length === 1 && first.fromMs === 0 && first.toMs === Number.POSITIVE_INFINITY) return first.series;
      const id = channelNumber(joined);
      channels.set(id, joined);
      return id;
    },
  };
}

type CounterPart = ChannelPart & { readonly counter: CounterSeries; readonly inUnit: boolean };

/** The parts of each counter: one of a series, role and product. Where births changed its unit, the minutes in that of the role count. */
function counterParts(stretches: readonly StretchSeries[]): CounterPart[][] {
  const found = new Map<string, CounterPart[]>();
  for (const { fromMs, toMs, own, device } of stretches)
    for (const counter of device.counters) {
      const { id: series, role, product } = counter;
      const inUnit = own.find(({ id }) => id === series)?.definition.unit === roles[role].unit;
      const parts = getOrMake(found, JSON.stringify([series, role, product]), () => []);
      parts.push({ fromMs, toMs, series, counter, inUnit });
    }
  return [...found.values()].map((parts) =>
    parts.some(({ inUnit }) => inUnit) ? parts.filter(({ inUnit }) => inUnit) : parts,
  );
}

/**
 * What a device comes to whose births have changed: its series of each stretch, as channels that last over all of them.
 * @param stretches all of time, in order
 */
export function overStretches(stretches: readonly StretchSeries[]): DeviceSeries {
  const [first] = stretches as [StretchSeries];
  const { idOf, channels } = channelBook();
  const partsOf = (seriesIn: (device: DeviceSeries) => SeriesId | undefined): ChannelPart[] =>
    stretches.flatMap(({ fromMs, toMs, device }) => {
      const series = seriesIn(device);
      return series === undefined ? [] : [{ fromMs, toMs, series }];
    });
  const counters = counterParts(stretches).map((parts): CounterSeries => {
    const [{ counter }] = parts as [CounterPart];
    const id = idOf(parts.map(({ fromMs, toMs, series }) => ({ fromMs, toMs, series })));
    return { ...counter, id: id as number };
  });
  const stateSeries = new Set(stretches.flatMap(({ device }) => device.states));
  const states = [...stateSeries].map(
    (series) => idOf(partsOf((device) => (device.states.includes(series) ? series : undefined))) as number,
  );
  const [register, power, capability, accounts] = (["register", "power", "capability", "accounts"] as const).map(
    (field) => idOf(partsOf((device) => device[field])),
  );
  const { placed, plan, source } = first.device;
  return {
    ...{ placed, plan, counters, states, register, power, capability, accounts },
    watched: stretches.some(({ device }) => device.watched),
    simulated: stretches.some(({ device }) => device.simulated),
    stretches,
    source: { ...source, channels },
  };
}

/** A device in a period: what its births said in it. The device itself where they always said the same. */
export function deviceIn(device: DeviceSeries, startMs: number, endMs: number): DeviceSeries {
  const { stretches, counters, states, register, power, capability, accounts, source } = device;
  if (!stretches) return device;
  const tells = (id: number | undefined): id is number =>
    id !== undefined && isTelling(source.channels, id, startMs, endMs);
  const own = stretches.filter(({ fromMs, toMs }) => fromMs < endMs && toMs > startMs);
  return {
    ...device,
    counters: counters.filter(({ id }) => tells(id)),
    states: states.filter(tells),
    register: tells(register) ? register : undefined,
    power: tells(power) ? power : undefined,
    capability: tells(capability) ? capability : undefined,
    accounts: tells(accounts) ? accounts : undefined,
    watched: own.some((one) => one.device.watched),
    simulated: own.some((one) => one.device.simulated),
    source: tells(register) ? source : { ...source, banded: [] },
  };
}

/** Groups what stands for each counter of a device by the series that it is of: births gave such a one product after the other. */
export function byCounterSeries<T>({ counters, source }: DeviceSeries, each: readonly T[]): T[][] {
  const seriesOf = (id: SeriesId) => source.channels?.get(id)?.[0]?.series ?? id;
  const groups = Map.groupBy(each, (_, i) => {
    const { id, role } = counters[i] as CounterSeries;
    return `${seriesOf(id)} ${role}`;
  });
  return [...groups.values()];
}

/**
 * The counters of a machine in a period. Of one whose product births changed, each product is as covered as the counter is, and nothing is
 * expected of one that tells nothing of the period: to completeness it is one counter.
 */
export function countersTold(device: DeviceSeries, each: readonly CounterSum[]): CounterSum[] {
  if (!device.stretches) return [...each];
  return byCounterSeries(device, each).flatMap((group) => {
    const told = group.filter(({ whole }) => whole.told);
    const covered = (of: "whole" | "planned") => told.reduce((ms, one) => ms + one[of].coveredMs, 0);
    const [wholeMs, plannedMs] = [covered("whole"), covered("planned")];
    if (told.length === 0) return group.slice(0, 1);
    return told.map(({ whole, planned, ...one }) => ({
      ...one,
      whole: { ...whole, coveredMs: wholeMs },
      planned: { ...planned, coveredMs: plannedMs },
    }));
  });
}
