import { type DuckDBConnection, INTEGER, VARCHAR } from "@duckdb/node-api";
import { JilianError } from "@jilian/domain/errors.ts";
import type { MetricDefinition, SeriesKey } from "@jilian/domain/sample.ts";
import type { Series, SeriesId } from "../telemetry.ts";
import { append, transaction } from "./database.ts";

export type WantedSeries = SeriesKey & { definition: MetricDefinition };

/** The series of the store, in memory: some ten thousand at most, needed with every batch. */
export type SeriesBook = {
  readonly all: () => Series[];
  /** Greatest number given out; numbers start at 1. */
  readonly last: () => SeriesId;
  /** For people: `group/node/device/metric`. */
  readonly nameOf: (id: SeriesId) => string;
  /** One call at a time: it writes on the connection that the book was opened with. */
  readonly ensure: (wanted: readonly WantedSeries[]) => Promise<SeriesId[]>;
};

type Entry = SeriesKey & { id: SeriesId; definition: string };

const keyOf = (key: SeriesKey) => JSON.stringify([key.group, key.node, key.device, key.metric]);

/** The same definition always gives the same text, whatever the order in which its fields were set. */
function definitionText(definition: MetricDefinition): string {
  return JSON.stringify(Object.fromEntries(Object.entries(definition).sort(([a], [b]) => (a < b ? -1 : 1))));
}

async function store(
  connection: DuckDBConnection,
  entries: readonly Entry[],
  changed: readonly number[],
): Promise<void> {
  await transaction(connection, async () => {
    if (changed.length > 0) await connection.run(`DELETE FROM series WHERE id IN (${changed.join(", ")})`);
    const text = (field: "group" | "node" | "device" | "metric" | "definition") =>
      [VARCHAR, (i: number) => (entries[i] as Entry)[field]] as const;
    await append(connection, "series", entries.length, [
      [INTEGER, (i) => (entries[i] as Entry).id],
      text("group"),
      text("node"),
      text("device"),
      text("metric"),
      text("definition"),
    ]);
  });
}

export async function openSeriesBook(connection: DuckDBConnection): Promise<SeriesBook> {
  const rows = await (await connection.run("FROM series ORDER BY id")).getRows();
  const byKey = new Map<string, Entry>();
  const byId = new Map<SeriesId, Entry>();
  for (const row of rows) {
    const [id, group, node, device, metric, definition] = row as [number, string, string, string, string, string];
    const entry = { id, group, node, device, metric, definition };
    byKey.set(keyOf(entry), entry);
    byId.set(id, entry);
  }
  let last = Math.max(0, ...byId.keys());

  async function ensure(wanted: readonly WantedSeries[]): Promise<SeriesId[]> {
    const fresh = new Map<string, Entry>();
    let next = last;
    for (const { group, node, device, metric, definition } of wanted) {
      const key = keyOf({ group, node, device, metric });
      const text = definitionText(definition);
      const known = fresh.get(key) ?? byKey.get(key);
      if (known?.definition === text) continue;
      if (!known) next += 1;
      const id = known?.id ?? next;
      fresh.set(key, { id, group, node, device, metric, definition: text });
    }
    if (fresh.size > 0) {
      const entries = [...fresh.values()];
      await store(
        connection,
        entries,
        entries.map((e) => e.id).filter((id) => byId.has(id)),
      );
      for (const [key, entry] of fresh) {
        byKey.set(key, entry);
        byId.set(entry.id, entry);
      }
      last = next;
    }
    return wanted.map((series) => (byKey.get(keyOf(series)) as Entry).id);
  }

  return {
    all: () => [...byId.values()].map((entry) => ({ ...entry, definition: JSON.parse(entry.definition) })),
    last: () => last,
    nameOf: (id) => {
      const entry = byId.get(id);
      return entry ? `${entry.group}/${entry.node}/${entry.device}/${entry.metric}` : `number ${id}`;
    },
    ensure,
  };
}

export function unknownSeries(id: SeriesId): JilianError {
  return new JilianError(`no series has the number ${id}`, {
    code: "SERIES_UNKNOWN",
    action: "write samples",
    remedy: "get the number from ensureSeries of this store",
  });
}
