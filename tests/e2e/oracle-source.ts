import { engineering, type Matching, type Reading, type Scale, type Served, type Stored, written } from "./oracle.ts";

export type SourceMatching = Matching & {
  /** Changes that the server told and that are stored; of these, later than at their source time. */
  told: number;
  moved: number;
};

/**
 * Pairs what is stored with what an OPC UA server sent: every value that was sent must be stored, in order, unless it repeats the one
 * before. It is stored at its source time, but for one that was still on its way when a reading of the value before it was taken for
 * news of the moment (a heartbeat, the first of a session): then a little later. A stored reading at any other time is a heartbeat: the
 * server's variable must have held its value at that moment.
 * @param served what left the server, by source time
 * @param held every value that the variable took, by source time
 * @param slackMs how long a change may have been on its way when a heartbeat told of the value before
 */
export function matchBySource(
  served: readonly Served[],
  held: readonly Served[],
  stored: readonly Stored[],
  scale: Scale,
  slackMs: number,
): SourceMatching {
  const readings: Reading[] = [];
  const unexplained: Stored[] = [];
  const missing: Served[] = [];
  let [told, moved] = [0, 0];
  const sent = [...new Map(served.map((value) => [value.timeMs, value])).values()].sort((a, b) => a.timeMs - b.timeMs);
  const text = (value: Served) => written(engineering(value.raw, scale));
  const at = new Map(sent.map((value) => [value.timeMs, value]));
  let last = -1;
  for (const sample of stored) {
    while (last + 1 < held.length && (held[last + 1] as Served).timeMs <= sample.atMs) last += 1;
    let own = at.get(sample.atMs);
    if (own === undefined || text(own) !== sample.value) {
      own = undefined;
      // What held at some moment from `slackMs` before: the newest that says so.
      for (let i = last; i >= 0 && own === undefined; i -= 1) {
        if (text(held[i] as Served) === sample.value) own = held[i];
        if ((held[i] as Served).timeMs < sample.atMs - slackMs) break;
      }
    }
    if (own === undefined) unexplained.push(sample);
    else readings.push({ atMs: sample.atMs, units: engineering(own.raw, scale), servedMs: own.timeMs, raw: own.raw });
  }
  let next = 0;
  let reported: bigint | undefined;
  for (const value of sent) {
    // What is older is no reading of this value or a later one: one value that is missing makes no others so.
    while (
      next < readings.length &&
      (readings[next]?.raw === reported || (readings[next] as Reading).atMs < value.timeMs)
    )
      next += 1;
    if (value.raw === reported) continue;
    const own = readings[next];
    if (own?.raw !== value.raw || own.atMs < value.timeMs || own.atMs - value.timeMs > slackMs) {
      missing.push(value);
      continue;
    }
    next += 1;
    reported = value.raw;
    told += 1;
    if (own.atMs !== value.timeMs) moved += 1;
  }
  return { readings, unexplained, missing, told, moved };
}
