/** Rows about datatypes, times and properties of metrics, and about the one that asks for births (Sparkplug 3.0, 5.12, 6.4.5 to 6.4.12). */
import { type Capture, type Publish, sent, type Who } from "./capture.ts";
import {
  type Break,
  type Change,
  type Check,
  each,
  editMetric,
  editPublish,
  isPresent,
  message,
  metricNamed,
  type Rows,
  rows,
  where,
} from "./check.ts";
import type { RawMetric, RawProperty } from "./payload.ts";
import { all, births, data, eachMetric, inEach, metricsIn, nameOf, propertyOf } from "./rows-payloads.ts";

const sentBy = (capture: Capture, who: Who, ...types: string[]): { packet: Publish; metric: RawMetric }[] =>
  sent(capture, who, ...types).flatMap((packet) =>
    (packet.payload?.metrics ?? []).map((metric) => ({ packet, metric })),
  );

function typeRows(): Rows {
  const isType = (type: unknown): boolean =>
    Number.isInteger(type) && (type as number) >= 0 && (type as number) < 2 ** 32;
  return {
    // Our decoder of the bytes takes a datatype only as a varint of at most 32 bits: anything else leaves no payload at all.
    ...rows(
      "payloads-metric-datatype-value-type",
      eachMetric(births, ({ metric }) => !isType(metric.datatype), "no unsigned 32-bit integer"),
      ...inEach(births, () => ({ datatype: 2 ** 32 })),
    ),
    ...rows(
      "payloads-metric-datatype-value",
      eachMetric(
        births,
        ({ metric: { datatype = 0 } }) => !(datatype >= 1 && datatype <= 34 && ![20, 21].includes(datatype)),
        "no datatype",
      ),
      ...inEach(births, () => ({ datatype: 20 })),
    ),
    ...rows(
      "payloads-metric-datatype-req",
      eachMetric(births, ({ metric }) => metric.datatype === undefined, "no datatype"),
      ...inEach(births, (metric) => void delete metric.datatype),
    ),
    ...rows(
      "payloads-metric-datatype-not-req",
      (capture) =>
        each(
          [...sentBy(capture, "edge", ...data), ...sentBy(capture, "host", "NCMD")],
          ({ packet, metric }) => metric.datatype !== undefined && `${where(packet)}: a datatype`,
        ),
      ...inEach(data, () => ({ datatype: 4 })),
    ),
  };
}

function timeRows(): Rows {
  const messages = (capture: Capture): Publish[] => [...sent(capture, "edge"), ...sent(capture, "host", "NCMD")];
  return {
    ...rows(
      "payloads-name-birth-data-requirement",
      eachMetric(all, ({ metric }) => metric.timestamp === undefined, "no time"),
      ...inEach(all, (metric) => void delete metric.timestamp),
    ),
    ...rows(
      "payloads-timestamp-in-UTC",
      (capture) =>
        each(
          messages(capture),
          (packet) => !isPresent(packet.payload?.timestamp, packet.at) && `${where(packet)}: not UTC`,
        ),
      // Local time of Shandong instead of UTC.
      editPublish(message("edge", "DDATA"), ({ payload }) => {
        if (payload) payload.timestamp = (payload.timestamp ?? 0) + 8 * 3_600_000;
      }),
    ),
    ...rows(
      "payloads-metric-timestamp-in-UTC",
      (capture) => {
        const start = capture[0]?.at ?? 0;
        return each(metricsIn(capture, ...all), (held) => {
          const { timestamp = 0 } = held.metric;
          return (
            !(timestamp >= start - 60_000 && timestamp <= held.told.packet.at + 1000) && `${nameOf(held)}: not UTC`
          );
        });
      },
      ...inEach(all, (metric) => ({ timestamp: (metric.timestamp ?? 0) + 8 * 3_600_000 })),
    ),
  };
}

