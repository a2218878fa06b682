import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { greatestOf, leastOf } from "@jilian/domain/lists.ts";
import { hourMs, periodEnd, periodStart, quarterHourMs } from "@jilian/domain/periods.ts";
import {
  addOnline,
  closeRollup,
  decodeRollup,
  encodeRollup,
  type MinuteLeaves,
  mergeOpen,
  mergeRollups,
  type OpenRollup,
  type Rollup,
  type RollupSource,
  rollUp,
  unknownRollup,
} from "@jilian/domain/rollup.ts";
import { type MinuteReader, minuteReader, type OpenLeaves } from "./minute-leaves.ts";
import { blockKey, type Prefix, type RollupMemory, rollupMemory } from "./rollup-memory.ts";
import { type KnownHours, type Piece, piecesOf } from "./rollup-pieces.ts";
import type { RollupRow, RollupUnit, Telemetry } from "./telemetry.ts";

export type RollupParts = {
  telemetry: Pick<Telemetry, "readLeaves" | "readStates" | "readConnections" | "readRollups">;
  /** Hours of which leaves exist; others are not read. */
  hours: KnownHours;
  open?: OpenLeaves;
  /** Rollups of one subject and stretch that are kept in memory; none if absent. */
  kept?: number;
};

/** The rollup of each source, by its key. */
export type Rollups = Map<string, Rollup>;

/** Merged leaves of any period, from rollups where they are kept and from leaves where they are not. */
export type RollupReader = {
  /** Rolls up [startMs, endMs). @param nowMs what has ended by then is kept */
  readonly read: (sources: readonly RollupSource[], startMs: number, endMs: number, nowMs: number) => Promise<Rollups>;
  /**
   * Rolls up each step of [fromMs, toMs), which do not cross hours, from the leaves; keeps none of it. By the steps' starts.
   * @param soon sources that will be asked for next, of the same time
   */
  readonly readEach: (
    sources: readonly RollupSource[],
    fromMs: number,
    toMs: number,
    stepMs: number,
    nowMs: number,
    soon?: () => readonly RollupSource[],
  ) => Promise<Map<number, Rollups>>;
  /** Withdraws what is kept of a subject and minute, whose leaves may differ now. */
  readonly touch: (key: string, minute: number) => void;
  /**
   * Hands over the rollups that were made and are not stored yet, and withdrawals of those that are stored and wrong. They are handed over
   * again when that fails.
   */
  readonly store: (nowMs: number, write: (rows: readonly RollupRow[]) => Promise<void>) => Promise<void>;
};

/** Hours of minutes that are held at once, and rollups that are read at once. */
const hoursTogether = 4;
const rowsTogether = 20_000;

const units = ["hour", "day", "month"] as const satisfies readonly RollupUnit[];
const smaller = { day: "hour", month: "day" } as const;

/** Takes out of `missing` what is kept in memory or stored. */
async function recall(
  { telemetry }: RollupParts,
  mem: RollupMemory,
  unit: RollupUnit,
  missing: Map<number, RollupSource[]>,
  put: (startMs: number, key: string, rollup: Rollup) => void,
): Promise<void> {
  const take = (startMs: number, find: (source: RollupSource) => Rollup | undefined) => {
    const left = (missing.get(startMs) ?? []).filter((source) => {
      const rollup = find(source);
      if (rollup) put(startMs, source.key, rollup);
      return !rollup;
    });
    if (left.length > 0) missing.set(startMs, left);
    else missing.delete(startMs);
  };
  for (const startMs of [...missing.keys()])
    take(startMs, ({ key, signature }) => {
      const kept = mem.block(unit, startMs)?.get(key);
      return kept?.signature === signature ? kept.rollup : undefined;
    });
  if (missing.size === 0) return;
  const starts = [...missing.keys()];
  const keys = [...new Set([...missing.values()].flat().map(({ key }) => key))];
  const rows = await telemetry.readRollups(unit, keys, leastOf(starts), greatestOf(starts) + 1);
  const bodies = new Map(rows.map((row) => [`${row.startMs}|${row.key}`, row.body]));
  for (const startMs of starts) {
    const id = blockKey(unit, startMs);
    const wrong = mem.stale.get(id)?.keys;
    take(startMs, ({ key, signature }) => {
      // Made anew as another version of the registry has it: what is stored is older than that, whatever its signature.
      const made = mem.unwritten.get(`${id}|${key}`)?.body;
      const body = made ?? (wrong?.has(key) ? undefined : bodies.get(`${startMs}|${key}`));
      const rollup = body === undefined ? undefined : decodeRollup(body, signature);
      if (rollup) mem.keep(unit, startMs, key, { signature, rollup });
      return rollup;
    });
  }
}

