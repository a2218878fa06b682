import { alarmTimeIn } from "@jilian/domain/alarm.ts";
import type { AlarmSum } from "@jilian/domain/period-sums.ts";
import type { DroppedAlarms, StoredAlarm } from "./alarms.ts";

/** What alarms make of the devices in [fromMs, toMs), by device: those with an alarm that overlaps it. Pure. */
export function alarmSums(
  alarms: Iterable<StoredAlarm>,
  fromMs: number,
  toMs: number,
  { untilMs }: Pick<DroppedAlarms, "untilMs">,
): Map<string, AlarmSum> {
  const sums = new Map<string, AlarmSum>();
  for (const alarm of alarms) {
    if (alarm.raisedMs >= toMs || (alarm.clearedMs ?? Infinity) <= fromMs) continue;
    const before = sums.get(alarm.device) ?? noAlarms(fromMs, { untilMs });
    const { raised, activeMs } = alarmTimeIn(alarm, fromMs, toMs);
    sums.set(alarm.device, { ...before, raised: before.raised + raised, activeMs: before.activeMs + activeMs });
  }
  return sums;
}

/** Of a device that is watched and had no alarm. */
export function noAlarms(fromMs: number, { untilMs }: Pick<DroppedAlarms, "untilMs">): AlarmSum {
  return { raised: 0, activeMs: 0, partial: fromMs < untilMs };
}
