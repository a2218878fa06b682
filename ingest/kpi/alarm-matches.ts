import { type AlarmEvent, type AlarmPart, raisedMsOf } from "@jilian/domain/alarm.ts";
import type { AlarmStretch, StoredAlarm } from "@jilian/store/alarms.ts";

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

/**
 * Where the counts and times that two events make differ: around their moments of raising, and where only one of them has a part. Gaps
 * between parts are left out: they may be years, where a clock was wrong. @param nowMs until when an open one has lasted
 */
export function differingStretches({ before, event }: AlarmMatch, nowMs: number): AlarmStretch[] {
  const [a, b] = [before, event].map((one) => new Map((one?.parts ?? []).map((part) => [part.fromMs, part]))) as [
    Map<number, AlarmPart>,
    Map<number, AlarmPart>,
  ];
  const stretches: AlarmStretch[] = [];
  const add = (fromMs: number, toMs: number) => stretches.push({ fromMs, toMs: Math.max(fromMs + 1, toMs) });
  const [wasRaised, isRaised] = [before?.parts[0]?.fromMs, event?.parts[0]?.fromMs];
  if (wasRaised !== isRaised) for (const at of [wasRaised, isRaised]) if (at !== undefined) add(at, at);
  const endOf = ({ fromMs, toMs }: AlarmPart) => toMs ?? Math.max(fromMs, nowMs);
  for (const fromMs of new Set([...a.keys(), ...b.keys()])) {
    const [one, other] = [a.get(fromMs), b.get(fromMs)];
    if (one?.toMs === other?.toMs && one && other) continue;
    if (one && other) add(Math.min(endOf(one), endOf(other)), Math.max(endOf(one), endOf(other)));
    else add(fromMs, endOf((one ?? other) as AlarmPart));
  }
  return stretches;
}
