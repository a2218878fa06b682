import type { JilianError } from "@jilian/domain/errors.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { SeriesKey } from "@jilian/domain/sample.ts";
import { unknownSeries } from "../columns/check.ts";
import { keyText } from "../columns/series-text.ts";
import {
  type DatedDefinition,
  datedText,
  nextMark,
  readDated,
  shownDefinitions,
  withDefinition,
} from "../series-versions.ts";
import type { Series, SeriesId, WantedSeries } from "../telemetry.ts";
import type { Block } from "./answer.ts";
import type { InfluxClient } from "./client.ts";
import { ownWrite } from "./faults.ts";
import { fromTagValue, lineTag, lineText, tagIs } from "./text.ts";

/** Time of points that are rewritten in place, such as definitions. */
export const fixedTimeMs = 1;

const tagNames = ["group", "node", "device", "metric"] as const;
/** Groups an answer by series. */
export const bySeries = `GROUP BY ${tagNames.map((name) => `"${name}"`).join(", ")}`;

/** A series with what its lines and queries begin with. */
export type KnownSeries = {
  readonly id: SeriesId;
  readonly key: SeriesKey;
  readonly dated: readonly DatedDefinition[];
  /** `,device=...,group=...` of a line. */
  readonly tags: string;
  /** The condition of a query that holds for its points, and for those of others too where a tag of it is empty. */
  readonly condition: string;
  /** True when no tag is empty: then the condition holds for no other. */
  readonly exact: boolean;
};

/** The series of the store, in memory. Numbers are stored with them, so that they stay the same over restarts. */
export type SeriesBook = {
  readonly all: () => Series[];
  /** Another number after each change of what `all` gives. */
  readonly mark: () => number;
  /** Greatest number given out; numbers start at 1. */
  readonly last: () => SeriesId;
  readonly has: (id: SeriesId) => boolean;
  /** Whether it has a number. */
  readonly knows: (key: SeriesKey) => boolean;
  /** @throws JilianError SERIES_UNKNOWN */
  readonly get: (id: SeriesId) => KnownSeries;
  /** Number of the series that a group of an answer belongs to; undefined for one that a foreign writer made. */
  readonly idOf: (tags: Block["tags"]) => SeriesId | undefined;
  /** For people: `group/node/device/metric`. */
  readonly nameOf: (id: SeriesId) => string;
  /** One call at a time. */
  readonly ensure: (wanted: readonly WantedSeries[]) => Promise<SeriesId[]>;
};

/** The key as the store gives it back: a lone surrogate becomes U+FFFD. */
const storable = ({ group, node, device, metric }: SeriesKey): SeriesKey => ({
  group: group.toWellFormed(),
  node: node.toWellFormed(),
  device: device.toWellFormed(),
  metric: metric.toWellFormed(),
});

function keyOfTags(tags: Block["tags"]): SeriesKey {
  const [group, node, device, metric] = tagNames.map((name) => fromTagValue(tags[name] ?? ""));
  return { group, node, device, metric } as SeriesKey;
}

function known(id: SeriesId, key: SeriesKey, dated: readonly DatedDefinition[]): KnownSeries {
  // Sorted by name, as InfluxDB keeps them: it then has nothing to sort.
  const tags = (["device", "group", "metric", "node"] as const).map((name) => lineTag(name, key[name])).join("");
  // An absent tag is asked for differently in 1.x and 3.x, so it is not asked for: what else matches is left out of the answer.
  const present = tagNames.filter((name) => key[name] !== "");
  const condition = present.map((name) => tagIs(name, key[name])).join(" AND ");
  return { id, key, dated, tags, condition, exact: present.length === tagNames.length };
}

/** Numbers are reserved before a series is written with one: what arrives late, after a kill, cannot take a number given out anew. */
const reservation = (last: SeriesId) => `store_numbers reserved=true ${last}`;

/** A series whose names are longer than InfluxDB takes: then all others go on all the same. */
const isBeyondLimit = ({ message }: JilianError) => /\bmax[ -]/i.test(message);

