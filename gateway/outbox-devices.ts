import type { DeviceRow, OutboxTables } from "./outbox-tables.ts";

/** A device of which no record was written yet. */
export const newDevice = { pending: 0, bytes: 0, lastPosition: 0, lastWrittenMs: 0, note: "" };

/**
 * Devices by name and number, with their greatest source time and what is pending of them.
 * @param raiseMs by how much source times are raised, for what a power cut may have taken; 0 otherwise
 */
export function deviceTable(rows: readonly DeviceRow[], raiseMs: number) {
  const raised = rows.map((row) => ({
    ...row,
    lastSourceTimeMs: row.lastSourceTimeMs && row.lastSourceTimeMs + raiseMs,
  }));
  const byName = new Map<string, DeviceRow>(raised.map((row) => [row.name, row]));
  const byId = new Map(raised.map((row) => [row.id, row]));
  const dirty = new Set<DeviceRow>(raiseMs > 0 ? raised : []);
  let lastId = Math.max(0, ...byId.keys());
  /** A device that the power cut took from the file as a whole may have sent as well. */
  const floorMs = raiseMs > 0 ? Math.max(0, ...raised.map((row) => row.lastSourceTimeMs)) : 0;

  function of(name: string): DeviceRow {
    const known = byName.get(name);
    if (known) return known;
    lastId += 1;
    const device = { ...newDevice, id: lastId, name, lastSourceTimeMs: floorMs };
    byName.set(name, device);
    byId.set(device.id, device);
    dirty.add(device);
    return device;
  }

  return {
    byId: byId as ReadonlyMap<number, DeviceRow>,
    dirty,
    of,
    pendingOf: (name: string): number => byName.get(name)?.pending ?? 0,
    lastSourceTimeMs: (name: string): number => byName.get(name)?.lastSourceTimeMs ?? floorMs,
    lastSourceTimes: (): Map<string, number> =>
      new Map([...byName.values()].map((device) => [device.name, device.lastSourceTimeMs])),
    raiseSourceTime: (name: string, toMs: number): void => {
      const device = of(name);
      device.lastSourceTimeMs = Math.max(device.lastSourceTimeMs, toMs);
      dirty.add(device);
    },
    note: (name: string, text: string): void => {
      const device = of(name);
      if (device.note === text) return;
      device.note = text;
      dirty.add(device);
    },
    noteOf: (name: string): string => byName.get(name)?.note ?? "",
    flush: (to: OutboxTables): void => {
      for (const device of dirty) to.saveDevice(device);
    },
    flushed: (): void => dirty.clear(),
    /** The file was replaced by an empty one: all of it is to be written again. */
    restart: (): void => {
      for (const device of byId.values()) dirty.add(device);
    },
  };
}
