import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { type CounterLeaf, emptyLeaf, mergeLeaves } from "@jilian/domain/leaf.ts";
import { hourMs, minuteMs, periodStart } from "@jilian/domain/periods.ts";
import { isRole, roles } from "@jilian/domain/roles.ts";
import { deviceWindowMs } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type {
  ChangedMinute,
  ConnectionRow,
  LeafRow,
  Series,
  SeriesId,
  StoredRow,
  Telemetry,
  Window,
} from "@jilian/store/telemetry.ts";
import { type CounterRule, counterRule, foldCounter } from "./counter.ts";
import { runsOf, steps } from "./runs.ts";

/** Leaves of a run of minutes, by minute and then by series or device. */
export type MinuteTable<K, V> = Map<number, Map<K, V>>;

/**
 * Keeps the leaves: folds what changed, writes the leaves of ended minutes, holds those of open minutes in memory. What it holds can be
 * lost at any time: {@link LeafKeeper.safeTx} says from which transaction on it has to be folded again.
 */
export type LeafKeeper = {
  /** Folds changed minutes; returns the starts of the minutes whose leaves may differ now. */
  readonly fold: (changed: readonly ChangedMinute[], upToTx: number, nowMs: number) => Promise<Set<number>>;
  /** Writes the leaves of minutes that have ended. */
  readonly flush: (nowMs: number) => Promise<void>;
  /** Everything up to this transaction is in written leaves. */
  readonly safeTx: () => number;
  /** Counter series of a role, by device key. */
  readonly seriesOf: (role: string, device: string) => Series[];
  /** Leaves of the series over a span of whole hours or minutes, merged. Absent: nothing known. */
  readonly counters: (series: readonly SeriesId[], fromMs: number, toMs: number) => Promise<Map<SeriesId, CounterLeaf>>;
  /** Milliseconds online over a span, by device key. */
  readonly online: (fromMs: number, toMs: number) => Promise<Map<string, number>>;
};

const cachedHours = 80;

function put<K, V>(table: MinuteTable<K, V>, minute: number, key: K, value: V): void {
  getOrMake(table, minute, () => new Map()).set(key, value);
}

function sameLeaf(a: CounterLeaf | undefined, b: CounterLeaf): boolean {
  return (
    a !== undefined &&
    a.amount === b.amount &&
    a.left === b.left &&
    a.right === b.right &&
    a.inGap === b.inGap &&
    a.coveredMs === b.coveredMs &&
    a.samples === b.samples &&
    a.resets === b.resets
  );
}

/** The part of a run that one late or new reading can change: from its predecessor's minute to its successor's (CONTRACTS 4). */
function reach(rows: readonly StoredRow[], firstMs: number, lastMs: number): { fromMs: number; toMs: number } {
  let before = firstMs;
  let after = lastMs;
  for (const { sourceTimeMs } of rows) {
    if (sourceTimeMs < firstMs) before = sourceTimeMs;
    else if (sourceTimeMs > lastMs) {
      after = sourceTimeMs;
      break;
    }
  }
  return { fromMs: periodStart("minute", before), toMs: periodStart("minute", after) + minuteMs };
}

type Run = { series: SeriesId; fromMs: number; toMs: number; firstMs: number; lastMs: number };

function runsBySeries(changed: readonly ChangedMinute[]): Run[] {
  const bySeries = new Map<SeriesId, ChangedMinute[]>();
  for (const change of changed) {
    getOrMake(bySeries, change.series, () => []).push(change);
  }
  return [...bySeries].flatMap(([series, list]) =>
    runsOf(
      list.map((c) => c.minuteMs),
      minuteMs,
    ).map(({ fromMs, toMs }) => {
      const inside = list.filter((c) => c.minuteMs >= fromMs && c.minuteMs < toMs);
      const firstMs = Math.min(...inside.map((c) => c.firstMs));
      const lastMs = Math.max(...inside.map((c) => c.lastMs));
      return { series, fromMs, toMs, firstMs, lastMs };
    }),
  );
}