function setRows(): Rows {
  const sets = (capture: Capture) => metricsIn(capture, ...all).filter(({ metric }) => metric.properties);
  const hasSet = (metric: RawMetric): boolean => (metric.properties?.keys.length ?? 0) > 0;
  const eachProperty =
    (
      types: readonly string[],
      faultOf: (property: RawProperty, key: string) => boolean,
      why: string,
      only?: string,
    ): Check =>
    (capture) =>
      each(
        metricsIn(capture, ...types).flatMap((held) =>
          (held.metric.properties?.values ?? [])
            .map((property, i) => ({ held, property, key: held.metric.properties?.keys[i] ?? "" }))
            .filter(({ key }) => only === undefined || key === only),
        ),
        ({ held, property, key }) => faultOf(property, key) && `${nameOf(held)}, ${key}: ${why}`,
      );
  const spoil = (change: (properties: NonNullable<RawMetric["properties"]>) => void): Break =>
    editMetric(message("edge", "DBIRTH"), hasSet, ({ properties }) => void (properties && change(properties)));
  const spoilQuality = (change: Partial<RawProperty>): Break =>
    editMetric(
      (entry) => [...births, "DDATA"].some((type) => message("edge", type)(entry)),
      ({ properties }) => propertyOf(properties, "Quality") !== undefined,
      ({ properties }) => {
        const quality = propertyOf(properties, "Quality");
        if (quality) Object.assign(quality, change);
      },
    );
  const sameLength: Check = (capture) =>
    each(sets(capture), (held) => {
      const { keys = [], values = [] } = held.metric.properties ?? {};
      return keys.length !== values.length && `${nameOf(held)}: ${keys.length} keys, ${values.length} values`;
    });
  const dropValue = spoil(({ values }) => void values.pop());
  const dropKey = spoil(({ keys }) => void keys.pop());
  return {
    ...rows(
      "payloads-propertyset-keys-array-size payloads-propertyset-values-array-size",
      sameLength,
      dropValue,
      dropKey,
    ),
    ...rows(
      "payloads-metric-propertyvalue-type-type",
      eachProperty(
        all,
        ({ type }) => !(type !== undefined && type >= 0 && type < 2 ** 32),
        "no unsigned 32-bit integer",
      ),
      spoil(({ values }) => Object.assign(values[0] as RawProperty, { type: -1 })),
    ),
    ...rows(
      "payloads-metric-propertyvalue-type-value",
      eachProperty(
        all,
        ({ type = 0 }) => !((type >= 1 && type <= 15) || type === 20 || type === 21),
        "no type of a property",
      ),
      spoil(({ values }) => Object.assign(values[0] as RawProperty, { type: 22 })),
    ),
    ...rows(
      "payloads-metric-propertyvalue-type-req",
      eachProperty(births, ({ type }) => type === undefined, "no type"),
      spoil(({ values }) => Object.assign(values[0] as RawProperty, { type: undefined })),
    ),
    ...rows(
      "payloads-propertyset-quality-value-type",
      eachProperty(all, ({ type }) => type !== 3, "not Int32", "Quality"),
      spoilQuality({ type: 7 }),
    ),
    ...rows(
      "payloads-propertyset-quality-value-value",
      eachProperty(all, ({ value }) => ![0, 192, 500].includes(Number(value)), "not 0, 192 or 500", "Quality"),
      spoilQuality({ value: 64 }),
    ),
  };
}

function rebirthRows(): Rows {
  const c = "operational-behavior-data-commands-rebirth";
  const name = "Node Control/Rebirth";
  const control =
    (faultOf: (metric: RawMetric | undefined) => boolean, why: string): Check =>
    (capture) =>
      each(
        sent(capture, "edge", "NBIRTH"),
        (packet) => faultOf(metricNamed(packet, name)) && `${where(packet)}: ${why}`,
      );
  const change = (how: Change<RawMetric>): Break => editMetric(message("edge", "NBIRTH"), (m) => m.name === name, how);
  const rename = change(() => ({ name: "Node control/rebirth" }));
  const set = change(() => ({ value: true }));
  const retype = change(() => ({ datatype: 3 }));
  const isWhole = control((m) => !(m?.datatype === 11 && m.value === false), "no Boolean that is false");
  return {
    ...rows(`topics-nbirth-rebirth-metric payloads-nbirth-rebirth-req`, isWhole, rename, set, retype),
    ...rows(
      `${c}-name`,
      control((m) => m === undefined, "not there"),
      rename,
    ),
    ...rows(
      `${c}-name-aliases`,
      control((m) => !m || m.alias !== undefined, "an alias"),
      change(() => ({ alias: 1000 })),
    ),
    ...rows(
      `${c}-datatype`,
      control((m) => m?.datatype !== 11, "not Boolean"),
      retype,
    ),
    ...rows(
      `${c}-value`,
      control((m) => m?.value !== false, "not false"),
      set,
    ),
  };
}

export const propertyRows: Rows = { ...typeRows(), ...timeRows(), ...setRows(), ...rebirthRows() };
