import { BIGINT, type DuckDBConnection } from "@duckdb/node-api";
import { isUsable, type SampleColumns } from "../columns/columns.ts";
import { createNewest } from "../columns/newest.ts";
import { append, transaction } from "./database.ts";
import { appendedSamples, readSamples, sampleList, usable } from "./rows.ts";

/** Samples written since the newest ones were last saved, above which they are saved again: bounds the scan at the next start. */
const saveAboveSamples = 2_000_000;
/**
 * The newest sample of each series, and the newest usable one, in memory. They answer `latest`, tell the writer which samples are certainly
 * new, and give a sensor that has been dead for days its last value without a scan of those days. The table `latest` is a copy as of a
 * transaction; what is later is read from the samples, so a kill at any moment loses nothing.
 */
export type LatestBook = {
  /** Source time of the newest sample by series number, -1 for none; has room for numbers to `last`. */
  readonly newestMs: (last: number) => Float64Array;
  /** The newest usable sample by series number, its time -1 for none; has room for numbers to `last`. */
  readonly usable: (last: number) => SampleColumns;
  /** Notes stored rows, after their transaction. */
  readonly note: (batch: SampleColumns, rows: ArrayLike<number>, tx: number) => void;
  readonly all: () => SampleColumns;
  /** Greatest transaction number among the samples stored. */
  readonly lastTx: () => number;
  /** Saves the newest samples, if many were written since or always. In a transaction of its own. */
  readonly save: (always: boolean) => Promise<void>;
};

/** The newest sample and the newest usable one of each series after a transaction, and how many there were. */
async function newestAfter(connection: DuckDBConnection, tx: number) {
  const sums = `SELECT count(*)::DOUBLE, max(tx)::DOUBLE FROM sample WHERE tx > ${tx}`;
  const [[count, lastTx] = []] = await (await connection.run(sums)).getRows();
  const newest = await readSamples(
    await connection.run(`WITH newest AS (
        SELECT arg_max(rowid, source_ms) AS any_row, arg_max(rowid, source_ms) FILTER (${usable}) AS usable_row
        FROM sample WHERE tx > ${tx} GROUP BY series)
      SELECT ${sampleList("sample")} FROM sample
      SEMI JOIN (SELECT any_row AS n FROM newest UNION SELECT usable_row FROM newest) ON sample.rowid = n`),
  );
  return { newest, count: Number(count), lastTx: Number(lastTx ?? 0) };
}

export async function openLatestBook(connection: DuckDBConnection): Promise<LatestBook> {
  const newest = createNewest();
  const newestUsable = createNewest();
  let unsaved = 0;
  let lastTx = 0;

  function noteRow(from: SampleColumns, i: number): void {
    newest.note(from, i);
    if (isUsable(from, i)) newestUsable.note(from, i);
  }

  async function save(always: boolean): Promise<void> {
    if (unsaved === 0 || (!always && unsaved < saveAboveSamples)) return;
    await transaction(connection, async () => {
      await connection.run("DELETE FROM latest; DELETE FROM latest_tx");
      // A sample that is both is there twice, which does no harm.
      for (const rows of [newest.rows(), newestUsable.rows()]) {
        await append(connection, "latest", rows.length, appendedSamples(rows, Array.from(rows.series.keys())));
      }
      await append(connection, "latest_tx", 1, [[BIGINT, () => BigInt(lastTx)]]);
    });
    unsaved = 0;
  }

  const [[savedTx] = []] = await (await connection.run("SELECT max(tx)::DOUBLE FROM latest_tx")).getRows();
  const saved = await readSamples(await connection.run(`SELECT ${sampleList("latest")} FROM latest`));
  const since = await newestAfter(connection, Number(savedTx ?? 0));
  for (const rows of [saved, since.newest]) for (let i = 0; i < rows.length; i += 1) noteRow(rows, i);
  unsaved = since.count;
  lastTx = Math.max(Number(savedTx ?? 0), since.lastTx);
  await save(false);

  return {
    newestMs: (last) => newest.columns(last).sourceMs,
    usable: (last) => newestUsable.columns(last),
    note: (batch, rows, tx) => {
      for (let j = 0; j < rows.length; j += 1) {
        batch.tx[rows[j] as number] = tx;
        noteRow(batch, rows[j] as number);
      }
      unsaved += rows.length;
      lastTx = tx;
    },
    all: newest.rows,
    lastTx: () => lastTx,
    save,
  };
}
