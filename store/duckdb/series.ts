import { type DuckDBConnection, INTEGER, VARCHAR } from "@duckdb/node-api";
import type { SeriesKey } from "@jilian/domain/sample.ts";
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
import { append, transaction } from "./database.ts";

/** The series of the store, in memory: some ten thousand at most, needed with every batch. */
export type SeriesBook = {
  readonly all: () => Series[];
  /** Another number after each change of what `all` gives. */
  readonly mark: () => number;
  /** Greatest number given out; numbers start at 1. */
  readonly last: () => SeriesId;
  readonly has: (id: SeriesId) => boolean;
  /** Whether it has a number. */
  readonly knows: (key: SeriesKey) => boolean;
  /** For people: `group/node/device/metric`. */
  readonly nameOf: (id: SeriesId) => string;
  /** One call at a time: it writes on the connection that the book was opened with. */
  readonly ensure: (wanted: readonly WantedSeries[]) => Promise<SeriesId[]>;
};

type Entry = SeriesKey & { readonly id: SeriesId; readonly dated: readonly DatedDefinition[] };

async function store(
  connection: DuckDBConnection,
  entries: readonly Entry[],
  changed: readonly number[],
): Promise<void> {
  await transaction(connection, async () => {
    if (changed.length > 0) await connection.run(`DELETE FROM series WHERE id IN (${changed.join(", ")})`);
    const text = (field: keyof SeriesKey) => [VARCHAR, (i: number) => (entries[i] as Entry)[field]] as const;
    await append(connection, "series", entries.length, [
      [INTEGER, (i) => (entries[i] as Entry).id],
      text("group"),
      text("node"),
      text("device"),
      text("metric"),
      [VARCHAR, (i) => datedText((entries[i] as Entry).dated)],
    ]);
  });
}

export async function openSeriesBook(connection: DuckDBConnection): Promise<SeriesBook> {
  const rows = await (await connection.run("FROM series ORDER BY id")).getRows();
  const byKey = new Map<string, Entry>();
  const byId = new Map<SeriesId, Entry>();
  for (const row of rows) {
    const [id, group, node, device, metric, definition] = row as [number, string, string, string, string, string];
    const entry = { id, group, node, device, metric, dated: readDated(definition) };
    byKey.set(keyText(entry), entry);
    byId.set(id, entry);
  }
  let last = Math.max(0, ...byId.keys());
  let mark = nextMark();

  async function ensure(wanted: readonly WantedSeries[]): Promise<SeriesId[]> {
    const fresh = new Map<string, Entry>();
    let next = last;
    for (const { group, node, device, metric, definition, ...since } of wanted) {
      const key = keyText({ group, node, device, metric });
      const known = fresh.get(key) ?? byKey.get(key);
      const dated = withDefinition(known?.dated, definition, since);
      if (dated === known?.dated) continue;
      if (!known) next += 1;
      fresh.set(key, { id: known?.id ?? next, group, node, device, metric, dated });
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
      mark = nextMark();
    }
    return wanted.map((series) => (byKey.get(keyText(series)) as Entry).id);
  }

  return {
    all: () => [...byId.values()].map(({ dated, ...entry }) => ({ ...entry, ...shownDefinitions(dated) })),
    mark: () => mark,
    last: () => last,
    has: (id) => byId.has(id),
    knows: (key) => byKey.has(keyText(key)),
    nameOf: (id) => {
      const entry = byId.get(id);
      return entry ? `${entry.group}/${entry.node}/${entry.device}/${entry.metric}` : `number ${id}`;
    },
    ensure,
  };
}
