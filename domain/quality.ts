/**
 * Quality travels as an OPC UA StatusCode (OPC 10000-4, 7.39): the top two bits are the severity, the sub-code is the reason.
 * Sparkplug's own property `Quality` knows 0, 192 and 500 only, so uncertain and every reason go in a second property, `StatusCode`.
 */
export type Quality = "good" | "uncertain" | "bad" | "stale";

/** The StatusCodes that this product sets, by their OPC UA names. */
export const Status = {
  Good: 0x00000000,
  /** A usable value whose source time is not: the clock of its source ran back. */
  Uncertain: 0x40000000,
  UncertainLastUsableValue: 0x40900000,
  /** A raw value beyond the range that its sensor is good for. */
  UncertainEngineeringUnitsExceeded: 0x40940000,
  /** A number that the engineering value cannot hold exactly. */
  UncertainDataSubNormal: 0x40a40000,
  Bad: 0x80000000,
  BadCommunicationError: 0x80050000,
  BadDecodingError: 0x80070000,
  BadTimeout: 0x800a0000,
  BadNoCommunication: 0x80310000,
  /** No value yet: the tag has never been read in this session. */
  BadWaitingForInitialData: 0x80320000,
  BadNodeIdUnknown: 0x80340000,
  BadOutOfRange: 0x803c0000,
  /** The source sends another type than the tag is configured with. */
  BadTypeMismatch: 0x80740000,
  BadConfigurationError: 0x80890000,
  BadNotConnected: 0x808a0000,
  BadDeviceFailure: 0x808b0000,
  BadSensorFailure: 0x808c0000,
} as const;

const names = new Map<number, string>(Object.entries(Status).map(([name, code]) => [code, name]));

/** good, uncertain or bad, from the severity bits. `stale` is never stored: it is a property of the moment of reading. */
export function qualityOf(status: number): Exclude<Quality, "stale"> {
  const severity = status >>> 30;
  return severity === 0 ? "good" : severity === 1 ? "uncertain" : "bad";
}

/** The OPC UA name of a status (`BadTimeout`), or its number in hexadecimal where this product has no name for it. */
export function statusName(status: number): string {
  return names.get((status & 0xffff0000) >>> 0) ?? `0x${(status >>> 0).toString(16).padStart(8, "0")}`;
}

/** Sparkplug's `Quality` property (Sparkplug 3.0, 6.4.22): 192 GOOD, 0 BAD, 500 STALE. Uncertain values are usable, hence 192. */
export function sparkplugQuality(status: number): 0 | 192 {
  return qualityOf(status) === "bad" ? 0 : 192;
}

/** The status of a metric of a foreign node, which may carry only the `Quality` property. */
export function statusFromSparkplug(quality: number | undefined, statusCode: number | undefined): number {
  if (statusCode !== undefined) return statusCode >>> 0;
  if (quality === undefined || quality === 192) return Status.Good;
  return quality === 500 ? Status.UncertainLastUsableValue : Status.Bad;
}
