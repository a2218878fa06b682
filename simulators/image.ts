/** The registers and bits of one device as they stand at one instant of the plant. */
import { encodeWords, type RawValue } from "./codec.ts";
import type { Plant } from "./plant.ts";
import type { Table } from "./register-layout.ts";
import type { DeviceMap, Point } from "./register-map.ts";

/** Immutable once made: whoever holds one holds the values of one instant. */
export type Snapshot = {
  /** Plant time of the values. */
  readonly timeMs: number;
  readonly words: Uint16Array;
  /** By index of the device's points. */
  readonly raw: readonly RawValue[];
};

export type Read = { readonly table: Table; readonly address: number; readonly quantity: number };

export type DeviceImage = {
  readonly map: DeviceMap;
  /** The values now, or those of the moment at which the freeze began. Multi-register reads come from one snapshot. */
  snapshot(): Snapshot;
  /** Where a read stands in `Snapshot.words`; -1 if any of its addresses is unmapped. */
  locate(read: Read): number;
  /** Indices of the points that a read covers whole. */
  pointsIn(read: Read): readonly number[];
  setFrozen(frozen: boolean): void;
};

type Segment = { readonly table: Table; readonly start: number; readonly end: number; readonly offset: number };

const MAX_REMEMBERED_READS = 1024;

/** Lays the mapped address ranges side by side; ranges that touch become one, so that a read may span them. */
function layOut(map: DeviceMap): readonly Segment[] {
  const ranges = [...map.points, ...map.reserved].map(({ table, address, quantity }) => ({ table, address, quantity }));
  ranges.sort((a, b) => a.table.localeCompare(b.table) || a.address - b.address);
  const segments: Segment[] = [];
  let offset = 0;
  for (const { table, address, quantity } of ranges) {
    const last = segments.at(-1);
    if (last?.table === table && address < last.end)
      throw new RangeError(`${map.device}: ${table} ${address} overlaps`);
    if (last?.table === table && address === last.end) {
      segments[segments.length - 1] = { ...last, end: address + quantity };
    } else {
      segments.push({ table, start: address, end: address + quantity, offset });
    }
    offset += quantity;
  }
  return segments;
}

/** Creates the image of one device of a plant. The caller advances the plant. */
export function createDeviceImage(plant: Plant, map: DeviceMap): DeviceImage {
  const segments = layOut(map);
  const size = segments.reduce((sum, segment) => sum + segment.end - segment.start, 0);
  const offsets = map.points.map((point) => locate(point));
  const coveredBy = new Map<string, readonly number[]>();
  let frozen = false;
  let resetsSeen = 0;
  let current = take();

  function take(): Snapshot {
    resetsSeen = plant.resets.length;
    const words = new Uint16Array(size);
    const raw = map.points.map((point) => plant.raw(point));
    for (const [i, point] of map.points.entries()) write(point, raw[i], words, offsets[i] ?? 0);
    return { timeMs: plant.timeMs, words, raw };
  }

  function write(point: Point, value: RawValue | undefined, words: Uint16Array, offset: number): void {
    if (point.type === "bool") words[offset] = value === true ? 1 : 0;
    else if (typeof value !== "boolean" && value !== undefined) {
      encodeWords(point.type, point.order, value, words, offset);
    }
  }

  function locate({ table, address, quantity }: Read): number {
    for (const segment of segments) {
      if (segment.table === table && address >= segment.start && address + quantity <= segment.end) {
        return segment.offset + address - segment.start;
      }
    }
    return -1;
  }

  return {
    map,
    locate,
    snapshot() {
      if (!frozen && (current.timeMs !== plant.timeMs || resetsSeen !== plant.resets.length)) current = take();
      return current;
    },
    pointsIn({ table, address, quantity }) {
      const key = `${table}:${address}:${quantity}`;
      let covered = coveredBy.get(key);
      if (covered === undefined) {
        if (coveredBy.size >= MAX_REMEMBERED_READS) coveredBy.clear();
        covered = map.points.flatMap((point, i) => {
          const inside = point.address >= address && point.address + point.quantity <= address + quantity;
          return point.table === table && inside ? [i] : [];
        });
        coveredBy.set(key, covered);
      }
      return covered;
    },
    setFrozen(next) {
      if (next && !frozen) current = take();
      frozen = next;
    },
  };
}
