/**
 * What an OPC UA server's variables hold. A scan takes the plant's values as a PLC's cycle does; a value that changed bears, as its source
 * timestamp, the plant time (a whole tick of 100 ms) of the scan that saw it, and one that did not keeps the time of its last change
 * (OPC 10000-4, 7.11.3: the time of the last change of the value or its StatusCode). So what has a source timestamp is the truth at that
 * time, and a value without a fault has one time only.
 */
import type { OpcuaFaultSet } from "./opcua-faults.ts";
import { type OpcuaMap, type OpcuaPoint, type VariableValue, variableValue } from "./opcua-map.ts";
import type { Plant } from "./plant.ts";
import { createRing, type Ring } from "./ring.ts";

/** One value that a variable took. */
export type HeldValue = {
  readonly sequence: number;
  readonly point: string;
  /** Null under a bad status. */
  readonly raw: VariableValue | null;
  /** Name of the StatusCode. */
  readonly status: string;
  /** Source timestamp. It differs from `timeMs` only while the clock is wrong. */
  readonly valuesTimeMs: number;
  /** Plant time of the scan. */
  readonly timeMs: number;
  /** Real clock of the scan. */
  readonly realTimeMs: number;
};

export type Cell = Omit<HeldValue, "sequence">;
export type CellListener = (point: OpcuaPoint, cell: Cell) => void;

export type OpcuaMemory = {
  /** Takes the plant's values now. */
  scan(): void;
  /** Tells the listener of all cells, then of each that changes, until the next one listens. */
  listen(listener: CellListener): void;
  readonly held: Ring<HeldValue>;
};

export type MemoryOptions = {
  readonly plant: Plant;
  readonly map: OpcuaMap;
  readonly faults: OpcuaFaultSet;
  readonly now: () => number;
  readonly realNow: () => number;
  readonly maxValues: number;
};

/** Under this status a value is, by its definition, the last one that there was (OPC 10000-8, 6.3). */
const LAST_USABLE = "UncertainLastUsableValue";

/** Creates the memory and scans once. */
export function createOpcuaMemory({ plant, map, faults, now, realNow, maxValues }: MemoryOptions): OpcuaMemory {
  const held = createRing<HeldValue>(maxValues);
  const cells = new Map<string, Cell>();
  let listener: CellListener = () => undefined;

  function wanted(point: OpcuaPoint, before: Cell | undefined): Pick<Cell, "raw" | "status"> {
    const status = faults.find("badStatus", point.device, point.name)?.code ?? "Good";
    if (status.startsWith("Bad")) return { raw: null, status };
    if (status === LAST_USABLE && before !== undefined && before.raw !== null) return { raw: before.raw, status };
    return { raw: variableValue(plant, point), status };
  }

  function scanPoint(point: OpcuaPoint, realTimeMs: number): void {
    const before = cells.get(point.name);
    if (before !== undefined && faults.find("freeze", point.device) !== undefined) return;
    const { raw, status } = wanted(point, before);
    if (before !== undefined && before.raw === raw && before.status === status) return;
    const { timeMs } = plant;
    const valuesTimeMs = timeMs + (faults.find("wrongClock", point.device)?.offsetMs ?? 0);
    const cell = { point: point.name, raw, status, valuesTimeMs, timeMs, realTimeMs };
    cells.set(point.name, cell);
    held.add(cell);
    listener(point, cell);
  }

  function scan(): void {
    plant.advanceTo(now());
    const realTimeMs = realNow();
    for (const point of map.points) scanPoint(point, realTimeMs);
  }

  scan();
  return {
    held,
    scan,
    listen(next) {
      listener = next;
      for (const point of map.points) {
        const cell = cells.get(point.name);
        if (cell !== undefined) next(point, cell);
      }
    },
  };
}
