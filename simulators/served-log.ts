/** What left the server: one record per answered read, bounded, with the oldest given up first and counted. */
import type { RawValue } from "./codec.ts";
import type { DeviceImage } from "./image.ts";
import type { AnsweredRead } from "./pdu.ts";
import type { Table } from "./register-layout.ts";
import { createRing } from "./ring.ts";

/** `late` and `wrongTransactionId` left the server too, but out of their time or under a false name. */
export type Delivery = "normal" | "late" | "wrongTransactionId";

export type ServedRead = {
  /** 1, 2, 3, ... in the order in which answers were handed to their sockets. */
  readonly sequence: number;
  /** Plant clock when the values were taken. */
  readonly timeMs: number;
  /** Plant time of the values: at most 100 ms before `timeMs`, more while a device is frozen. */
  readonly valuesTimeMs: number;
  /** Real clock when the answer was handed to the socket. */
  readonly realTimeMs: number;
  /** Remote address and port. */
  readonly client: string;
  readonly delivery: Delivery;
  readonly unitId: number;
  readonly table: Table;
  readonly address: number;
  readonly quantity: number;
  /** Registers, or bits as 0 and 1. */
  readonly words: readonly number[];
};

export type ServedValue = Pick<
  ServedRead,
  "sequence" | "timeMs" | "valuesTimeMs" | "realTimeMs" | "client" | "delivery"
> & { readonly point: string; readonly raw: RawValue };

export type ServedFilter = {
  readonly point?: string;
  readonly client?: string;
  /** Only records with a greater sequence number. */
  readonly after?: number;
  /** Ends at the first read at which this many are reached, the oldest first. */
  readonly limit?: number;
};

export type ServedLog = {
  add(
    image: DeviceImage,
    read: AnsweredRead,
    about: Pick<ServedRead, "timeMs" | "realTimeMs" | "client" | "delivery">,
  ): void;
  reads(filter?: ServedFilter): ServedRead[];
  /** One entry per point that a read covered whole. */
  values(filter?: ServedFilter): ServedValue[];
  /** Records given up because the log was full. */
  readonly dropped: number;
};

type Entry = Pick<ServedRead, "sequence" | "timeMs" | "realTimeMs" | "client" | "delivery"> & {
  readonly image: DeviceImage;
  readonly read: AnsweredRead;
};

/** Creates a log of at most `maxReads` records. */
export function createServedLog(maxReads: number): ServedLog {
  const ring = createRing<Entry>(maxReads);

  function* select({ point, client, after = 0 }: ServedFilter): Generator<Entry> {
    for (const entry of ring.after(after)) {
      if (client !== undefined && entry.client !== client) continue;
      if (point !== undefined && !covers(entry, point)) continue;
      yield entry;
    }
  }

  function covers({ image, read }: Entry, point: string): boolean {
    return image.pointsIn(read).some((index) => image.map.points[index]?.name === point);
  }

  return {
    get dropped() {
      return ring.dropped;
    },
    add(image, read, about) {
      ring.add({ image, read, ...about });
    },
    reads(filter = {}) {
      const { limit = Number.POSITIVE_INFINITY } = filter;
      const found: ServedRead[] = [];
      for (const { image, read, ...about } of select(filter)) {
        if (found.length >= limit) break;
        const { snapshot, offset, table, address, quantity } = read;
        const words = Array.from(snapshot.words.subarray(offset, offset + quantity));
        const valuesTimeMs = snapshot.timeMs;
        found.push({ ...about, valuesTimeMs, unitId: image.map.unitId, table, address, quantity, words });
      }
      return found;
    },
    values(filter = {}) {
      const { limit = Number.POSITIVE_INFINITY } = filter;
      const found: ServedValue[] = [];
      for (const { image, read, ...about } of select(filter)) {
        // Between reads only, so that `after` can carry on where a limited answer ended.
        if (found.length >= limit) break;
        for (const index of image.pointsIn(read)) {
          const point = image.map.points[index]?.name;
          const raw = read.snapshot.raw[index];
          if (point === undefined || raw === undefined || (filter.point ?? point) !== point) continue;
          found.push({ ...about, valuesTimeMs: read.snapshot.timeMs, point, raw });
        }
      }
      return found;
    },
  };
}
