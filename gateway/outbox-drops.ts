import { accountMetric } from "@jilian/domain/account.ts";
import type { DropReason, Outbox, StoredSample } from "./model.ts";

type Drop = [device: string, samples: readonly StoredSample[], reason: DropReason];
type Metrics = Pick<Outbox, "metrics">;
type Listener = { readonly outbox: Metrics; readonly onDropped: (...drop: Drop) => void };
/** A drop that does not depend on the ids of one outbox. */
type NamedDrop = { device: string; samples: { name: string; sample: StoredSample }[]; reason: DropReason };

/** Samples held at most: what is dropped beyond it is in the outbox's own counts alone. */
const maxHeld = 100_000;

/** By the names of the metrics. Accounts are left out: they count no readings. */
function named(from: Metrics, ...[device, samples, reason]: Drop): NamedDrop {
  const names = new Map(from.metrics().map(({ id, definition }) => [id, definition.name]));
  const own = samples.map((sample) => ({ name: names.get(sample.metricId) ?? "", sample }));
  return { device, samples: own.filter(({ name }) => name !== accountMetric), reason };
}

/** By the ids of another outbox; 0 for a metric that is not declared there. */
function tellNamed({ outbox, onDropped }: Listener, { device, samples, reason }: NamedDrop): void {
  const own = outbox.metrics().filter((metric) => metric.device === device);
  const ids = new Map(own.map(({ id, definition }) => [definition.name, id]));
  const translated = samples.map(({ name, sample }) => ({ ...sample, metricId: ids.get(name) ?? 0 }));
  onDropped(device, translated, reason);
}

/**
 * Tells the accounts that run what an outbox drops, also one that they do not run on while it takes the place of theirs; what is dropped
 * while none run is told to the next.
 */
export function dropTeller() {
  let running: Listener | undefined;
  let held: NamedDrop[] = [];
  let count = 0;
  return {
    /** @param from the outbox that drops */
    tell(from: Metrics, ...drop: Drop): void {
      if (running?.outbox === from) {
        running.onDropped(...drop);
        return;
      }
      const found = named(from, ...drop);
      if (running) tellNamed(running, found);
      else if (count + found.samples.length <= maxHeld) {
        count += found.samples.length;
        held.push(found);
      }
    },
    /** From here on another one, or none, is told. */
    listen(to: Listener | undefined): void {
      running = to;
      if (!to) return;
      for (const drop of held) tellNamed(to, drop);
      held = [];
      count = 0;
    },
  };
}

export type DropTeller = ReturnType<typeof dropTeller>;
