import type { DueSpan } from "./span-book.ts";

/**
 * Divides what is due into what is computed and published together: what a period is made of stays in memory until its figures are published,
 * and that is everybody's sums, whosever figures are asked for, since the cluster's are among them. Pure.
 * @param due by kind of period
 * @param all factories that there are
 * @param most factories whose sums are in memory at once, each counted once for each period; at least one period is
 * @returns parts in the order given, each by kind
 */
export function* batches(due: Iterable<readonly DueSpan[]>, all: number, most: number): Generator<DueSpan[][]> {
  let batch: DueSpan[][] = [];
  let size = 0;
  for (const spans of due) {
    let own: DueSpan[] = [];
    batch.push(own);
    for (const span of spans) {
      const cost = span.factory === undefined ? all : 1;
      if (size > 0 && size + cost > most) {
        yield batch;
        own = [];
        [batch, size] = [[own], 0];
      }
      own.push(span);
      size += cost;
    }
  }
  if (size > 0) yield batch;
}
