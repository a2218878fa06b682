import type { RecordId, RefusedSample } from "@jilian/domain/commit.ts";
import type { AsideRecord, OutboxRecord, StoredSample } from "./model.ts";
import { type Box, samplesOf, stamp, trimAsides } from "./outbox-box.ts";
import { encodeSamples } from "./outbox-record.ts";
import type { AsideRow, FreedRow, OutboxTables, RecordRow } from "./outbox-tables.ts";
import { recordOverheadBytes } from "./outbox-tally.ts";
import { append } from "./outbox-write.ts";

/** Records moved back in one transaction. */
const replayRows = 64;

/**
 * Sets a pending record aside: it is sent no more, and kept for a person to look at.
 * @param kept what of it is set aside; the rest is freed
 * @returns false when the file could not be written
 */
export function setAsideRow(box: Box, row: RecordRow, reason: string, kept: RecordRow = row): boolean {
  const { state, store, options } = box;
  const of = state.epochAt(row.position);
  const device = state.deviceName(row.device) ?? "";
  const id = { epoch: of?.epoch ?? "", offset: row.position - (of?.base ?? 0) };
  const done = store.change("set a record aside", (tables) => {
    tables.setAside({ ...kept, ...id, device, reason });
    tables.remove(row.position, row.position);
    state.count("setAsideRecords", 1);
    state.aside(1, kept.bytes.length);
    state.freed([{ ...row, size: row.bytes.length }], tables.oldest(state.tally.goneTo));
    return true;
  });
  if (!done) return false;
  const { path, log } = options;
  box.tellAside((heldBack) =>
    log.error(
      { code: "OUTBOX_SET_ASIDE", path, ...id, device, samples: kept.samples, reason, heldBack },
      "record set aside",
    ),
  );
  if (trimAsides(box)) store.change("drop old records set aside", () => undefined);
  return true;
}

/**
 * Sets samples of a pending record aside and frees the others.
 * @returns false, and nothing is done, unless the record holds each of them; or when the file could not be written
 */
export function setAsideSamples(box: Box, row: RecordRow, reason: string, wanted: readonly RefusedSample[]): boolean {
  const keyOf = (metric: string | undefined, sourceTimeMs: number) => `${sourceTimeMs} ${metric}`;
  const keys = new Set(wanted.map(([metric, sourceTimeMs]) => keyOf(metric, sourceTimeMs)));
  const held = new Set<string>();
  const found = samplesOf(row).filter(({ metricId, sourceTimeMs }) => {
    const key = keyOf(box.state.metricName(metricId), sourceTimeMs);
    held.add(key);
    return keys.has(key);
  });
  if (found.length === 0 || !keys.isSubsetOf(held)) return false;
  return setAsideRow(box, row, reason, { ...row, samples: found.length, bytes: encodeSamples(found) });
}

/** A record that another outbox had set aside. */
export type NewAside = { device: string; reason: string; samples: readonly StoredSample[] };

/** Writes a record as set aside under an id of its own, inside a transaction which counts what is returned as freed. */
export function insertAside(
  box: Box,
  tables: OutboxTables,
  { device, reason, samples, writtenAtMs }: NewAside & { writtenAtMs: number },
  bytes: Uint8Array = encodeSamples(samples),
): FreedRow {
  const { state } = box;
  const { epoch, offset } = append(box, tables, { device, samples, writtenAtMs }, bytes);
  const row = { position: state.current().base + offset, device: state.deviceOf(device).id, size: bytes.length };
  tables.setAside({ position: row.position, epoch, offset, device, writtenAtMs, reason, bytes });
  tables.remove(row.position, row.position);
  state.aside(1, bytes.length);
  return row;
}

/**
 * Writes records as set aside, in one transaction, under ids of their own; what is beyond the room for them is dropped, oldest first.
 * @returns whether they are in the file now: all of them or none
 */
export function addAsides(box: Box, records: readonly NewAside[]): boolean {
  const { state, store } = box;
  const writtenAtMs = stamp(box);
  const done = store.change("take records set aside", (tables) => {
    const rows = records.map((record) => insertAside(box, tables, { ...record, writtenAtMs }));
    state.count("setAsideRecords", rows.length);
    state.freed(rows, tables.oldest(state.tally.goneTo));
    return true;
  });
  if (done && trimAsides(box)) store.change("drop old records set aside", () => undefined);
  return done === true;
}

