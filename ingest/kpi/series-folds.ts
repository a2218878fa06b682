import { accountMetric } from "@jilian/domain/account.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { isRole, roles } from "@jilian/domain/roles.ts";
import { type MetricDefinition, stalenessWindowMs } from "@jilian/domain/sample.ts";
import { type DatedDefinition, firstMinute } from "@jilian/store/series-versions.ts";
import type { Series } from "@jilian/store/telemetry.ts";
import { type CounterRule, counterRule, type MeterVersion } from "./counter.ts";
import { delayRule, type GaugeRule, gaugeRule } from "./gauge.ts";
import { holdMs } from "./state.ts";

/**
 * How a series is folded in a stretch of minutes in which its births say the same. Readings before and after births changed what it
 * means are no neighbours: of what lies between them nothing is told. A minute is of the definition that held when it began; readings of
 * another one in it do not count.
 */
export type Fold = {
  /** The minutes whose leaves it makes, [fromMs, toMs): whole ones; of a series that never changed, all there are. */
  readonly fromMs: number;
  readonly toMs: number;
  /** The readings they are made of, [sinceMs, untilMs): those that mean the same, over changes of heartbeats and the like. */
  readonly sinceMs: number;
  readonly untilMs: number;
  /** Set where the series is a counter, a gauge that is summed up, or a machine's state. */
  readonly counter: CounterRule | undefined;
  readonly gauge: GaugeRule | undefined;
  /** How long a reading of the state holds. */
  readonly holdMs: number | undefined;
  /** How long a good reading keeps its device online; undefined where it does not count for it. */
  readonly onlineMs: number | undefined;
};

/** What folding asks of the registry about a series. */
export type FoldFacts = {
  /** What the registry says over time of its device; none for one that is not registered. */
  readonly meters: () => readonly MeterVersion[];
  /** True where its device was ever registered. */
  readonly isRegistered: boolean;
  /** True for gauges that figures or findings need. */
  readonly isSummed: (definition: MetricDefinition) => boolean;
  readonly demo: boolean;
};

/** What makes readings of a series comparable with each other. */
function meaningOf({ role, unit, carrier, product, simulated, datatype }: MetricDefinition): string {
  return JSON.stringify([role, unit, carrier, product, simulated, datatype === DataType.Float]);
}

function foldOf(
  series: Series,
  facts: FoldFacts,
  definition: MetricDefinition,
  stretch: readonly DatedDefinition[],
): Pick<Fold, "counter" | "gauge" | "holdMs" | "onlineMs"> {
  const none = { counter: undefined, gauge: undefined, holdMs: undefined, onlineMs: undefined };
  if (series.metric === accountMetric) return { ...none, gauge: facts.isRegistered ? delayRule : undefined };
  const { role, simulated, heartbeatMs } = definition;
  const counts = series.device !== "" && (facts.demo || !simulated);
  const isCounter = isRole(role) && roles[role].kind === "counter";
  return {
    counter: isCounter ? counterRule(definition, facts.meters(), stretch) : undefined,
    gauge: !isCounter && facts.isSummed(definition) ? gaugeRule(definition) : undefined,
    holdMs: role === "machine.state" ? holdMs(definition) : undefined,
    onlineMs: counts ? stalenessWindowMs(heartbeatMs) : undefined,
  };
}

/** Where readings end that are certainly of what held before a change. */
const endOf = ({ fromMs, doubtMs = fromMs }: DatedDefinition) => doubtMs;

/** How a series is folded over time: one stretch, unless its births have changed. They cover all time, in order. */
export function foldsOf(series: Series, facts: FoldFacts): Fold[] {
  const ever = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };
  const { dated } = series;
  if (!dated) return [{ ...ever, sinceMs: 0, untilMs: ever.toMs, ...foldOf(series, facts, series.definition, []) }];
  return dated.flatMap(({ fromMs, definition }, i): Fold[] => {
    const minutes = {
      fromMs: i === 0 ? 0 : firstMinute(fromMs),
      toMs: i === dated.length - 1 ? ever.toMs : firstMinute((dated[i + 1] as DatedDefinition).fromMs),
    };
    if (minutes.toMs <= minutes.fromMs) return [];
    const meaning = meaningOf(definition);
    const isOther = (one: DatedDefinition) => meaningOf(one.definition) !== meaning;
    const first = dated.slice(0, i).findLastIndex(isOther) + 1;
    const next = dated.findIndex((one, n) => n > i && isOther(one));
    const stretch = dated.slice(first, next < 0 ? undefined : next);
    return [
      {
        ...minutes,
        sinceMs: first === 0 ? 0 : (dated[first] as DatedDefinition).fromMs,
        untilMs: next < 0 ? ever.toMs : endOf(dated[next] as DatedDefinition),
        ...foldOf(series, facts, definition, stretch),
      },
    ];
  });
}

/** The fold of a minute. */
export function foldAt(folds: readonly Fold[], minute: number): Fold {
  const [first] = folds;
  if (folds.length === 1) return first as Fold;
  return folds.findLast(({ fromMs }) => fromMs <= minute) ?? (first as Fold);
}
