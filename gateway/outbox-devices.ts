import type { DeviceRow } from "./outbox-tables.ts";

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
  return {
    byName,
    byId,
    dirty,
    floorMs,
    of(name: string): DeviceRow {
      let device = byName.get(name);
      if (!device) {
        lastId += 1;
        device = { id: lastId, name, lastSourceTimeMs: floorMs, pending: 0, bytes: 0 };
        byName.set(name, device);
        byId.set(device.id, device);
        dirty.add(device);
      }
      return device;
    },
  };
}
