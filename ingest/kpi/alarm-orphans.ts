import type { AlarmLedger, AlarmTrackKey, StoredAlarm } from "@jilian/store/alarms.ts";
import type { AlarmTrack } from "./alarm-tracks.ts";

/** A stored alarm, and the track that it was of. */
export type Orphan = { readonly track: AlarmTrackKey; readonly before: StoredAlarm };

const nameOf = ({ rule, device, metric }: AlarmTrackKey) => JSON.stringify([rule, device, metric]);

/**
 * Alarms for which no rule watches its series any more at the time at which they were raised: registry or births say something else of it.
 * @param tracks all of the series that are asked for
 * @param changedMs since when something is another one
 */
export function orphansOf(
  ledger: Pick<AlarmLedger, "alarmTracks" | "alarmsOfTrack">,
  tracks: readonly AlarmTrack[],
  changedMs: number,
  isAsked: (track: AlarmTrackKey) => boolean,
): Orphan[] {
  const byName = Map.groupBy(tracks, ({ id }) => nameOf(id));
  return ledger
    .alarmTracks(changedMs)
    .filter(isAsked)
    .flatMap((track) => {
      const own = byName.get(nameOf(track)) ?? [];
      return ledger
        .alarmsOfTrack(track, changedMs, Number.MAX_SAFE_INTEGER)
        .filter(({ raisedMs }) => !own.some(({ fromMs, toMs }) => raisedMs >= fromMs && raisedMs < toMs))
        .map((before) => ({ track, before }));
    });
}
