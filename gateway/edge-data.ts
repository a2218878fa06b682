import { encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType, type DataTypeNumber, type Value } from "@jilian/domain/datatypes.ts";
import type { OutMetric, OutPayload } from "@jilian/domain/sparkplug/payload.ts";
import { fits, statusProperties } from "./births.ts";
import type { OutboxRecord, StoredSample } from "./model.ts";

/** The widest datatype of a value's own kind, which holds it exactly. */
function ownDatatype(value: Exclude<Value, null>): DataTypeNumber {
  if (typeof value === "bigint") return value > 0x7fffffffffffffffn ? DataType.UInt64 : DataType.Int64;
  if (typeof value === "boolean") return DataType.Boolean;
  return typeof value === "string" ? DataType.String : DataType.Double;
}

/** A value that waited while its metric's datatype was changed carries the datatype of its own; every other leaves it to the birth. */
function typeOf(value: Value, born: DataTypeNumber): { datatype: DataTypeNumber; declare?: true } {
  return value === null || fits(born, value) ? { datatype: born } : { datatype: ownDatatype(value), declare: true };
}

/**
 * The DDATA payload of one outbox record (CONTRACTS 1): the record's id in the body, metrics by alias in time order, and flagged
 * historical unless the value is the newest that the gateway has of its series.
 * @param bornAs datatype under which the current birth lists a metric; undefined when it does not
 * @returns the payload without seq, which belongs to the moment of sending; undefined when a metric is not in the birth
 */
export function dataPayload(
  record: OutboxRecord,
  bornAs: (metricId: number) => DataTypeNumber | undefined,
  isNewest: (sample: StoredSample) => boolean,
  nowMs: number,
): Omit<OutPayload, "seq"> | undefined {
  const metrics: OutMetric[] = [];
  for (const sample of record.samples.toSorted((a, b) => a.sourceTimeMs - b.sourceTimeMs)) {
    const { metricId, value, status, sourceTimeMs } = sample;
    const datatype = bornAs(metricId);
    if (datatype === undefined) return undefined;
    metrics.push({
      alias: metricId,
      timestampMs: sourceTimeMs,
      value,
      ...typeOf(value, datatype),
      ...(isNewest(sample) ? {} : { historical: true }),
      ...(status === 0 ? {} : { properties: statusProperties(status) }),
    });
  }
  return { timestampMs: nowMs, uuid: outboxUuid, body: encodeHeader(record), metrics };
}
