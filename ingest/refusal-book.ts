import type { RecordHeader, RecordId, RefusedRecord } from "@jilian/domain/commit.ts";

/** What a gateway is told of a record that the store refused. */
export type Refusal = Omit<RefusedRecord, "offset">;

/** Most refused samples in one notice, which must stay a small message; those of one record are not torn apart. */
const samplesPerNotice = 500;
/** How long a refused record is not tried again: at first, and at most. A fault of the store may be repaired meanwhile. */
const refusal = { firstMs: 15_000, longestMs: 600_000, most: 10_000, mostSamples: 200_000 };

/** Records that the store refused for themselves, bounded. Poison that is sent again and again then costs nothing. */
export function refusalBook(nowMs: () => number) {
  const refused = new Map<string, { writtenAtMs: number; times: number; untilMs: number; told: Refusal | undefined }>();
  let samples = 0;
  const keyOf = (group: string, node: string, { epoch, offset }: RecordId) => `${group}/${node}/${epoch}:${offset}`;

  function forget(key: string): void {
    samples -= refused.get(key)?.told?.samples?.length ?? 0;
    refused.delete(key);
  }

  return {
    add: (group: string, node: string, record: RecordHeader, told: Refusal | undefined): void => {
      const key = keyOf(group, node, record);
      const times = (refused.get(key)?.times ?? 0) + 1;
      const forMs = Math.min(refusal.firstMs * 2 ** (times - 1), refusal.longestMs);
      // Deleting first moves it to the end: the one refused longest ago makes room first.
      forget(key);
      refused.set(key, { writtenAtMs: record.writtenAtMs, times, untilMs: nowMs() + forMs, told });
      samples += told?.samples?.length ?? 0;
      for (const oldest of refused.keys()) {
        if (refused.size <= refusal.most && samples <= refusal.mostSamples) break;
        forget(oldest);
      }
    },
    /** What is known of a record that is not to be tried now; undefined when it is. */
    find: (group: string, node: string, record: RecordHeader): { told: Refusal | undefined } | undefined => {
      if (refused.size === 0) return undefined;
      const found = refused.get(keyOf(group, node, record));
      return found !== undefined && found.writtenAtMs === record.writtenAtMs && nowMs() < found.untilMs
        ? found
        : undefined;
    },
    /** When the record was written that was refused under this id, UTC ms; undefined when none is known. */
    writtenAtMs: (group: string, node: string, id: RecordId): number | undefined =>
      refused.size === 0 ? undefined : refused.get(keyOf(group, node, id))?.writtenAtMs,
  };
}

/** The refusals that are due, in parts of a notice each. */
export function refusalsOf(due: ReadonlyMap<number, Refusal>): RefusedRecord[][] {
  const parts: RefusedRecord[][] = [];
  let room = 0;
  for (const [offset, told] of due) {
    const size = Math.max(1, told.samples?.length ?? 0);
    if (room < size) {
      parts.push([]);
      room = samplesPerNotice;
    }
    parts.at(-1)?.push({ offset, ...told });
    room -= size;
  }
  return parts;
}
