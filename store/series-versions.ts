import { minuteMs } from "@jilian/domain/periods.ts";
import type { EarlierDefinition, MetricDefinition } from "@jilian/domain/sample.ts";
import { definitionText } from "./columns/series-text.ts";
import type { Series, WantedSeries } from "./telemetry.ts";

/** What births said of a series, and from when on, UTC ms. The first one of a series holds since ever. */
export type DatedDefinition = {
  readonly fromMs: number;
  readonly definition: MetricDefinition;
  /** Readings from here on until `fromMs` may be of this one or of the one before: they are stored, and no figure is made of them. */
  readonly doubtMs?: number;
};

/**
 * Definitions of one series that are kept at most, and characters of all of them: a gateway that flaps what it says must not fill the store.
 * Beyond it the one that held shortest is forgotten, and its time counts as that of the one before it.
 */
export const maxDefinitions = 50;
const maxTextLength = 30_000;

const same = (a: MetricDefinition | undefined, b: MetricDefinition) =>
  a !== undefined && definitionText(a) === definitionText(b);

/** Since when a birth's definition holds, as `WantedSeries` has it. */
type Since = Pick<WantedSeries, "sinceMs" | "doubtMs" | "bornMs" | "earlier">;

/** Leaves out definitions that say what the one before them says. */
function merged(dated: readonly DatedDefinition[]): DatedDefinition[] {
  return dated.filter(({ definition }, i) => !same(dated[i - 1]?.definition, definition));
}

const textLength = (dated: readonly DatedDefinition[]) =>
  dated.reduce((sum, { definition }) => sum + definitionText(definition).length, 0);

/** Place of the one between first and last that held shortest, the later of two; the first one's where there is none between. */
function shortest(dated: readonly DatedDefinition[]): number {
  const heldMs = (i: number) => (dated[i + 1] as DatedDefinition).fromMs - (dated[i] as DatedDefinition).fromMs;
  let found = 1;
  for (let i = 2; i < dated.length - 1; i += 1) if (heldMs(i) <= heldMs(found)) found = i;
  return dated.length > 2 ? found : 0;
}

/** As many, and as long, as are kept. */
function bounded(dated: readonly DatedDefinition[]): DatedDefinition[] {
  let kept = merged(dated);
  while (kept.length > maxDefinitions || (kept.length > 1 && textLength(kept) > maxTextLength))
    kept = merged(kept.toSpliced(shortest(kept), 1));
  return kept;
}

/** What held at a time; the first one of a series holds since ever. */
const heldAt = (dated: readonly DatedDefinition[], atMs: number): MetricDefinition =>
  (dated.findLast(({ fromMs }) => fromMs <= atMs) ?? (dated[0] as DatedDefinition)).definition;

/** A definition held in [fromMs, toMs); what is known of before and after stays as it is. */
function withSpan(dated: readonly DatedDefinition[], definition: MetricDefinition, fromMs: number, toMs: number) {
  const later = dated.filter((one) => one.fromMs >= toMs);
  const next = later[0]?.fromMs === toMs ? [] : [{ fromMs: toMs, definition: heldAt(dated, toMs) }];
  return bounded([...dated.filter((one) => one.fromMs < fromMs), { fromMs, definition }, ...next, ...later]);
}

/** The first one, where it is what held in [fromMs, toMs), began then: what is told of between holds since then, and not since ever. */
function withFirst(dated: readonly DatedDefinition[], fromMs: number, toMs: number): readonly DatedDefinition[] {
  const [first, next] = dated;
  if (!first || first.fromMs <= fromMs || (next && next.fromMs < toMs)) return dated;
  return [{ ...first, fromMs }, ...dated.slice(1)];
}

/**
 * What a gateway tells of the time before the definition that it has now. One that was known at the end of its time is left as it is known, as
 * in `told`; of one that has no time nobody knows more than that it is the first: it counts where nothing is known of its time.
 */
function withEarlier(
  known: readonly DatedDefinition[] | undefined,
  earlier: readonly EarlierDefinition[],
  untilMs: number,
): readonly DatedDefinition[] | undefined {
  let dated = known;
  for (const [i, { sinceMs, definition }] of earlier.entries()) {
    const endMs = earlier[i + 1]?.sinceMs ?? untilMs;
    if (endMs <= sinceMs) continue;
    if (!dated) dated = [{ fromMs: sinceMs, definition }];
    else if (sinceMs === 0 && endMs <= (dated[0]?.fromMs ?? 0)) dated = withSpan(dated, definition, sinceMs, endMs);
    else if (sinceMs > 0)
      dated = same(heldAt(dated, endMs - 1), definition)
        ? withFirst(dated, sinceMs, endMs)
        : withSpan(dated, definition, sinceMs, endMs);
  }
  return dated;
}