/** Frees the oldest records set aside, which another outbox has taken and counts from now on. */
export function freeAsides(box: Box, count: number): void {
  const { state, store } = box;
  const rows = store.read((tables) => tables.asidesAfter(state.tally.asidesGoneTo, count)) ?? [];
  const [first, last] = [rows.at(0), rows.at(-1)];
  if (!first || !last) return;
  store.change("free records set aside", (tables) => {
    tables.removeAsides(first.position, last.position);
    for (const { bytes } of rows) state.aside(-1, -bytes.length);
    state.count("setAsideRecords", -rows.length);
  });
  state.counts.show("setAsideRecords", rows.length);
}

/** Records set aside, oldest first, with the names of their metrics. */
export function asides({ state, store }: Box, limit: number): AsideRecord[] {
  const rows = store.read((tables) => tables.asidesAfter(state.tally.asidesGoneTo, limit)) ?? [];
  return rows.map((row) => asideOf(row, state.metricName));
}

/** A record set aside as it is shown, with the names of its metrics; without samples when its bytes are damaged. */
export function asideOf(row: AsideRow, nameOf: (metricId: number) => string | undefined): AsideRecord {
  const { epoch, offset, device, writtenAtMs, reason } = row;
  const samples = samplesOf(row).map((sample) => ({
    ...sample,
    metric: nameOf(sample.metricId) ?? `metric ${sample.metricId}`,
  }));
  return { epoch, offset, device, writtenAtMs, reason, samples };
}

/** Goes through wanted records set aside, oldest first or as named, in batches that hold little in memory. */
function* batchesOf({ state, store }: Box, ids: readonly RecordId[] | "all"): Generator<AsideRow[]> {
  const { asidesGoneTo } = state.tally;
  if (ids !== "all") {
    for (let i = 0; i < ids.length; i += replayRows) {
      const wanted = ids.slice(i, i + replayRows);
      const rows = store.read((tables) => wanted.flatMap((id) => tables.asideOf(id) ?? [])) ?? [];
      const unique = new Map(rows.map((row) => [row.position, row]));
      yield [...unique.values()].filter(({ position }) => position > asidesGoneTo);
    }
    return;
  }
  for (let from = asidesGoneTo; ; ) {
    const rows = store.read((tables) => tables.asidesAfter(from, replayRows)) ?? [];
    const last = rows.at(-1);
    if (!last) return;
    yield rows;
    from = last.position;
  }
}

/** Moves records set aside back into the queue while it has room; those that cannot be read stay. Returns how many. */
export function replayAsides(box: Box, ids: readonly RecordId[] | "all", atMost: number): number {
  const { state, store, options } = box;
  const writtenAtMs = stamp(box);
  let count = 0;
  for (const rows of batchesOf(box, ids)) {
    if (count >= atMost) break;
    let room = options.maxBytes - state.tally.bytes;
    const fitting = rows.filter((row) => {
      const samples = samplesOf(row);
      if (samples.length === 0 || row.device === "") return false;
      room -= row.bytes.length + recordOverheadBytes;
      return room >= 0;
    });
    const moved = store.change("replay records set aside", (tables) => {
      for (const row of fitting) {
        append(box, tables, { device: row.device, samples: samplesOf(row), writtenAtMs });
        tables.removeAsides(row.position, row.position);
        state.aside(-1, -row.bytes.length);
      }
      return fitting.length;
    });
    if (moved === undefined || room < 0) return count + (moved ?? 0);
    count += moved;
  }
  return count;
}

/** Deletes records set aside. Returns how many. */
export function dropAsides(box: Box, ids: readonly RecordId[] | "all", atMost: number): number {
  const { state, store } = box;
  let count = 0;
  for (const rows of batchesOf(box, ids)) {
    if (count >= atMost) break;
    const gone = store.change("drop records set aside", (tables) => {
      for (const { position, bytes } of rows) {
        tables.removeAsides(position, position);
        state.aside(-1, -bytes.length);
      }
      state.count("droppedAsideRecords", rows.length);
      return rows.length;
    });
    if (gone === undefined) break;
    count += gone;
  }
  return count;
}

/** Replaces a pending record by two, halves in time order. */
export function split(box: Box, row: RecordRow): OutboxRecord[] {
  const { state, store } = box;
  const device = state.deviceName(row.device);
  const samples = samplesOf(row).toSorted((a, b) => a.sourceTimeMs - b.sourceTimeMs);
  if (device === undefined || samples.length < 2) return [];
  const writtenAtMs = stamp(box);
  const middle = samples.length >> 1;
  return (
    store.change("split a record", (tables) => {
      const halves = [samples.slice(0, middle), samples.slice(middle)].map((half) =>
        append(box, tables, { device, samples: half, writtenAtMs }),
      );
      tables.remove(row.position, row.position);
      state.freed([{ ...row, size: row.bytes.length }], tables.oldest(state.tally.goneTo));
      return halves;
    }) ?? []
  );
}