/** Makes rollups of a stretch inside one hour from minutes, quarter hour by quarter hour. */
async function partOf(
  minutes: MinuteReader,
  mem: RollupMemory,
  sources: readonly RollupSource[],
  fromMs: number,
  toMs: number,
  nowMs: number,
): Promise<Rollups> {
  const asOfMs = periodStart("minute", nowMs);
  const quarters: { startMs: number; endMs: number; whole: boolean }[] = [];
  for (let startMs = fromMs; startMs < toMs && startMs <= nowMs; ) {
    const endMs = Math.min(toMs, periodEnd("quarter_hour", startMs));
    quarters.push({ startMs, endMs, whole: endMs - startMs === quarterHourMs });
    startMs = endMs;
  }
  const recalled = ({ key, signature }: RollupSource, { startMs, endMs, whole }: (typeof quarters)[number]) => {
    const kept = whole ? mem.quarters.get(startMs)?.get(key) : undefined;
    return kept?.signature === signature && (kept.asOfMs === asOfMs || kept.asOfMs >= endMs) ? kept.rollup : undefined;
  };
  // Looked up before anything is kept, which may let older ones go.
  const known = sources.map((source) => ({ source, kept: quarters.map((quarter) => recalled(source, quarter)) }));
  const lacking = known.filter(({ kept }) => kept.includes(undefined));
  const first = leastOf(lacking.map(({ kept }) => kept.indexOf(undefined)));
  const own = lacking.map(({ source }) => source);
  const leaves = own.length > 0 ? await minutes.read(own, quarters[first]?.startMs as number, toMs, nowMs) : undefined;
  const merged: Rollups = new Map();
  for (const { source, kept } of known) {
    const { key, signature } = source;
    const rollups = quarters.map(({ startMs, endMs, whole }, q): OpenRollup => {
      const before = kept[q];
      if (before) return before;
      const rollup = rollUp(source, leaves as MinuteLeaves, startMs, endMs, nowMs);
      if (whole) mem.keepQuarter(startMs, key, { signature, rollup, asOfMs });
      return rollup;
    });
    merged.set(key, closeRollup(rollups.reduce(mergeOpen)));
  }
  return merged;
}

/** Whole hours, made from minutes of some hours at once. */
async function makeHours(
  minutes: MinuteReader,
  missing: ReadonlyMap<number, RollupSource[]>,
  nowMs: number,
  put: (startMs: number, source: RollupSource, rollup: Rollup) => void,
): Promise<void> {
  const starts = [...missing.keys()].sort((a, b) => a - b);
  for (let i = 0; i < starts.length; ) {
    const first = starts[i] as number;
    let n = 1;
    while (n < hoursTogether && starts[i + n] === first + n * hourMs) n += 1;
    const some = starts.slice(i, i + n);
    const sources = [...new Set(some.flatMap((at) => missing.get(at) ?? []))];
    const leaves = await minutes.read(sources, first, first + n * hourMs, nowMs);
    for (const at of some)
      for (const source of missing.get(at) ?? [])
        put(at, source, closeRollup(rollUp(source, leaves, at, at + hourMs, nowMs)));
    i += n;
  }
}

/** The ended hours, days or months that begin at the starts, each of all sources. */
async function blocksOf(
  parts: RollupParts & { minutes: MinuteReader },
  mem: RollupMemory,
  unit: RollupUnit,
  starts: readonly number[],
  sources: readonly RollupSource[],
  nowMs: number,
): Promise<Map<number, Rollups>> {
  const found: Map<number, Rollups> = new Map(starts.map((at) => [at, new Map()]));
  const put = (startMs: number, key: string, rollup: Rollup) => found.get(startMs)?.set(key, rollup);
  const made = (startMs: number, { key, signature }: RollupSource, rollup: Rollup) => {
    put(startMs, key, rollup);
    mem.keep(unit, startMs, key, { signature, rollup });
    const id = blockKey(unit, startMs);
    mem.noteMade(id, key);
    if (parts.kept) mem.unwritten.set(`${id}|${key}`, { unit, startMs, key, body: encodeRollup(signature, rollup) });
  };
  const missing = new Map<number, RollupSource[]>();
  for (const startMs of starts) {
    if (parts.hours.has(startMs, periodEnd(unit, startMs))) missing.set(startMs, [...sources]);
    else for (const source of sources) put(startMs, source.key, unknownRollup(source, true));
  }
  await recall(parts, mem, unit, missing, put);
  if (unit === "hour") await makeHours(parts.minutes, missing, nowMs, made);
  else {
    const part = smaller[unit];
    for (const [startMs, lacking] of missing) {
      const pieces: number[] = [];
      for (let at = startMs; at < periodEnd(unit, startMs); at = periodEnd(part, at)) pieces.push(at);
      const own = await blocksOf(parts, mem, part, pieces, lacking, nowMs);
      for (const source of lacking)
        made(startMs, source, pieces.map((at) => own.get(at)?.get(source.key) as Rollup).reduce(mergeRollups));
    }
  }
  return found;
}