/**
 * Puts what a birth says in its place in time. It holds until the next one that is known; one of the same time is replaced. Pure.
 * @param known earliest first; undefined for a series that is new
 * @param since when it began, as `WantedSeries` has it
 * @returns `known` itself when it says so already
 */
export function withDefinition(
  known: readonly DatedDefinition[] | undefined,
  definition: MetricDefinition,
  { earlier = [], ...since }: Since = {},
): readonly DatedDefinition[] {
  if (earlier.length === 0 || since.sinceMs === undefined) return withNewest(known, definition, since);
  const dated = withNewest(withEarlier(known, earlier, since.sinceMs), definition, since);
  return known && datedText(dated) === datedText(known) ? known : dated;
}

function withNewest(
  known: readonly DatedDefinition[] | undefined,
  definition: MetricDefinition,
  { sinceMs: fromMs, doubtMs = fromMs, bornMs }: Omit<Since, "earlier">,
): readonly DatedDefinition[] {
  if (known && fromMs !== undefined && bornMs !== undefined && bornMs > fromMs)
    return told(known, definition, fromMs, bornMs);
  if (!known || fromMs === undefined) {
    const isKnown = known?.length === 1 && same(known[0]?.definition, definition);
    return isKnown ? known : [{ fromMs: fromMs ?? 0, definition }];
  }
  const before = known.filter((one) => one.fromMs <= fromMs);
  if (same(before.at(-1)?.definition, definition)) return known;
  const earlier = before.filter((one) => one.fromMs < fromMs);
  const later = known.filter((one) => one.fromMs > fromMs);
  const next = { fromMs, definition, ...(doubtMs !== undefined && doubtMs < fromMs && { doubtMs }) };
  return bounded([...earlier, next, ...later]);
}

/**
 * What a gateway tells of the time before its birth. Where it is known at the time of the birth, when it began is known as well: the outbox of
 * the gateway may be an older one. Where it is not, it holds from the birth on, whatever lies behind the time that is told.
 */
function told(known: readonly DatedDefinition[], definition: MetricDefinition, sinceMs: number, bornMs: number) {
  if (same(known.findLast(({ fromMs }) => fromMs <= bornMs)?.definition, definition)) return known;
  // It was something else before, and nobody knows of another one than the first: that one still holds since ever.
  const [first] = known;
  const isBefore = first !== undefined && sinceMs <= first.fromMs;
  const since = isBefore ? [{ ...first, fromMs: 0 }, ...known.filter(({ fromMs }) => fromMs > sinceMs)] : known;
  return withNewest(withNewest(since, definition, { sinceMs }), definition, { sinceMs: bornMs });
}

/** A series' definitions as it shows them: the newest one, and all of them where there are several. */
export function shownDefinitions(dated: readonly DatedDefinition[]): Pick<Series, "definition" | "dated"> {
  const { definition } = dated.at(-1) as DatedDefinition;
  return dated.length > 1 ? { definition, dated } : { definition };
}

/** What a series was at a time, UTC ms. Costs nothing where its births always said the same. */
export function definitionAt(
  { definition, dated }: Pick<Series, "definition" | "dated">,
  atMs: number,
): MetricDefinition {
  return dated ? heldAt(dated, atMs) : definition;
}

/** Start of the first minute that is of a definition which holds from a time on: a minute is of what held when it began. */
export const firstMinute = (fromMs: number): number => Math.ceil(fromMs / minuteMs) * minuteMs;

let marks = 0;

/** A number that was never given: books mark their changes with it, also those that are opened again. */
export function nextMark(): number {
  marks += 1;
  return marks;
}

/** Definitions as the stores keep them. */
export function datedText(dated: readonly DatedDefinition[]): string {
  const texts = dated.map(({ fromMs, definition, doubtMs }) => {
    const doubt = doubtMs === undefined ? "" : `,${doubtMs}`;
    return `[${fromMs},${definitionText(definition)}${doubt}]`;
  });
  return `[${texts.join(",")}]`;
}

/** Reads them back. A store of an older release has one definition without a time: it holds since ever. */
export function readDated(text: string): readonly DatedDefinition[] {
  const found = JSON.parse(text) as MetricDefinition | [number, MetricDefinition, number?][];
  if (!Array.isArray(found)) return [{ fromMs: 0, definition: found }];
  return found.map(([fromMs, definition, doubtMs]) => {
    return { fromMs, definition, ...(doubtMs !== undefined && { doubtMs }) };
  });
}

/** Since when, at the earliest, another definition holds than before; undefined where nothing differs. */
export function differsSince(a: Series, b: Series): number | undefined {
  if (a === b) return undefined;
  const edges = [0, ...(a.dated ?? []).map((one) => one.fromMs), ...(b.dated ?? []).map((one) => one.fromMs)];
  return edges.sort((x, y) => x - y).find((at) => !same(definitionAt(a, at), definitionAt(b, at)));
}
