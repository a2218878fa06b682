import { emptyLeaf } from "@jilian/domain/leaf.ts";
import {
  type CounterSum,
  type MachinePlan,
  type MachineSums,
  noQuantity,
  plannedTimeMs,
  quantityOf,
} from "@jilian/domain/machine-sums.ts";
import { type Role, roles } from "@jilian/domain/roles.ts";
import { noState } from "@jilian/domain/state-leaf.ts";
import { machinePlan, type Registry } from "@jilian/store/registry.ts";
import type { SeriesId } from "@jilian/store/telemetry.ts";
import type { PeriodLeaves, Wanted } from "./leaf-reader.ts";
import type { SeriesIndex } from "./series-index.ts";

/** The roles whose counters say something of a machine's production. */
const machineRoles = (Object.keys(roles) as Role[]).filter(
  (role) => role.startsWith("production.") || role.startsWith("inspection."),
);
/** Those of which the part inside planned time is asked for: the terms of OEE. */
const plannedRoles: readonly Role[] = ["production.total", "production.good"];

/** A registered machine with its series that count. */
export type Machine = {
  readonly key: string;
  readonly plan: MachinePlan;
  /** True when its good production is the factory's output. */
  readonly output: boolean;
  readonly counters: readonly { readonly id: SeriesId; readonly role: Role; readonly product: string | undefined }[];
  readonly states: readonly SeriesId[];
};

/** The registered machines, with the series that are known now. */
export function machinesOf(registry: Registry, index: SeriesIndex): Machine[] {
  return [...registry.devices]
    .filter(([, { device }]) => device.kind === "machine")
    .map(([key, placed]) => ({
      key,
      plan: machinePlan(placed),
      output: placed.device.output === true,
      counters: machineRoles.flatMap((role) =>
        index.ofRole(role, key).map(({ id, definition }) => ({ id, role, product: definition.product })),
      ),
      states: index.ofRole("machine.state", key).map(({ id }) => id),
    }));
}

/** What to read for the figures of hours and days. @param meters series of the incoming meters */
export function wantedOf(machines: readonly Machine[], meters: readonly SeriesId[]): Wanted {
  return {
    counters: [...meters, ...machines.flatMap((machine) => machine.counters.map(({ id }) => id))],
    machines: machines.map(({ key, plan, counters, states }) => ({
      key,
      plan,
      counters: counters.filter(({ role }) => plannedRoles.includes(role)).map(({ id }) => id),
      states,
    })),
  };
}

/** What each machine says of a period, by device key. */
export function sumsOf(
  machines: readonly Machine[],
  leaves: PeriodLeaves,
  { startMs, endMs, asOfMs }: { startMs: number; endMs: number; asOfMs: number },
  lostMs: ReadonlyMap<string, number>,
): Map<string, MachineSums> {
  const elapsedMs = Math.min(endMs, asOfMs) - startMs;
  return new Map(
    machines.map(({ key, plan, counters, states }) => {
      const sums: CounterSum[] = counters.map(({ id, role, product }) => ({
        role,
        product,
        whole: quantityOf(leaves.counters.get(id) ?? emptyLeaf),
        planned: leaves.planned.get(id) ?? noQuantity,
      }));
      const state = states.length === 0 ? undefined : (leaves.states.get(key) ?? noState);
      const plannedMs = plannedTimeMs(plan, startMs, endMs, asOfMs);
      return [key, { plan, counters: sums, state, elapsedMs, plannedMs, lostMs: lostMs.get(key) ?? 0 }];
    }),
  );
}
