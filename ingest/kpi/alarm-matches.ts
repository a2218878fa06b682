import { type AlarmEvent, type AlarmPart, raisedMsOf } from "@jilian/domain/alarm.ts";
import type { StoredAlarm } from "@jilian/store/alarms.ts";

/** A stored alarm and the event that stands in its place; one of the two may be missing. */
export type AlarmMatch = { readonly before: StoredAlarm | undefined; readonly event: AlarmEvent | undefined };

const samePart = (a: AlarmPart, b: AlarmPart | undefined): boolean =>
  a.fromMs === b?.fromMs && a.toMs === b.toMs && a.peak === b.peak && a.peakMs === b.peakMs;

/** True where two say the same. */
export function sameEvent(a: AlarmEvent, b: AlarmEvent): boolean {
  return (
    a === b ||
    (a.clearedMs === b.clearedMs &&
      a.ending === b.ending &&
      a.parts.length === b.parts.length &&
      a.parts.every((part, i) => samePart(part, b.parts[i])))
  );
}

const overlap = (a: AlarmEvent, b: AlarmEvent): boolean =>
  raisedMsOf(a) <= (b.clearedMs ?? Infinity) && raisedMsOf(b) <= (a.clearedMs ?? Infinity);

/**
 * Which stored alarm each event is: the same one; the open one, which people look at, goes on as the open one; then by the moment of raising;
 * then by overlap. What is left of the stored ones never was.
 */
export function matchAlarms(before: readonly StoredAlarm[], events: readonly AlarmEvent[]): AlarmMatch[] {
  const rows = new Set(before);
  const left = new Set(events);
  const found: AlarmMatch[] = [];
  const isOpen = ({ clearedMs }: AlarmEvent) => clearedMs === undefined;
  const rules: ((row: StoredAlarm, event: AlarmEvent) => boolean)[] = [
    (row, event) => row === event,
    (row, event) => isOpen(row) && isOpen(event),
    (row, event) => row.raisedMs === raisedMsOf(event),
    overlap,
  ];
  for (const is of rules)
    for (const event of [...left]) {
      const row = rows.values().find((one) => is(one, event));
      if (!row) continue;
      found.push({ before: row, event });
      rows.delete(row);
      left.delete(event);
    }
  for (const event of left) found.push({ before: undefined, event });
  for (const row of rows) found.push({ before: row, event: undefined });
  return found;
}

/** A stretch of source time, [fromMs, toMs). */
export type Stretch = { readonly fromMs: number; readonly toMs: number };

/** Where the counts and times that two events make differ. @param nowMs until when an open one has lasted */
export function differingStretches({ before, event }: AlarmMatch, nowMs: number): Stretch[] {
  const partsOf = (one: AlarmEvent | undefined) => one?.parts ?? [];
  const [a, b] = [partsOf(before), partsOf(event)];
  const stretches: Stretch[] = [];
  const [wasRaised, isRaised] = [a[0]?.fromMs, b[0]?.fromMs];
  if (wasRaised !== isRaised)
    for (const at of [wasRaised, isRaised]) if (at !== undefined) stretches.push({ fromMs: at, toMs: at + 1 });
  const longest = Math.max(a.length, b.length);
  const first = Array.from({ length: longest }, (_, i) => i).find(
    (i) => a[i]?.fromMs !== b[i]?.fromMs || a[i]?.toMs !== b[i]?.toMs,
  );
  if (first === undefined) return stretches;
  const ends = (parts: readonly AlarmPart[]) => parts.slice(first).map(({ toMs }) => toMs ?? nowMs + 1);
  const [x, y] = [a[first], b[first]];
  const fromMs =
    x && y && x.fromMs === y.fromMs
      ? Math.min(x.toMs ?? nowMs, y.toMs ?? nowMs)
      : Math.min(x?.fromMs ?? Infinity, y?.fromMs ?? Infinity);
  stretches.push({ fromMs, toMs: Math.max(fromMs + 1, ...ends(a), ...ends(b)) });
  return stretches;
}
