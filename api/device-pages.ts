import { deviceFigure, deviceRatio } from "@jilian/domain/device-figures.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { ratioIndicators } from "@jilian/domain/indicators/catalogue.ts";
import type { RatioDefinition } from "@jilian/domain/indicators/ratio.ts";
import type { MinuteLeaf } from "@jilian/domain/leaf.ts";
import { type Loss, lostTimes } from "@jilian/domain/lost-time.ts";
import type { MachinePlan } from "@jilian/domain/machine-sums.ts";
import { minuteMs, periodLengthMs, periodStart } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { isRole, type Role, roles } from "@jilian/domain/roles.ts";
import type { MinuteState } from "@jilian/domain/state-leaf.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { LiveState } from "@jilian/store/live.ts";
import { machinePlan, type Registry } from "@jilian/store/registry.ts";
import type { Series, SeriesId, Telemetry } from "@jilian/store/telemetry.ts";
import { maxLeavesPerPage } from "./limits.ts";
import { compareKeys, type FigureKey, type FigurePage, type FigureQuery } from "./read-figures.ts";

type Counter = { id: SeriesId; role: Role; product: string | undefined };

/** One line of figures of a registered device: of a counter role, or a ratio of a machine. */
type Line = {
  entity: string;
  /** The role, or the id of the ratio. */
  indicator: string;
  simulated: boolean;
  counters: readonly Counter[];
} & ({ role: Role } | { definition: RatioDefinition; plan: MachinePlan; states: readonly SeriesId[] });

/** What the births of a registered device declared. */
type Declared = { counters: Counter[]; states: SeriesId[]; simulated: Set<SeriesId> };

function declaredBy(query: FigureQuery, series: readonly Series[], registry: Registry): Map<string, Declared> {
  const devices = new Map<string, Declared>();
  for (const { id, group, node, device, definition } of series) {
    const { role, product, simulated } = definition;
    const entity = deviceKey(group, node, device);
    if (!isRole(role) || !registry.devices.has(entity)) continue;
    if (query.entity !== undefined && query.entity !== entity) continue;
    const own = devices.get(entity) ?? { counters: [], states: [], simulated: new Set() };
    devices.set(entity, own);
    if (roles[role].kind === "counter") own.counters.push({ id, role, product });
    if (role === "machine.state") own.states.push(id);
    if (simulated) own.simulated.add(id);
  }
  return devices;
}

/** The lines of one device: its counter roles, and the ratios of a machine that counts or tells its state. */
function linesOfDevice(entity: string, declared: Declared, query: FigureQuery, registry: Registry): Line[] {
  const { counters, states, simulated } = declared;
  const ofRole = Map.groupBy(counters, ({ role }) => role);
  const lines = [...ofRole].map(([role, own]): Line => {
    return { entity, indicator: role, role, counters: own, simulated: own.some(({ id }) => simulated.has(id)) };
  });
  const placed = registry.devices.get(entity);
  if (placed?.device.kind !== "machine" || counters.length + states.length === 0) return lines;
  const plan = machinePlan(placed);
  for (const definition of ratioIndicators.filter(({ periods }) => periods.includes(query.period))) {
    const { terms } = definition;
    const needed = terms.map((term) => (term === "planned_run_time" ? "production.total" : term));
    const own = counters.filter(({ role }) => needed.some((term) => term === role));
    const ownStates = terms.includes("apt") ? states : [];
    const ids = [...own.map(({ id }) => id), ...ownStates];
    const simulates = ids.some((id) => simulated.has(id));
    const line = { entity, indicator: definition.id, definition, plan, counters: own, states: ownStates };
    lines.push({ ...line, simulated: simulates });
  }
  return lines;
}

/** The lines that a question asks for, by entity and indicator. A device has figures of what its births declared. */
function linesOf(query: FigureQuery, series: readonly Series[], registry: Registry): Line[] {
  return [...declaredBy(query, series, registry)]
    .flatMap(([entity, declared]) => linesOfDevice(entity, declared, query, registry))
    .filter(({ indicator }) => query.indicator === undefined || query.indicator === indicator)
    .sort((a, b) => compareKeys([0, a.entity, a.indicator], [0, b.entity, b.indicator]));
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
      if (after && compareKeys([startMs, line.entity, line.indicator], after) <= 0) continue;
      cells.push({ line, startMs });
      if (cells.length === wanted) break;
    }
  }
  return cells;
}

const statesOf = (line: Line) => ("states" in line ? line.states : []);