export async function leafKeeper(telemetry: Telemetry, registry: Registry, fromTx: number): Promise<LeafKeeper> {
  const series = new Map<SeriesId, Series>();
  const rules = new Map<SeriesId, CounterRule>();
  const byDevice = new Map<string, Series[]>();
  const open: MinuteTable<SeriesId, CounterLeaf> = new Map();
  const openOnline: MinuteTable<string, number> = new Map();
  /** Open minute -> last transaction before the first that touched it. */
  const openSince = new Map<number, number>();
  const hours = new Map<number, Map<SeriesId, CounterLeaf>>();
  const onlineHours = new Map<number, Map<string, number>>();
  let foldedTx = fromTx;

  async function learn(): Promise<void> {
    series.clear();
    rules.clear();
    byDevice.clear();
    for (const one of await telemetry.series()) {
      const key = deviceKey(one.group, one.node, one.device);
      series.set(one.id, one);
      if (one.device !== "") byDevice.set(key, [...(byDevice.get(key) ?? []), one]);
      const { role } = one.definition;
      if (!isRole(role) || roles[role].kind !== "counter") continue;
      const rated = role === "energy.import" ? registry.devices.get(key)?.device.ratedPowerKW : undefined;
      rules.set(one.id, counterRule(one.definition, rated));
    }
  }

  function forget(minute: number): void {
    const hour = Math.floor(minute / hourMs) * hourMs;
    hours.delete(hour);
    onlineHours.delete(hour);
  }

  async function foldCounters(changed: readonly ChangedMinute[]): Promise<LeafRow[]> {
    const runs = runsBySeries(changed.filter((c) => rules.has(c.series)));
    const wide = (run: Run): Window => ({
      series: run.series,
      fromMs: run.fromMs - minuteMs,
      toMs: run.toMs + minuteMs,
    });
    const found = await telemetry.readWithNeighbours(runs.map(wide));
    const spans = runs.map((run, i) => ({ series: run.series, ...reach(found[i] ?? [], run.firstMs, run.lastMs) }));
    // A gap reaches beyond the rows at hand: its edges' minutes are read too.
    const far = spans.flatMap((span, i) =>
      span.fromMs < (runs[i] as Run).fromMs - minuteMs || span.toMs > (runs[i] as Run).toMs + minuteMs ? [i] : [],
    );
    const again = await telemetry.readWithNeighbours(far.map((i) => spans[i] as Window));
    for (const [n, i] of far.entries()) found[i] = again[n] ?? [];
    return spans.flatMap(({ series: id, fromMs, toMs }, i) =>
      foldCounter(found[i] ?? [], rules.get(id) as CounterRule, fromMs, toMs).map((leaf, m) => ({
        series: id,
        minuteMs: fromMs + m * minuteMs,
        leaf,
      })),
    );
  }

  async function foldConnections(changed: readonly ChangedMinute[]): Promise<ConnectionRow[]> {
    const minutes = new Map<string, Set<number>>();
    for (const change of changed) {
      const one = series.get(change.series);
      if (!one || one.device === "") continue;
      const key = deviceKey(one.group, one.node, one.device);
      const windowMs = deviceWindowMs((byDevice.get(key) ?? []).map((s) => s.definition.heartbeatMs));
      const set = getOrMake(minutes, key, () => new Set());
      for (const at of steps(change.minuteMs, change.lastMs + windowMs, minuteMs)) set.add(at);
    }
    const asked = [...minutes].flatMap(([key, set]) => {
      const own = byDevice.get(key) ?? [];
      const windowMs = deviceWindowMs(own.map((s) => s.definition.heartbeatMs));
      return runsOf(set, minuteMs).map((run) =>
        telemetry.onlineMs(
          key,
          own.map((s) => s.id),
          run.fromMs,
          run.toMs,
          windowMs,
        ),
      );
    });
    return (await Promise.all(asked)).flat();
  }

  async function changedOnly(leaves: readonly LeafRow[]): Promise<LeafRow[]> {
    const stored: MinuteTable<SeriesId, CounterLeaf> = new Map();
    for (const run of runsOf(
      leaves.map((l) => l.minuteMs),
      minuteMs,
    )) {
      const ids = [
        ...new Set(leaves.filter((l) => l.minuteMs >= run.fromMs && l.minuteMs < run.toMs).map((l) => l.series)),
      ];
      for (const row of await telemetry.readLeaves(ids, run.fromMs, run.toMs))
        put(stored, row.minuteMs, row.series, row.leaf);
    }
    return leaves.filter((l) => !sameLeaf(stored.get(l.minuteMs)?.get(l.series), l.leaf));
  }

  async function fold(changed: readonly ChangedMinute[], upToTx: number, nowMs: number): Promise<Set<number>> {
    if (changed.some((c) => !series.has(c.series))) await learn();
    const [leaves, connections] = await Promise.all([foldCounters(changed), foldConnections(changed)]);
    const isOpen = (minute: number) => minute + minuteMs > nowMs;
    for (const { series: id, minuteMs: minute, leaf } of leaves.filter((l) => isOpen(l.minuteMs))) {
      put(open, minute, id, leaf);
      if (!openSince.has(minute)) openSince.set(minute, foldedTx);
    }
    for (const { device, minuteMs: minute, onlineMs } of connections.filter((c) => isOpen(c.minuteMs))) {
      put(openOnline, minute, device, onlineMs);
      if (!openSince.has(minute)) openSince.set(minute, foldedTx);
    }
    const closed = await changedOnly(leaves.filter((l) => !isOpen(l.minuteMs)));
    await telemetry.writeLeaves(
      closed,
      connections.filter((c) => !isOpen(c.minuteMs)),
    );
    const touched = new Set([...leaves.map((l) => l.minuteMs), ...connections.map((c) => c.minuteMs)]);
    for (const minute of touched) forget(minute);
    foldedTx = upToTx;
    return touched;
  }

  async function flush(nowMs: number): Promise<void> {
    const ended = [...openSince.keys()].filter((minute) => minute + minuteMs <= nowMs);
    if (ended.length === 0) return;
    const leaves = ended.flatMap((m) =>
      [...(open.get(m) ?? [])].map(([id, leaf]) => ({ series: id, minuteMs: m, leaf })),
    );
    const rows = ended.flatMap((m) =>
      [...(openOnline.get(m) ?? [])].map(([device, onlineMs]) => ({ device, minuteMs: m, onlineMs })),
    );
    await telemetry.writeLeaves(leaves, rows);
    for (const minute of ended) {
      open.delete(minute);
      openOnline.delete(minute);
      openSince.delete(minute);
    }
  }

  async function minutes(ids: readonly SeriesId[], fromMs: number, toMs: number): Promise<Map<SeriesId, CounterLeaf>> {
    const table = new Map<SeriesId, Map<number, CounterLeaf>>();
    for (const row of await telemetry.readLeaves(ids, fromMs, toMs))
      put(table as never, row.series, row.minuteMs, row.leaf);
    for (const [minute, row] of open) {
      if (minute < fromMs || minute >= toMs) continue;
      for (const [id, leaf] of row) put(table as never, id, minute, leaf);
    }
    const merged = new Map<SeriesId, CounterLeaf>();
    for (const id of ids) {
      const own = table.get(id);
      if (!own) continue;
      let sum = { ...emptyLeaf };
      let first = true;
      for (const at of steps(fromMs, toMs, minuteMs)) {
        const leaf = own.get(at) ?? emptyLeaf;
        sum = first ? leaf : mergeLeaves(sum, leaf);
        first = false;
      }
      merged.set(id, sum);
    }
    return merged;
  }

  function keep<V>(cache: Map<number, V>, hour: number, value: V): void {
    cache.set(hour, value);
    const oldest = cache.keys().next().value;
    if (cache.size > cachedHours && oldest !== undefined) cache.delete(oldest);
  }

  async function counters(ids: readonly SeriesId[], fromMs: number, toMs: number): Promise<Map<SeriesId, CounterLeaf>> {
    if (toMs - fromMs < hourMs) return minutes(ids, fromMs, toMs);
    const total = new Map<SeriesId, CounterLeaf>();
    for (const hour of steps(fromMs, toMs, hourMs)) {
      const known = hours.get(hour) ?? new Map<SeriesId, CounterLeaf>();
      const missing = ids.filter((id) => !known.has(id));
      for (const [id, leaf] of missing.length > 0 ? await minutes(missing, hour, hour + hourMs) : [])
        known.set(id, leaf);
      for (const id of missing) if (!known.has(id)) known.set(id, emptyLeaf);
      keep(hours, hour, known);
      for (const id of ids) total.set(id, mergeOrFirst(total.get(id), known.get(id) as CounterLeaf));
    }
    return total;
  }

  async function onlineMinutes(fromMs: number, toMs: number): Promise<Map<string, number>> {
    const sums = new Map<string, number>();
    const add = (device: string, ms: number) => sums.set(device, (sums.get(device) ?? 0) + ms);
    for (const row of await telemetry.readConnections([], fromMs, toMs)) {
      if (!openOnline.get(row.minuteMs)?.has(row.device)) add(row.device, row.onlineMs);
    }
    for (const [minute, row] of openOnline)
      if (minute >= fromMs && minute < toMs) for (const [device, ms] of row) add(device, ms);
    return sums;
  }

  async function online(fromMs: number, toMs: number): Promise<Map<string, number>> {
    if (toMs - fromMs < hourMs) return onlineMinutes(fromMs, toMs);
    const sums = new Map<string, number>();
    for (const hour of steps(fromMs, toMs, hourMs)) {
      const known = onlineHours.get(hour) ?? (await onlineMinutes(hour, hour + hourMs));
      keep(onlineHours, hour, known);
      for (const [device, ms] of known) sums.set(device, (sums.get(device) ?? 0) + ms);
    }
    return sums;
  }

  await learn();
  return {
    fold,
    flush,
    safeTx: () => Math.min(foldedTx, ...openSince.values()),
    seriesOf: (role, device) =>
      (byDevice.get(device) ?? []).filter((s) => s.definition.role === role && rules.has(s.id)),
    counters,
    online,
  };
}

function mergeOrFirst(sum: CounterLeaf | undefined, leaf: CounterLeaf): CounterLeaf {
  return sum ? mergeLeaves(sum, leaf) : leaf;
}
