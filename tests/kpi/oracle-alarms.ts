/** The oracle, last part: alarms by the rules of the registry file, from docs/configuration.md alone; no machine, no review. */
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { RegistryFile } from "@jilian/store/registry-schema.ts";
import type { Column } from "./book.ts";
import type { DeviceAsked } from "./oracle-devices.ts";
import { onlineOf } from "./oracle-devices.ts";
import { elapsed } from "./oracle-energy.ts";
import { nothing, type OracleFigure } from "./oracle-machines.ts";
import { hour, ratio, rounded, windowOf } from "./oracle-readings.ts";
import type { OracleDevice, OracleSite } from "./oracle-sites.ts";

type Rule = NonNullable<RegistryFile["alarms"]>[number];
type Alarms = { raised: number[]; active: (readonly [from: number, to: number])[] };

/** What the clock alone says is told so much later. */
const grace = 5000;

/** Whether a reading says that the condition is there, and that it is gone. */
function saying(rule: Rule, column: Column, i: number): readonly [there: boolean, gone: boolean] {
  if (rule.kind === "state") {
    const there = rule.codes.map(String).includes(column.codes[column.states[i] as number] as string);
    return [there, !there];
  }
  if (rule.kind !== "threshold" || rule.above === undefined)
    throw new Error(`the oracle has no ${rule.kind} rule like that`);
  const micro = column.micro[i] as bigint;
  const limit = BigInt(Math.round(rule.above * 1e6));
  return [micro > limit, micro <= limit - BigInt(Math.round((rule.hysteresis ?? 0) * 1e6))];
}

/** When a rule raised alarms on a metric, and when they were active and their readings believed. */
function alarmsOf(rule: Rule, column: Column, asOf: number): Alarms {
  const { onDelayMs = 0, offDelayMs = 0 } = rule;
  const hold = Math.min(windowOf(column), hour);
  const found: Alarms = { raised: [], active: [] };
  const last = column.length > 0 ? (column.times[column.length - 1] as number) : 0;
  const clock = Math.max(last, asOf - grace);
  let isActive = false;
  let since: number | undefined;
  let before = 0;
  for (let i = 0; i < column.length; i += 1) {
    const from = column.times[i] as number;
    const next = i + 1 < column.length ? (column.times[i + 1] as number) : Number.POSITIVE_INFINITY;
    const stale = from + hold;
    // That the last reading is stale is told when the clock has said so.
    const to = next === Number.POSITIVE_INFINITY && stale > clock ? next : Math.min(next, stale);
    if (((column.flags[i] as number) & 1) === 0) {
      since = undefined;
      continue;
    }
    if (from !== before) since = undefined;
    before = to;
    const [there, gone] = saying(rule, column, i);
    since = (isActive ? gone : there) ? (since ?? from) : undefined;
    const due =
      since === undefined ? Number.POSITIVE_INFINITY : Math.max(from, since + (isActive ? offDelayMs : onDelayMs));
    const turns = due < to && due <= clock;
    if (isActive) found.active.push([from, turns ? due : to]);
    else if (turns) {
      found.raised.push(due);
      found.active.push([due, to]);
    }
    if (!turns) continue;
    isActive = !isActive;
    since = undefined;
  }
  return found;
}

/** By column, rule and time: the same for the thousands of periods that a column lies in. */
const found = new WeakMap<Column, Map<string, Alarms>>();

function alarmsOnce(rule: Rule, column: Column, asOf: number): Alarms {
  return getOrMake(
    getOrMake(found, column, () => new Map<string, Alarms>()),
    `${rule.id} ${asOf}`,
    () => alarmsOf(rule, column, asOf),
  );
}

const watches = ({ applies }: Rule, { metric }: Column) => metric.definition.role === applies.role;

/** The figures of alarms of a site. */
export function alarmFigures(
  asked: DeviceAsked,
  { places }: OracleSite,
  rules: readonly Rule[],
): [string, OracleFigure][] {
  const { from, to, asOf, lost } = asked.span;
  const until = Math.min(to, asOf);
  let [raised, active, covered, watched] = [0, 0, 0, 0];
  const ofDevice = (device: OracleDevice) => {
    const columns = asked.columns(device.key).filter((column) => column.length > 0);
    const pairs = columns.flatMap((column) =>
      rules.filter((rule) => watches(rule, column)).map((rule) => ({ rule, column })),
    );
    if (pairs.length === 0) return;
    watched += 1;
    covered += Math.min(onlineOf(asked, device), Math.max(0, elapsed(asked) - lost(device.key)));
    for (const { rule, column } of pairs) {
      const alarms = alarmsOnce(rule, column, asOf);
      raised += alarms.raised.filter((at) => at >= from && at < until).length;
      for (const [a, b] of alarms.active) active += Math.max(0, Math.min(b, until) - Math.max(a, from));
    }
  };
  for (const { devices } of places) for (const device of devices) ofDevice(device);
  if (watched === 0) return ["raised", "active_time"].map((name) => [`alarms.${name}`, nothing("no_alarm_rule", null)]);
  const known = (value: string, completeness: number | null): OracleFigure => ({
    ...nothing("", completeness, { watched, raised, active }),
    ...{ value, reason: null },
  });
  const whole = BigInt(elapsed(asked) * watched);
  return [
    ["alarms.raised", known(String(raised), null)],
    ["alarms.active_time", known(rounded(BigInt(active), 60_000n, 4), ratio(BigInt(covered), whole))],
  ];
}
