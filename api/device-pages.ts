import { deviceFigure, type MinuteLeaf } from "@jilian/domain/device-figures.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { minuteMs, periodLengthMs, periodStart } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { isRole, type Role, roles } from "@jilian/domain/roles.ts";
import type { LiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { Series, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { maxLeavesPerPage } from "./limits.ts";
import { compareKeys, type FigureKey, type FigurePage, type FigureQuery } from "./read-figures.ts";

/** A counter of a registered device: one line of figures. */
type Line = { entity: string; role: Role; simulated: boolean; series: SeriesId[] };

/** The lines that a question asks for, by entity and role. A device has the figures of the counters that its births declared. */
function linesOf(query: FigureQuery, series: readonly Series[], registry: Registry): Line[] {
  const lines = new Map<string, Line>();
  for (const { id, group, node, device, definition } of series) {
    const { role, simulated } = definition;
    const entity = deviceKey(group, node, device);
    if (!isRole(role) || roles[role].kind !== "counter" || !registry.devices.has(entity)) continue;
    if (query.entity !== undefined && query.entity !== entity) continue;
    if (query.indicator !== undefined && query.indicator !== role) continue;
    const line = lines.get(`${entity}|${role}`);
    if (line) {
      line.series.push(id);
      line.simulated ||= simulated;
    } else lines.set(`${entity}|${role}`, { entity, role, simulated, series: [id] });
  }
  return [...lines.values()].sort((a, b) => compareKeys([0, a.entity, a.role], [0, b.entity, b.role]));
}

type Cell = { line: Line; startMs: number };

/** The next figures after a key, without reading any: every line has one for every period that has begun. */
function cellsAfter(
  query: FigureQuery,
  after: FigureKey | undefined,
  lines: readonly Line[],
  nowMs: number,
  wanted: number,
): Cell[] {
  const cells: Cell[] = [];
  const length = periodLengthMs(query.period);
  const first = periodStart(query.period, query.fromMs);
  const endMs = Math.min(query.toMs, nowMs);
  let startMs = after ? after[0] : first < query.fromMs ? first + length : first;
  for (; startMs < endMs && cells.length < wanted; startMs += length) {
    for (const line of lines) {
      if (after && compareKeys([startMs, line.entity, line.role], after) <= 0) continue;
      cells.push({ line, startMs });
      if (cells.length === wanted) break;
    }
  }
  return cells;
}

/** Transactions up to which leaves are folded, as the newest figure of the engine tells; 0 when none is known. */
function foldedTx(live: LiveState): number {
  let tx = 0;
  for (const result of live.results.values()) tx = Math.max(tx, result.inputWatermark);
  return tx;
}

async function readLeaves(
  telemetry: Telemetry,
  cells: readonly Cell[],
  length: number,
): Promise<Map<SeriesId, MinuteLeaf[]>> {
  const byseries = new Map<SeriesId, MinuteLeaf[]>();
  const first = cells[0];
  const last = cells.at(-1);
  if (!first || !last) return byseries;
  const ids = [...new Set(cells.flatMap((cell) => cell.line.series))];
  for (const row of await telemetry.readLeaves(ids, first.startMs, last.startMs + length)) {
    const leaves = byseries.get(row.series);
    if (leaves) leaves.push(row);
    else byseries.set(row.series, [row]);
  }
  return byseries;
}

/**
 * One page of figures of devices, folded from their leaves on reading (CONTRACTS 4: they are too many to keep). The order is that of
 * the other levels. A page that would read too many leaves is shorter than asked and has a next one.
 */
export async function readDeviceFigures(
  query: FigureQuery,
  after: FigureKey | undefined,
  limit: number,
  nowMs: number,
  sources: { telemetry: Telemetry; live: LiveState; registry: Registry },
): Promise<FigurePage> {
  const { telemetry, live, registry } = sources;
  const lines = linesOf(query, await telemetry.series(), registry);
  const length = periodLengthMs(query.period);
  const size = Math.max(1, Math.min(limit, Math.floor((maxLeavesPerPage * minuteMs) / length)));
  const ahead = cellsAfter(query, after, lines, nowMs, size + 1);
  const cells = ahead.slice(0, size);
  const leaves = await readLeaves(telemetry, cells, length);
  const inputWatermark = foldedTx(live);
  const results = cells.map(
    ({ line, startMs }): Result =>
      deviceFigure({
        role: line.role,
        entity: line.entity,
        period: query.period,
        startMs,
        series: line.series.map((id) => within(leaves.get(id) ?? [], startMs, startMs + length)),
        asOfMs: nowMs,
        inputWatermark,
        registryVersion: registry.version,
        simulated: line.simulated,
      }),
  );
  const last = cells.at(-1);
  const next: FigureKey | undefined =
    last && ahead.length > size ? [last.startMs, last.line.entity, last.line.role] : undefined;
  return { results, next };
}

/** The leaves of [fromMs, toMs), by bisection: a page of minutes must not scan all its leaves for each of them. */
function within(leaves: readonly MinuteLeaf[], fromMs: number, toMs: number): readonly MinuteLeaf[] {
  const at = (timeMs: number): number => {
    let low = 0;
    let high = leaves.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((leaves[middle] as MinuteLeaf).minuteMs < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return leaves.slice(at(fromMs), at(toMs));
}
