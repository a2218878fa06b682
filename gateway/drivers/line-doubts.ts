import { createUnanswered, type Unanswered } from "./rtu-unanswered.ts";

/** Whether an answer to an earlier question to a meter may still come. */
export type MeterDoubt = { isDoubtful: boolean };

/**
 * Requests on lines whose answers may still be on the way. It outlives drivers and lines: after a reload another driver may ask the same
 * unit for something else, over a line of another name, and a converter puts a late answer into whatever connection is there.
 */
export type LineDoubts = {
  /** @param place of the line (line-config.ts) */
  readonly ofUnit: (place: string, unitId: number) => Unanswered;
  readonly ofMeter: (place: string, meterAddress: string) => MeterDoubt;
};

/** One for the life of a gateway: it is as large as the lines and devices that its configurations have named. */
export function createLineDoubts(): LineDoubts {
  const units = new Map<string, Unanswered>();
  const meters = new Map<string, MeterDoubt>();
  function of<T>(known: Map<string, T>, key: string, make: () => T): T {
    const found = known.get(key) ?? make();
    known.set(key, found);
    return found;
  }
  return {
    ofUnit: (place, unitId) => of(units, `${unitId} ${place}`, () => createUnanswered()),
    ofMeter: (place, meterAddress) => of(meters, `${meterAddress} ${place}`, () => ({ isDoubtful: false })),
  };
}
