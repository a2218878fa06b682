import type { CommitNotice } from "@jilian/domain/commit.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { type RangeSet, rangeSet } from "@jilian/domain/range-set.ts";
import type { Host, Seen } from "./test-host.ts";
import { timesOf } from "./test-outbox.ts";

/** A record as the platform has it: values by metric name, with their source times. */
export type StoredRecord = { writtenAtMs: number; samples: { metric: string; timeMs: number; value: unknown }[] };
type Epoch = { records: Map<number, StoredRecord>; due: RangeSet; last: number; isOwed: boolean; isSetBack: boolean };

const samplesOf = ({ payload, values }: Seen): StoredRecord["samples"] =>
  payload.metrics.map(({ timestampMs = 0 }, i) => {
    const [metric = "", value] = Object.entries(values)[i] ?? [];
    return { metric, timeMs: timestampMs, value };
  });

/**
 * For tests: the platform behind a host. It stores each record once and answers with notices as ingest does: gathered for a moment,
 * with what it has last and when it was written, and `setBack`, for good, for an offset that comes again, or a lower one, written later than
 * what it has.
 * @param refuses a record that it can never store
 */
export function startPlatform(host: Host, refuses: (seen: Seen) => boolean = () => false) {
  const epochs = new Map<string, Epoch>();
  let isDue = false;

  function epochOf(name: string): Epoch {
    return getOrMake(epochs, name, () => ({
      ...{ records: new Map(), due: rangeSet(), last: -1, isOwed: false, isSetBack: false },
    }));
  }

  function answer(): void {
    isDue = false;
    for (const [epoch, { records, due, last, isOwed, isSetBack }] of epochs) {
      if (!isOwed) continue;
      const ranges = isSetBack ? [] : due.ranges();
      const times = new Map([...records].map(([offset, { writtenAtMs }]) => [offset, writtenAtMs]));
      const told: Partial<CommitNotice> = isSetBack ? { setBack: true } : { writtenAtMs: timesOf(ranges, times) };
      Object.assign(epochOf(epoch), { due: rangeSet(), isOwed: false });
      // The test may have closed the broker meanwhile.
      host.commit(epoch, ranges, { last, ...told }).catch(() => undefined);
    }
  }

  host.listen((seen) => {
    const { header } = seen;
    if (!header || refuses(seen)) return;
    const epoch = epochOf(header.epoch);
    const { offset, writtenAtMs } = header;
    const known = epoch.records.get(offset);
    const highest = epoch.records.get(epoch.last);
    if (known ? known.writtenAtMs !== writtenAtMs : offset < epoch.last && writtenAtMs > (highest?.writtenAtMs ?? 0)) {
      epoch.isSetBack = true;
    } else {
      if (!known) epoch.records.set(offset, { writtenAtMs, samples: samplesOf(seen) });
      epoch.last = Math.max(epoch.last, offset);
      epoch.due.add(offset, offset);
    }
    epoch.isOwed = true;
    if (isDue) return;
    isDue = true;
    setTimeout(answer, 20);
  });

  return {
    /** Knows a record as if it had come from an earlier life of the gateway. */
    know: (epochName: string, offset: number, record: StoredRecord): void => {
      const epoch = epochOf(epochName);
      epoch.records.set(offset, record);
      epoch.last = Math.max(epoch.last, offset);
    },
    /** Every sample that is stored, of all epochs. */
    samples: () => [...epochs.values()].flatMap(({ records }) => [...records.values()].flatMap((r) => r.samples)),
    epochs: () => [...epochs.keys()],
  };
}