/** The rollup reader. Exact: whatever is kept and however it is cut, it comes to the digits of merging minute by minute. */
export function rollupReader(from: RollupParts): RollupReader {
  const mem = rollupMemory(from.kept ?? 0);
  const minutes = minuteReader(from, Boolean(from.kept));
  const parts = { ...from, minutes };

  /** Rolls up piece by piece, whole ones of a unit that follow each other together. */
  async function* rolled(pieces: readonly Piece[], sources: readonly RollupSource[], nowMs: number) {
    for (let i = 0; i < pieces.length; ) {
      const { unit, fromMs, toMs } = pieces[i] as Piece;
      let n = 1;
      if (unit === "none")
        yield { toMs, of: new Map(sources.map((s) => [s.key, unknownRollup(s, fromMs + quarterHourMs <= nowMs)])) };
      else if (unit === "part") yield { toMs, of: await partOf(minutes, mem, sources, fromMs, toMs, nowMs) };
      else {
        const most = Math.max(1, Math.floor(rowsTogether / sources.length));
        while (n < most && pieces[i + n]?.unit === unit && pieces[i + n]?.fromMs === pieces[i + n - 1]?.toMs) n += 1;
        const run = pieces.slice(i, i + n);
        const starts = run.map((p) => p.fromMs);
        const blocks = await blocksOf(parts, mem, unit, starts, sources, nowMs);
        for (const piece of run) yield { toMs: piece.toMs, of: blocks.get(piece.fromMs) as Rollups };
      }
      i += n;
    }
  }

  /** What is kept of a running period, by source; undefined where nothing is. */
  function prefixesOf(startMs: number, endMs: number, nowMs: number): Map<string, Prefix> | undefined {
    const id = `${startMs}|${endMs}`;
    if (!parts.kept || endMs <= nowMs || endMs - startMs <= hourMs) {
      mem.prefixes.delete(id);
      return undefined;
    }
    return getOrMake(mem.prefixes, id, () => new Map<string, Prefix>());
  }

  /** An open period has the minute that runs as far as it has passed. */
  const withNow = (key: string, rollup: Rollup, startMs: number, endMs: number, nowMs: number) =>
    startMs <= nowMs && nowMs < endMs ? addOnline(rollup, parts.open?.onlineNow(key) ?? 0) : rollup;

  async function read(
    sources: readonly RollupSource[],
    startMs: number,
    endMs: number,
    nowMs: number,
  ): Promise<Rollups> {
    const prefixes = prefixesOf(startMs, endMs, nowMs);
    const prefixOf = ({ key, signature }: RollupSource): Prefix | undefined => {
      const prefix = prefixes?.get(key);
      return prefix?.signature === signature && prefix.toMs <= nowMs ? prefix : undefined;
    };
    const found: Rollups = new Map();
    for (const [fromMs, own] of Map.groupBy(sources, (source) => prefixOf(source)?.toMs ?? startMs)) {
      const sums: Rollups = new Map();
      if (fromMs > startMs) for (const source of own) sums.set(source.key, (prefixOf(source) as Prefix).rollup);
      const pieces = piecesOf(fromMs, endMs, nowMs, parts.hours);
      for await (const { toMs, of } of rolled(pieces, own, nowMs)) {
        for (const { key, signature } of own) {
          const before = sums.get(key);
          const next = of.get(key) as Rollup;
          const rollup = before ? mergeRollups(before, next) : next;
          sums.set(key, rollup);
          if (toMs <= nowMs && toMs % hourMs === 0 && toMs < endMs) prefixes?.set(key, { signature, rollup, toMs });
        }
      }
      for (const [key, rollup] of sums) found.set(key, withNow(key, rollup, startMs, endMs, nowMs));
    }
    return found;
  }

  return {
    read,
    readEach: async (sources, fromMs, toMs, stepMs, nowMs, soon) => {
      const leaves = await minutes.read(sources, fromMs, toMs, nowMs, soon);
      const found = new Map<number, Rollups>();
      for (let at = fromMs; at < toMs; at += stepMs) {
        const of: Rollups = new Map();
        for (const source of sources) {
          const open = rollUp(source, leaves, at, at + stepMs, nowMs);
          of.set(source.key, withNow(source.key, closeRollup(open), at, at + stepMs, nowMs));
        }
        found.set(at, of);
      }
      return found;
    },
    touch: (key, minute) => {
      minutes.touch(key, minute);
      for (const unit of units) mem.drop(unit, periodStart(unit, minute), key);
      mem.quarters.get(periodStart("quarter_hour", minute))?.delete(key);
      for (const [id, prefixes] of mem.prefixes) {
        const prefix = prefixes.get(key);
        if (prefix && minute >= Number(id.slice(0, id.indexOf("|"))) && minute < prefix.toMs) prefixes.delete(key);
      }
    },
    store: async (nowMs, write) => {
      const rows = [...mem.unwritten.values()];
      // Of what has not ended nothing is stored.
      const ended = [...mem.stale].filter(([, { unit, startMs }]) => periodEnd(unit, startMs) <= nowMs);
      for (const [, { unit, startMs, keys }] of ended)
        for (const key of keys) rows.push({ unit, startMs, key, body: "" });
      for (let i = 0; i < rows.length; i += rowsTogether) await write(rows.slice(i, i + rowsTogether));
      mem.unwritten.clear();
      for (const [id, { keys }] of ended) {
        mem.noteWithdrawn(id, keys);
        mem.stale.delete(id);
      }
    },
  };
}
