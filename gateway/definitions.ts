import { decimalOf, formatDecimal } from "@jilian/domain/decimal.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { converterOf } from "./convert.ts";
import { derivationOf } from "./derive.ts";
import { heartbeatOf } from "./drivers/rates.ts";
import type { CommonDevice, CommonTag, DerivedTag } from "./drivers/tag-config.ts";
import { inputModulus, isCounter, spanOf } from "./drivers/tag-facts.ts";
import { isIntegerType } from "./drivers/value-types.ts";
import { lineOfRanges, slopeOf } from "./linear.ts";
import { countsInUnit } from "./scale.ts";

/** The deadband in the unit: of a percentage that of the span (OPC 10000-8, 6.2: PercentDeadband is of the EURange). */
export function deadbandOf(tag: Pick<CommonTag, "deadband" | "deadbandPercent" | "euRange" | "range">): number {
  const { deadband, deadbandPercent } = tag;
  if (deadbandPercent === undefined) return deadband;
  const [percent, span] = [decimalOf(deadbandPercent), decimalOf(spanOf(tag) ?? 0)];
  return Number(formatDecimal({ digits: percent.digits * span.digits, scale: percent.scale + span.scale + 2 }));
}

/** Counts after which the register starts again from 0: as configured; an unsigned counter's own width where nothing is said. */
function modulusOf(tag: CommonTag): bigint | undefined {
  return isCounter(tag) || tag.modulusCounts !== undefined ? inputModulus(tag) : undefined;
}

/** What one count stands for, in the unit. */
function resolutionOf({ type, enumeration, scale, rawRange, euRange }: CommonTag): string | undefined {
  if (!isIntegerType(type) || enumeration !== undefined) return undefined;
  if (rawRange === undefined || euRange === undefined) return countsInUnit(1n, scale);
  const slope = slopeOf(lineOfRanges(rawRange, euRange));
  return slope && formatDecimal(slope);
}

function named(
  device: CommonDevice,
  tag: CommonTag | DerivedTag,
  { datatype, simulated }: Pick<MetricDefinition, "datatype" | "simulated">,
): MetricDefinition {
  const definition: MetricDefinition = { name: tag.name, datatype, simulated };
  for (const key of ["unit", "role", "carrier", "product"] as const) {
    const text = tag[key];
    if (text !== undefined) definition[key] = text;
  }
  definition.deadband = deadbandOf(tag);
  definition.heartbeatMs = heartbeatOf(tag, device);
  return definition;
}

function withCounts(definition: MetricDefinition, modulus: string | undefined, resolution: string | undefined) {
  if (modulus !== undefined) definition.modulus = modulus;
  if (resolution !== undefined) definition.resolution = resolution;
  return definition;
}

/** What the birth certificate says of a tag: everything in engineering units, after scaling. */
export function definitionOf(device: CommonDevice, tag: CommonTag, simulated: boolean): MetricDefinition {
  const definition = named(device, tag, { datatype: converterOf(tag).datatype, simulated });
  const modulus = modulusOf(tag);
  return withCounts(
    definition,
    modulus === undefined ? undefined : countsInUnit(modulus, tag.scale),
    resolutionOf(tag),
  );
}

/** A sum of counters starts again where each of them does: of one that does it falls by their common modulus. */
function derivedDefinition(device: CommonDevice, derived: DerivedTag, simulated: boolean): MetricDefinition {
  const definition = named(device, derived, { datatype: derivationOf(derived, device).datatype, simulated });
  const first = device.tags.find(({ name }) => name === derived.of[0]?.tag);
  if (!isCounter(derived) || first === undefined) return definition;
  const modulus = inputModulus(first);
  return withCounts(
    definition,
    modulus === undefined ? undefined : countsInUnit(modulus, first.scale),
    resolutionOf(first),
  );
}

/** The metrics of a device: its tags, then those that are derived from them. */
export function definitionsOf(device: CommonDevice, simulated: boolean): MetricDefinition[] {
  const { tags, derived = [] } = device;
  return [
    ...tags.map((tag) => definitionOf(device, tag, simulated)),
    ...derived.map((one) => derivedDefinition(device, one, simulated)),
  ];
}