/** As many cells as may be answered at once, by the leaves that they read; one at least. */
function affordable(cells: readonly Cell[], limit: number, length: number): readonly Cell[] {
  let leaves = 0;
  const size = cells.findIndex(({ line }, i) => {
    leaves += Math.max(1, line.counters.length + statesOf(line).length) * (length / minuteMs);
    return i > 0 && (i === limit || leaves > maxLeavesPerPage);
  });
  return size < 0 ? cells : cells.slice(0, size);
}

/** Transactions up to which leaves are folded, as the newest figure of the engine tells; 0 when none is known. */
function foldedTx(live: LiveState): number {
  let tx = 0;
  for (const result of live.results.values()) tx = Math.max(tx, result.inputWatermark);
  return tx;
}

type Leaves = { counters: Map<SeriesId, MinuteLeaf[]>; states: Map<SeriesId, MinuteState[]> };

async function readLeaves(telemetry: Telemetry, cells: readonly Cell[], length: number): Promise<Leaves> {
  const first = cells[0];
  const last = cells.at(-1);
  if (!first || !last) return { counters: new Map(), states: new Map() };
  const ids = new Set(cells.flatMap(({ line }) => line.counters.map(({ id }) => id)));
  const stateIds = new Set(cells.flatMap(({ line }) => statesOf(line)));
  const [fromMs, toMs] = [first.startMs, last.startMs + length];
  const [counters, states] = await Promise.all([
    telemetry.readLeaves([...ids], fromMs, toMs),
    stateIds.size > 0 ? telemetry.readStates([...stateIds], fromMs, toMs) : [],
  ]);
  return { counters: Map.groupBy(counters, (row) => row.series), states: Map.groupBy(states, (row) => row.series) };
}

/** What hours of a page's devices lack, by device. */
function lossesOf(ledger: Pick<Ledger, "lossyHours">, cells: readonly Cell[], length: number): Map<string, Loss[]> {
  const [fromMs, toMs] = [cells[0]?.startMs ?? 0, (cells.at(-1)?.startMs ?? 0) + length];
  const devices = cells.map(({ line }) => line.entity);
  return Map.groupBy(ledger.lossyHours(fromMs, toMs, devices), ({ device }) => device);
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
  sources: { telemetry: Telemetry; ledger: Pick<Ledger, "lossyHours">; live: LiveState; registry: Registry },
): Promise<FigurePage> {
  const { telemetry, ledger, live, registry } = sources;
  const { period } = query;
  const lines = linesOf(query, await telemetry.series(), registry);
  const length = periodLengthMs(period);
  const ahead = cellsAfter(query, after, lines, nowMs, limit + 1);
  const cells = affordable(ahead, limit, length);
  const leaves = await readLeaves(telemetry, cells, length);
  const page = { period, asOfMs: nowMs, inputWatermark: foldedTx(live), registryVersion: registry.version };
  const losses = period === "minute" ? new Map<string, Loss[]>() : lossesOf(ledger, cells, length);
  const results = cells.map(({ line, startMs }): Result => {
    const { entity, simulated, counters } = line;
    const untilMs = Math.min(startMs + length, nowMs);
    const lostMs = lostTimes(losses.get(entity) ?? [], startMs, untilMs).get(entity) ?? 0;
    const own = <T extends { minuteMs: number }>(of: Map<SeriesId, T[]>, id: SeriesId) =>
      within(of.get(id) ?? [], startMs, startMs + length);
    const asked = { ...page, entity, startMs, simulated, lostMs };
    if ("role" in line) {
      const series = counters.map(({ id }) => own(leaves.counters, id));
      return deviceFigure({ ...asked, role: line.role, series });
    }
    const { definition, plan } = line;
    return deviceRatio({
      ...asked,
      definition,
      plan,
      counters: counters.map(({ id, role, product }) => ({ role, product, leaves: own(leaves.counters, id) })),
      states: line.states.map((id) => own(leaves.states, id)),
    });
  });
  const last = cells.at(-1);
  const next: FigureKey | undefined =
    last && ahead.length > cells.length ? [last.startMs, last.line.entity, last.line.indicator] : undefined;
  return { results, next };
}

/** The leaves of [fromMs, toMs), by bisection: a page of minutes must not scan all its leaves for each of them. */
function within<T extends { minuteMs: number }>(leaves: readonly T[], fromMs: number, toMs: number): readonly T[] {
  const at = (timeMs: number): number => {
    let low = 0;
    let high = leaves.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((leaves[middle] as T).minuteMs < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return leaves.slice(at(fromMs), at(toMs));
}
