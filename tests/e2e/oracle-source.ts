import { engineering, type Matching, type Reading, type Scale, type Served, type Stored, written } from "./oracle.ts";

/**
 * Pairs what is stored with what an OPC UA server sent, by source time: a protocol that carries times leaves no room. Every value that
 * was sent must be stored at its time, unless it repeats what was reported before. A stored reading at another time says that the value
 * was still there (a heartbeat): then the server's variable must have held it at that moment.
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
): Matching {
  const readings: Reading[] = [];
  const unexplained: Stored[] = [];
  const missing: Served[] = [];
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
    while (next < readings.length && (readings[next] as Reading).atMs < value.timeMs) {
      reported = (readings[next] as Reading).raw;
      next += 1;
    }
    const isStored = readings[next]?.atMs === value.timeMs && readings[next]?.raw === value.raw;
    if (!isStored && value.raw !== reported) missing.push(value);
  }
  return { readings, unexplained, missing };
}
