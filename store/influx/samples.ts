import { Status } from "@jilian/domain/quality.ts";
import { emptyColumns, Kind, type SampleColumns } from "../columns/columns.ts";
import type { SeriesId } from "../telemetry.ts";
import type { Block, Cell } from "./answer.ts";
import { lineFloat, lineText } from "./text.ts";

/**
 * Samples as points of the measurement `sample`: one field for each type of value, since a field must never change its type, and none for
 * null. Status, times and transaction are always written.
 */
export const valueFields = `"vb", "vi", "vd", "vt"`;
export const sampleFields = `${valueFields}, "status", "gateway_ms", "ingest_ms", "tx"`;
/** The condition that a status is good or uncertain. Whether there is a value, the row tells. */
export const notBad = `"status" < ${Status.Bad}`;
/** The condition that a status is good. */
export const isGood = `"status" < ${Status.Uncertain}`;

function valueField(batch: SampleColumns, i: number): string {
  switch (batch.kind[i]) {
    case Kind.number:
      return `vd=${lineFloat(batch.number[i] as number)},`;
    case Kind.integer:
      return `vi=${batch.integer[i]}i,`;
    case Kind.boolean:
      return batch.number[i] === 1 ? "vb=true," : "vb=false,";
    case Kind.text:
      return `vt=${lineText(batch.text.get(i) as string)},`;
    default:
      return "";
  }
}

/** The line of a row, written by a transaction. */
export function sampleLine(batch: SampleColumns, i: number, tags: string, tx: number): string {
  return `sample${tags} ${valueField(batch, i)}status=${batch.status[i]}i,gateway_ms=${batch.gatewayMs[i]}i,ingest_ms=${batch.ingestMs[i]}i,tx=${tx}i ${batch.sourceMs[i]}`;
}

function setCell(to: SampleColumns, i: number, [vb, vi, vd, vt]: readonly (Cell | undefined)[]): void {
  if (typeof vb === "boolean") {
    to.kind[i] = Kind.boolean;
    to.number[i] = vb ? 1 : 0;
  } else if (typeof vi === "number" || typeof vi === "bigint") {
    to.kind[i] = Kind.integer;
    to.integer[i] = BigInt(vi);
  } else if (typeof vd === "number" || typeof vd === "bigint") {
    to.kind[i] = Kind.number;
    to.number[i] = Number(vd);
  } else if (typeof vt === "string") {
    to.kind[i] = Kind.text;
    to.text.set(i, vt);
  } else to.kind[i] = Kind.none;
}

/** The rows of a query for `sampleFields` of one series, as columns. */
export function samplesOf(series: SeriesId, blocks: readonly Block[]): SampleColumns {
  const to = emptyColumns(blocks.reduce((sum, { values }) => sum + values.length, 0));
  let i = 0;
  for (const { values } of blocks) {
    for (const row of values) {
      to.series[i] = series;
      to.sourceMs[i] = Number(row[0]);
      setCell(to, i, row.slice(1, 5));
      to.status[i] = Number(row[5]);
      to.gatewayMs[i] = Number(row[6]);
      to.ingestMs[i] = Number(row[7]);
      to.tx[i] = Number(row[8]);
      i += 1;
    }
  }
  return to;
}
