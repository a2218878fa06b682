import type { NewReadings } from "@jilian/domain/alarm-review.ts";
import type { AlarmTail, LookBack } from "./alarm-look.ts";
import type { AlarmTrack } from "./alarm-tracks.ts";

/** A track as it is followed. */
export type Followed = {
  readonly track: AlarmTrack;
  /** Stretches of new readings that are not judged. */
  fresh: NewReadings[];
  /** Everything known since the first of them is of another condition. */
  isWhole: boolean;
  tail: AlarmTail | undefined;
  /** A look back that is under way, and how many of `fresh` it has taken. */
  job: { readonly look: LookBack; readonly taken: number } | undefined;
};

/** A track that goes on from its tail. */
export type Quick = { readonly one: Followed; readonly tail: AlarmTail };

export const clipped = ({ fromMs, toMs }: AlarmTrack, firstMs: number, lastMs: number): NewReadings | undefined =>
  lastMs < fromMs || firstMs >= toMs
    ? undefined
    : { firstMs: Math.max(firstMs, fromMs), lastMs: Math.min(lastMs, toMs - 1) };

/** Notes new readings; those that follow the last ones make one stretch with them. */
export function addFresh({ track, fresh, job }: Followed, range: NewReadings): void {
  const last = fresh.length > (job?.taken ?? 0) ? fresh.at(-1) : undefined;
  const follows = last && range.firstMs >= last.firstMs && range.firstMs <= last.lastMs + track.condition.staleMs;
  if (follows) fresh[fresh.length - 1] = { ...last, lastMs: Math.max(last.lastMs, range.lastMs) };
  else fresh.push(range);
}

/** Where a track that has come up is looked at first: where the registry changed; cut off there, just before; else now. */
export function firstLook({ fromMs, toMs }: AlarmTrack, nowMs: number, changedMs = Infinity): NewReadings {
  const at = changedMs < toMs ? Math.max(fromMs, changedMs) : Math.min(toMs - 1, Math.max(fromMs, nowMs));
  return { firstMs: at, lastMs: at };
}

/** Has judged again, from a moment on, all of a track that births have made another one. Nothing where it ends before. */
export function judgeSince(one: Followed, sinceMs: number): void {
  const { fromMs, toMs } = one.track;
  if (sinceMs >= toMs) return;
  const at = Math.max(fromMs, sinceMs);
  one.fresh.push({ firstMs: at, lastMs: at });
  one.isWhole = true;
  one.job = undefined;
}
