import { encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType, type DataTypeNumber, type Value } from "@jilian/domain/datatypes.ts";
import { inOrderOf } from "@jilian/domain/lists.ts";
import type { OutMetric, OutPayload } from "@jilian/domain/sparkplug/payload.ts";
import { fits, statusProperties } from "./births.ts";
import type { OutboxRecord, StoredSample } from "./model.ts";

/** The widest datatype of a value's own kind, which holds it exactly. */
function ownDatatype(value: Exclude<Value, null>): DataTypeNumber {
  if (typeof value === "bigint") return value > 0x7fffffffffffffffn ? DataType.UInt64 : DataType.Int64;
  if (typeof value === "boolean") return DataType.Boolean;
  return typeof value === "string" ? DataType.String : DataType.Double;
}

const sourceTimeOf = ({ sourceTimeMs }: StoredSample): number => sourceTimeMs;

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
  const samples = inOrderOf(record.samples, sourceTimeOf);
  for (let i = 0; i < samples.length; i += 1) {
    const sample = samples[i] as StoredSample;
    const { metricId, value, status, sourceTimeMs } = sample;
    const datatype = bornAs(metricId);
    if (datatype === undefined) return undefined;
    const metric: OutMetric = { alias: metricId, timestampMs: sourceTimeMs, datatype, value };
    // A value that waited while its metric's datatype was changed carries the datatype of its own; every other leaves it to the birth.
    if (value !== null && !fits(datatype, value)) {
      metric.datatype = ownDatatype(value);
      metric.declare = true;
    }
    if (!isNewest(sample)) metric.historical = true;
    if (status !== 0) metric.properties = statusProperties(status);
    metrics.push(metric);
  }
  return { timestampMs: nowMs, uuid: outboxUuid, body: encodeHeader(record), metrics };
}
