import { type EarlierDefinition, type MetricDefinition, maxEarlierDefinitions } from "@jilian/domain/sample.ts";

/** What a metric was before, and the last position in the outbox that can hold a reading of then. */
export type Earlier = EarlierDefinition & { readonly lastPosition: number };
type Held = { readonly definition: MetricDefinition; readonly sinceMs: number; readonly earlier: readonly Earlier[] };

export const isSameDefinition = (a: MetricDefinition, b: MetricDefinition): boolean =>
  JSON.stringify(a) === JSON.stringify(b);

/** Neighbours that say the same are one. */
function merged(list: readonly Earlier[]): Earlier[] {
  const found: Earlier[] = [];
  for (const one of list) {
    const last = found.at(-1);
    if (last && isSameDefinition(last.definition, one.definition))
      found.splice(-1, 1, { ...last, lastPosition: Math.max(last.lastPosition, one.lastPosition) });
    else found.push(one);
  }
  return found;
}

/** As many as are kept: the oldest go, of which first those that no record is pending of. `lost`: how many of the others. */
export function boundedEarlier(list: readonly Earlier[], isOpen: (one: Earlier) => boolean) {
  const gone = list.slice(0, Math.max(0, list.length - maxEarlierDefinitions));
  return { earlier: list.slice(gone.length), lost: gone.filter(isOpen).length };
}

export type EarlierParts = {
  /** What another outbox knows of the time before. */
  readonly told: readonly EarlierDefinition[];
  /** After the last reading that is known here, a source time. */
  readonly unseenMs: number;
  /** The last one that is written. */
  readonly lastPosition: number;
};

/** What another outbox knows of the time before; its readings come from there, and are not here yet. */
function taken(own: readonly Earlier[], told: readonly EarlierDefinition[], unseenMs: number): Earlier[] {
  const [first] = own;
  const isOther = ({ sinceMs, definition }: EarlierDefinition) =>
    sinceMs === 0 && first?.sinceMs === 0 && !isSameDefinition(first.definition, definition);
  return told.map((one) => ({
    definition: one.definition,
    // What was first there came after all that was read here.
    sinceMs: isOther(one) ? unseenMs : one.sinceMs,
    lastPosition: 0,
  }));
}

/**
 * What a metric was before, once it is something else.
 * @param before as it was until now
 * @param now what it is from `sinceMs` on
 */
export function earlierOf(
  before: Held | undefined,
  now: { readonly sinceMs: number },
  { told, unseenMs, lastPosition }: EarlierParts,
): Earlier[] {
  const own = before
    ? [...before.earlier, { sinceMs: before.sinceMs, definition: before.definition, lastPosition }]
    : [];
  // Of what another outbox went on with, what it was here last is as if it had not been where nothing was read under it: that is told.
  const seen = told.length > 0 ? own.filter(({ sinceMs }) => sinceMs < unseenMs) : own;
  // What is known here last: it has the positions. Where nothing was read under one, its time is empty.
  const all = [...taken(own, told, unseenMs), ...seen].filter(({ sinceMs }) => sinceMs < now.sinceMs);
  const known = new Map(all.map((one) => [one.sinceMs, one]));
  const inOrder = [...known.values()].sort((a, b) => a.sinceMs - b.sinceMs);
  return merged(inOrder);
}

/** A reading of a source time is at a position: the one that held then is noted to have it. @returns undefined where nothing changes */
export function heldAt(earlier: readonly Earlier[], sourceTimeMs: number, position: number): Earlier[] | undefined {
  const at = earlier.findLastIndex(({ sinceMs }) => sinceMs <= sourceTimeMs);
  const found = earlier[at];
  return found && found.lastPosition < position ? earlier.with(at, { ...found, lastPosition: position }) : undefined;
}

/** From the first one on that records may be pending of: each holds until the next one. */
export function openEarlier(earlier: readonly Earlier[], isOpen: (one: Earlier) => boolean): readonly Earlier[] {
  const first = earlier.findIndex(isOpen);
  return first < 0 ? [] : earlier.slice(first);
}

/** What of it a birth has to tell: nothing where a metric is, after changes that nothing was read under, what it was. */
export function toldEarlier(open: readonly Earlier[], now: MetricDefinition): EarlierDefinition[] {
  const [first] = open;
  if (open.length === 1 && first && isSameDefinition(first.definition, now)) return [];
  return open.map(({ sinceMs, definition }) => ({ sinceMs, definition }));
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** As the file keeps them. */
export const earlierText = (earlier: readonly Earlier[]): string =>
  earlier.length === 0 ? "" : JSON.stringify(earlier.map((one) => [one.sinceMs, one.definition, one.lastPosition]));

/** Reads them back; none where that cannot be read. No position lies beyond the last one of the file. */
export function readEarlier(name: string, text: unknown, lastPosition: number): Earlier[] {
  try {
    const rows = text ? (JSON.parse(String(text)) as [unknown, MetricDefinition, unknown][]) : [];
    const found = rows.flatMap(([sinceMs, definition, last]): Earlier[] => {
      if (!isWhole(sinceMs) || !isWhole(last) || definition.name !== name) return [];
      return [{ sinceMs, definition, lastPosition: Math.min(last, lastPosition) }];
    });
    const isInOrder = found.every(({ sinceMs }, i) => i === 0 || sinceMs > (found[i - 1] as Earlier).sinceMs);
    return isInOrder && found.length === rows.length ? found : [];
  } catch {
    return [];
  }
}
