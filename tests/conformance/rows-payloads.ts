/** Rows about what is in a payload: metrics, names and aliases, values and their order (Sparkplug 3.0, 4.2, 5.11 and 6.4). */
import { type Capture, type Entry, isPublish, marks, type Publish, sent } from "./capture.ts";
import {
  type Break,
  bornMetric,
  both,
  type Change,
  type Check,
  drop,
  each,
  editMetric,
  editPublish,
  message,
  next,
  type Rows,
  rows,
  story,
  type Told,
  where,
} from "./check.ts";
import type { RawMetric, RawProperty } from "./payload.ts";

export type Held = { told: Told; metric: RawMetric };

/** Every metric of the edge node's messages of some types. */
export const metricsIn = (capture: Capture, ...types: string[]): Held[] =>
  story(capture)
    .filter(({ type }) => types.includes(type))
    .flatMap((told) => (told.packet.payload?.metrics ?? []).map((metric) => ({ told, metric })));
export const nameOf = ({ told, metric }: Held): string =>
  `${where(told.packet)}, metric ${metric.name ?? metric.alias}`;

export const eachMetric =
  (types: readonly string[], faultOf: (held: Held) => boolean, why: string): Check =>
  (capture) =>
    each(metricsIn(capture, ...types), (held) => faultOf(held) && `${nameOf(held)}: ${why}`);
export const any = (): boolean => true;
export const inEach = (types: readonly string[], change: Change<RawMetric>, fits = any as (m: RawMetric) => boolean) =>
  types.map((type) => editMetric(message("edge", type), fits, change));

export const births = ["NBIRTH", "DBIRTH"];
export const data = ["NDATA", "DDATA"];
export const all = [...births, ...data];

/** The wire field that holds a datatype's value; text and booleans have one each (Sparkplug 3.0, 6.4.16). */
function fieldOf(datatype = 0): number | undefined {
  if ([1, 2, 3, 5, 6, 7].includes(datatype)) return 10;
  if ([4, 8, 13].includes(datatype)) return 11;
  return { 9: 12, 10: 13, 11: 14, 12: 15, 14: 15, 15: 15, 16: 17, 17: 16, 18: 16, 19: 18 }[datatype];
}
const hasValue = ({ isNull, field, datatype }: RawMetric): boolean =>
  isNull ? field === undefined : field !== undefined && field === fieldOf(datatype);

function valueRows(): Rows {
  const complete = (type: string): Check =>
    eachMetric([type], ({ metric }) => !(metric.name && metric.datatype && hasValue(metric)), "no name, type or value");
  const valued = (type: string): Check =>
    eachMetric([type], ({ metric }) => !hasValue(metric), "neither value nor null");
  const nullAndValue: Change<RawMetric> = () => ({ isNull: true, field: 10, value: 1 });
  const noValue: Change<RawMetric> = (metric) => {
    delete metric.field;
    return { isNull: false };
  };
  const one = (type: string): Rows => {
    const t = type.toLowerCase();
    return {
      ...rows(
        `topics-${t}-metrics`,
        complete(type),
        ...inEach([type], (metric) => void delete metric.name),
        ...inEach([type], (metric) => void delete metric.datatype),
        ...inEach([type], noValue),
      ),
      ...rows(
        `operational-behavior-data-publish-${t}-values`,
        valued(type),
        ...inEach([type], noValue),
        ...inEach([type], nullAndValue),
      ),
    };
  };
  return { ...one("NBIRTH"), ...one("DBIRTH") };
}

/** Everything that data tells had been born. */
function declaredRows(): Rows {
  const one = (birth: string, type: string): Rows =>
    rows(
      `topics-${birth}-metric-reqs operational-behavior-data-publish-${birth}`,
      eachMetric([type], ({ told, metric }) => !bornMetric(told, metric), "not in the birth"),
      ...inEach([type], (metric) => {
        if (metric.alias === undefined) metric.name = "never born";
        else metric.alias = 999_999;
      }),
    );
  return { ...one("nbirth", "NDATA"), ...one("dbirth", "DDATA") };
}

/** A value as a host would compare it. */
const shownOf = ({ isNull, value, properties }: RawMetric): string =>
  JSON.stringify([
    isNull,
    String(value),
    ["Quality", "StatusCode"].map((key) => String(propertyOf(properties, key)?.value)),
  ]);
export function propertyOf(set: RawMetric["properties"], key: string): RawProperty | undefined {
  return set?.values[set.keys.indexOf(key)];
}

/** A metric that is told anew has another value than when it was told before. */
const changed =
  (birth: string, type: string): Check =>
  (capture) => {
    const last = new Map<string, string>();
    return each(
      metricsIn(capture, birth, type).filter(({ metric }) => !metric.isHistorical),
      (held) => {
        const { told, metric } = held;
        const key = `${told.device}/${(metric.name ?? bornMetric(told, metric)?.name) as string}`;
        const shown = shownOf(metric);
        const isSame = last.get(key) === shown;
        last.set(key, shown);
        return told.type === type && isSame && `${nameOf(held)}: told again without a change`;
      },
    );
  };
const isCurrent = ({ isHistorical }: RawMetric): boolean => !isHistorical;
const holding =
  (type: string, fits: (metric: RawMetric) => boolean) =>
  (entry: Entry): boolean =>
    message("edge", type)(entry) && isPublish(entry) && entry.payload?.metrics.some(fits) === true;
const repeated =
  (type: string): Break =>
  (capture) => {
    const at = capture.findLastIndex(holding(type, isCurrent));
    return capture.toSpliced(at, 0, capture[at] as Publish);
  };