/** Series remembered with the number that a write which failed gave them; their numbers are lost when there are more. */
const maxGiven = 100_000;

/**
 * @param fence called after each write of definitions and before they count
 * @throws what the client throws
 */
export async function openSeriesBook(client: InfluxClient, fence: () => Promise<void>): Promise<SeriesBook> {
  const write = ownWrite(client.write, "measurement series", isBeyondLimit);
  const byKey = new Map<string, KnownSeries>();
  const byId = new Map<SeriesId, KnownSeries>();
  const ids = new Map<string, SeriesId | undefined>();
  /** Some of them may be stored with it. Tried again, each keeps its number: else every attempt would use up as many numbers anew. */
  const given = new Map<string, SeriesId>();

  function note(series: KnownSeries): void {
    byKey.set(keyText(series.key), series);
    byId.set(series.id, series);
    ids.clear();
  }

  for (const { tags, values } of await client.query(`SELECT "id", "definition" FROM "series" ${bySeries}`)) {
    const [, id, definition] = values.at(-1) ?? [];
    if (typeof id === "number" && typeof definition === "string")
      note(known(id, keyOfTags(tags), readDated(definition)));
  }
  const [numbers] = await client.query(`SELECT "reserved" FROM "store_numbers" ORDER BY time DESC LIMIT 1`);
  let last = Number(numbers?.values[0]?.[0] ?? 0);
  let mark = nextMark();

  /** Writes new and changed series. */
  async function store(fresh: ReadonlyMap<string, KnownSeries>, reserved: SeriesId): Promise<void> {
    if (reserved > last) {
      await write([reservation(reserved)]);
      await fence();
      last = reserved;
    }
    if (given.size + fresh.size > maxGiven) given.clear();
    for (const [text, { id }] of fresh) given.set(text, id);
    await write(
      fresh
        .values()
        .map(
          ({ id, tags, dated }) => `series${tags} id=${id}i,definition=${lineText(datedText(dated))} ${fixedTimeMs}`,
        ),
    );
    await fence();
    for (const text of fresh.keys()) given.delete(text);
  }

  async function ensure(wanted: readonly WantedSeries[]): Promise<SeriesId[]> {
    const fresh = new Map<string, KnownSeries>();
    let next = last;
    const keys = wanted.map(storable);
    const texts = keys.map(keyText);
    for (const [i, { definition, ...since }] of wanted.entries()) {
      const text = texts[i] as string;
      const before = fresh.get(text) ?? byKey.get(text);
      const dated = withDefinition(before?.dated, definition, since);
      if (dated === before?.dated) continue;
      let id = before?.id ?? given.get(text);
      if (id === undefined) {
        next += 1;
        id = next;
      }
      fresh.set(text, known(id, keys[i] as SeriesKey, dated));
    }
    if (fresh.size > 0) {
      await store(fresh, next);
      for (const series of fresh.values()) note(series);
      mark = nextMark();
    }
    return texts.map((text) => (byKey.get(text) as KnownSeries).id);
  }

  const sorted = () => [...byId.values()].sort((a, b) => a.id - b.id);
  return {
    all: () => sorted().map(({ id, key, dated }) => ({ ...key, id, ...shownDefinitions(dated) })),
    mark: () => mark,
    last: () => last,
    has: (id) => byId.has(id),
    knows: (key) => byKey.has(keyText(storable(key))),
    get: (id) => {
      const series = byId.get(id);
      if (!series) throw unknownSeries(id);
      return series;
    },
    // Answers come grouped by the stored form of the tags: their key is made once for each group of tags.
    idOf: (tags) => {
      const text = tagNames.map((name) => tags[name] ?? "").join("\n");
      return getOrMake(ids, text, () => byKey.get(keyText(keyOfTags(tags)))?.id);
    },
    nameOf: (id) => {
      const key = byId.get(id)?.key;
      return key ? `${key.group}/${key.node}/${key.device}/${key.metric}` : `number ${id}`;
    },
    ensure,
  };
}
