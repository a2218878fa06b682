import { formatScaled } from "./decimal.ts";
import { type RatioDefinition, ratioFigure } from "./indicators/ratio.ts";
import { estimatedOf, type MinuteLeaf, mergeMinutes, tellsIncrease } from "./leaf.ts";
import { type CounterMinutes, type MachinePlan, sumMachine } from "./machine-sums.ts";
import { type Period, periodLengthMs, watermarkMs } from "./periods.ts";
import { type Result, share } from "./result.ts";
import { defaultScale, type Role, roles, scaleOfUnit } from "./roles.ts";
import type { MinuteState } from "./state-leaf.ts";

/** Version of the definition below, named by every figure of a device. */
export const deviceFigureVersion = 1;

/** What a figure of a device is computed from. */
export type DeviceFigureInput = {
  /** The counter role, which is also the indicator's id: `energy.import`, `production.total`. */
  role: Role;
  /** `factory/gateway/device`. */
  entity: string;
  period: Period;
  /** Start of the period, UTC ms. */
  startMs: number;
  /** Per series of this role (one, or one per carrier or product) its leaves, by minute; those outside the period are left out. */
  series: readonly (readonly MinuteLeaf[])[];
  asOfMs: number;
  /** Of what has passed of the period, the time that samples which are not stored stand for, ms (lost-time.ts); of minutes it is not known. */
  lostMs?: number;
  inputWatermark: number;
  registryVersion: string;
  simulated: boolean;
};

/**
 * The figure of one device, counter role and period, from its leaves. Pure: equal leaves give equal digits. It is made on reading and
 * not kept (CONTRACTS 4), hence revision 0: late data changes the leaves and with them the figure.
 *
 * Completeness is the part of the elapsed period that readings cover, over all series of the role, at most what is stored; the value is null (`no_data`) when no
 * leaf tells an increase, and null (`not_due`) before the period begins.
 */
export function deviceFigure(input: DeviceFigureInput): Result {
  const { role, entity, period, startMs, asOfMs } = input;
  const endMs = startMs + periodLengthMs(period);
  const inside = input.series.map((leaves) => leaves.filter((l) => l.minuteMs >= startMs && l.minuteMs < endMs));
  const merged = inside.map(mergeMinutes);
  const amount = merged.reduce((sum, leaf) => sum + leaf.amount, 0n);
  const estimated = merged.reduce((sum, leaf) => sum + estimatedOf(leaf), 0n);
  const coveredMs = merged.reduce((sum, leaf) => sum + leaf.coveredMs, 0);
  const series = Math.max(1, merged.length);
  const elapsedMs = (Math.min(endMs, asOfMs) - startMs) * series;
  const mostMs = Math.max(0, elapsedMs - (input.lostMs ?? 0) * series);
  const due = elapsedMs > 0;
  const known = due && inside.some((leaves) => leaves.some((l) => tellsIncrease(l.leaf)));
  const { unit } = roles[role];
  return {
    indicator: role,
    level: "device",
    entity,
    period,
    startMs,
    endMs,
    value: known ? formatScaled(amount, scaleOfUnit[unit] ?? defaultScale) : null,
    reason: known ? null : due ? "no_data" : "not_due",
    unit,
    // A source clock that runs ahead can cover more than has elapsed.
    completeness: due ? share(BigInt(Math.min(coveredMs, mostMs)), BigInt(elapsedMs)) : null,
    estimatedShare: known ? share(estimated, amount) : null,
    lowerBound: merged.some((leaf) => leaf.resets > 0),
    status: asOfMs >= endMs + watermarkMs ? "final" : "provisional",
    revision: 0,
    definitionVersion: deviceFigureVersion,
    factorTable: null,
    registryVersion: input.registryVersion,
    inputWatermark: input.inputWatermark,
    asOfMs,
    simulated: input.simulated,
  };
}

/** What a ratio of a device is computed from. */
export type DeviceRatioInput = Omit<DeviceFigureInput, "role" | "series"> & {
  /** One of `ratioIndicators` (indicators/catalogue.ts). */
  definition: RatioDefinition;
  /** What the registry says of the device (store/registry.ts, `machinePlan`). */
  plan: MachinePlan;
  /** The device's counters, those of other roles may be among them, each with its leaves by minute; empty where it gives none. */
  counters: readonly CounterMinutes[];
  /** Per `machine.state` series of the device its leaves, by minute. */
  states: readonly (readonly MinuteState[])[];
};

/**
 * A ratio of one device and period (FPY, OEE, ...), from its leaves. Pure, made on reading and not kept, as `deviceFigure`. The figures of
 * sites are made of the same terms, summed (indicators/ratio.ts).
 */
export function deviceRatio(input: DeviceRatioInput): Result {
  const { definition, entity, period, startMs, asOfMs } = input;
  const endMs = startMs + periodLengthMs(period);
  const span = { startMs, endMs, asOfMs, lostMs: input.lostMs ?? 0 };
  const machine = sumMachine(input.plan, input.counters, input.states, span);
  return {
    indicator: definition.id,
    level: "device",
    entity,
    period,
    startMs,
    endMs,
    ...ratioFigure(definition, [machine]),
    unit: definition.unit,
    status: asOfMs >= endMs + watermarkMs ? "final" : "provisional",
    revision: 0,
    definitionVersion: definition.version,
    factorTable: null,
    registryVersion: input.registryVersion,
    inputWatermark: input.inputWatermark,
    asOfMs,
    simulated: input.simulated,
  };
}