const inOrder =
  (type: string): Check =>
  (capture) =>
    each(sent(capture, "edge", type), (packet) => {
      const times = (packet.payload?.metrics ?? []).filter((m) => !m.isHistorical);
      const last = new Map<string | number | undefined, number>();
      for (const { alias, name, timestamp = 0 } of times) {
        if (timestamp < (last.get(alias ?? name) ?? 0)) return `${where(packet)}: not in the order of time`;
        last.set(alias ?? name, timestamp);
      }
      return undefined;
    });
const holdsLoss =
  (device = "") =>
  ({ payload }: Publish): boolean =>
    payload?.metrics.some(({ name, value }) => value === false && name === `Devices/${device}/Connected`) === true;
const disorder = (type: string): Break =>
  editPublish(holding(type, isCurrent), ({ payload }) => {
    const first = payload?.metrics.find(isCurrent);
    if (first) payload?.metrics.push({ ...first, timestamp: (first.timestamp ?? 0) - 1000 });
  });

function publishRows(): Rows {
  const p = "operational-behavior-data-publish";
  const order =
    (...types: string[]): Check =>
    (capture) =>
      both(...types.map((type) => inOrder(type)(capture)));
  return {
    ...rows(`${p}-nbirth-change`, changed("NBIRTH", "NDATA"), repeated("NDATA")),
    ...rows(`${p}-dbirth-change`, changed("DBIRTH", "DDATA"), repeated("DDATA")),
    ...rows(`${p}-nbirth-order`, order("NBIRTH", "NDATA"), disorder("NBIRTH"), disorder("NDATA")),
    ...rows(`${p}-dbirth-order`, order("DBIRTH", "DDATA"), disorder("DBIRTH"), disorder("DDATA")),
    ...rows(
      "topics-ddata-payload",
      (capture) =>
        each(marks(capture, "value"), (mark) => {
          const told = metricsIn(capture, "DDATA").filter(
            ({ told: { packet } }) => packet.at >= mark.at && packet.at <= mark.at + 5000,
          );
          const found = told.some(
            (held) =>
              bornMetric(held.told, held.metric)?.name === mark.metric && Number(held.metric.value) === mark.value,
          );
          return !found && `${mark.device} ${mark.metric} became ${mark.value}, and no DDATA told it`;
        }),
      drop(holding("DDATA", ({ value }) => Number(value) === 4242)),
    ),
    ...rows(
      "topics-ndata-payload",
      // Births that go out in that moment tell it as well, and then it is no change any more.
      (capture) =>
        each(marks(capture, "device lost"), (mark) => {
          const told = sent(next(capture, mark), "edge", "NBIRTH", "NDATA").some(holdsLoss(mark.device));
          return !told && `${mark.device} was lost, and no message of the node told it`;
        }),
      drop((entry) => isPublish(entry) && entry.from === "client" && holdsLoss("press-1")(entry)),
    ),
  };
}

function aliasRows(): Rows {
  const hasAlias = ({ alias }: RawMetric): boolean => alias !== undefined;
  const unique: Check = (capture) =>
    each(
      story(capture).filter(({ type }) => type.endsWith("BIRTH")),
      ({ packet, births: known, device }) => {
        const others = [...known].filter(([name]) => name !== device).flatMap(([, metrics]) => metrics);
        const aliases = (packet.payload?.metrics ?? [])
          .map(({ alias }) => alias)
          .filter((alias) => alias !== undefined);
        const isTwice =
          new Set(aliases).size < aliases.length ||
          others.some(({ alias }) => alias !== undefined && aliases.includes(alias));
        return isTwice && `${where(packet)}: an alias stands for two metrics`;
      },
    );
  return {
    ...rows(
      "payloads-alias-uniqueness",
      unique,
      editPublish(message("edge", "DBIRTH"), ({ payload }) => {
        const [first, second] =
          payload?.metrics.filter(hasAlias).length === 1 ? [payload.metrics[0], undefined] : (payload?.metrics ?? []);
        if (first && !second) payload?.metrics.push({ ...first, name: "another" });
        else if (first && second) second.alias = first.alias as number;
      }),
    ),
    // Of a metric that has one: those of the node have none, as Node Control/Rebirth must not have one.
    ...rows(
      "payloads-alias-birth-requirement",
      (capture) =>
        each(
          metricsIn(capture, ...births).filter(({ metric }) => hasAlias(metric)),
          (held) => !held.metric.name && `${nameOf(held)}: an alias without a name`,
        ),
      editMetric(message("edge", "DBIRTH"), hasAlias, (metric) => void delete metric.name),
    ),
    ...rows(
      "payloads-alias-data-cmd-requirement",
      eachMetric(
        data,
        ({ told, metric }) => {
          const known = metric.alias === undefined ? bornMetric(told, metric) : metric;
          return known?.alias !== undefined && (metric.alias === undefined || metric.name !== undefined);
        },
        "a name where there is an alias",
      ),
      editMetric(message("edge", "DDATA"), hasAlias, () => ({ name: "count" })),
    ),
    ...rows(
      "payloads-name-requirement",
      eachMetric(all, ({ metric }) => !metric.name && metric.alias === undefined, "neither name nor alias"),
      ...inEach(["NBIRTH", "NDATA"], (metric) => void delete metric.name),
    ),
  };
}

export const payloadRows: Rows = { ...valueRows(), ...declaredRows(), ...publishRows(), ...aliasRows() };
