import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import type { IndicatorDefinition } from "@jilian/domain/indicators/definition.ts";

/** @throws Error for an id that the catalogue does not have: a panel of it would be empty for ever */
export function indicator(id: string): IndicatorDefinition {
  const found = indicators.find((definition) => definition.id === id);
  if (!found) throw new Error(`no indicator ${id} in the catalogue`);
  return found;
}

/** How a value is printed: Grafana's unit and decimals. */
export type Format = { unit: string; decimals: number };

/** Whole numbers of things; `short` would print "Mil". */
export const countFormat: Format = { unit: "locale", decimals: 0 };
/** A share of 0-1 as per cent. */
export const shareFormat: Format = { unit: "percentunit", decimals: 1 };
/** Scales itself: kW, MW. */
export const powerFormat: Format = { unit: "kwatt", decimals: 2 };

const isCount = (id: string) => /^(?:devices|factories|enterprises)\.(?!.*_rate$)/.test(id);

/**
 * The format of an indicator's values. Energy keeps its unit (`suffix:`), so that figures of several factories compare at a glance; an
 * unknown unit of Grafana silently becomes a suffix, which is why the test checks each against `@grafana/data`.
 */
export function formatOf(id: string): Format {
  if (isCount(id)) return countFormat;
  const { unit } = indicator(id);
  return unit === "1" ? shareFormat : { unit: `suffix:${unit}`, decimals: 2 };
}
