import { type AlarmValue, alarmKinds, alarmPriorities, unknownSinceMs } from "@jilian/domain/alarm.ts";
import { formatScaled } from "@jilian/domain/decimal.ts";
import { gaugeScale } from "@jilian/domain/gauge-leaf.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import { alarmStates, type StoredAlarm } from "@jilian/store/alarms.ts";
import { type Static, Type } from "typebox";
import type { Directory } from "./directory.ts";
import { nullable, timeSchema } from "./figures.ts";

export const alarmStateSchema = Type.Enum([...alarmStates], {
  description:
    "IEC 62682: active or returned, acknowledged or not; unknown: its readings have stopped; withdrawn: late readings show that it never was 状态",
});

/** An alarm as the interface gives it. */
export const alarmSchema = Type.Object({
  id: Type.Integer(),
  rule: Type.String({ description: "id of the rule in the registry" }),
  name: Type.String(),
  nameEn: nullable(Type.String()),
  priority: Type.Enum([...alarmPriorities], { description: "IEC 62682 优先级" }),
  kind: Type.Enum([...alarmKinds]),
  device: Type.String({ description: "factory/gateway/device" }),
  deviceName: Type.String(),
  metric: Type.String(),
  state: alarmStateSchema,
  raised: Type.String({ description: "source time of the reading, or the end of the delay, that raised it" }),
  cleared: nullable(Type.String({ description: "null while it has not returned" })),
  unknownSince: nullable(Type.String({ description: "since when its readings are not believed; null while they are" })),
  ending: nullable(
    Type.String({ description: "cleared; rule: it was changed or removed; gaps: another alarm goes on with it" }),
  ),
  parts: Type.Array(Type.Object({ from: timeSchema, to: nullable(timeSchema) }), {
    description:
      "the times in which it was active and its readings were believed; to is exclusive, null while it lasts",
  }),
  peak: Type.String({ description: "most extreme value in `unit`, of a state its first code" }),
  peakTime: timeSchema,
  unit: nullable(Type.String()),
  acknowledged: nullable(timeSchema),
  acknowledgedBy: nullable(Type.String()),
  note: nullable(Type.String()),
  withdrawn: nullable(timeSchema),
  revision: Type.Integer({ description: "how often late readings changed what had been told" }),
  registryVersion: Type.String(),
  simulated: Type.Boolean(),
  noted: Type.String({ description: "platform time at which it was first known" }),
  change: Type.Integer({ description: "number of its last change in the change log" }),
});
export type AlarmView = Static<typeof alarmSchema>;

const time = (ms: number | null | undefined) => (ms === null || ms === undefined ? null : isoTime(ms));
const valueText = (value: AlarmValue) => (typeof value === "bigint" ? formatScaled(value, gaugeScale) : value);

/** An alarm with the names of people and times in ISO 8601. */
export function alarmView(alarm: StoredAlarm, { entities }: Pick<Directory, "entities">): AlarmView {
  const { id, rule, zh, en, priority, kind, device, metric, state, unit, acknowledgedBy, note } = alarm;
  return {
    ...{ id, rule, name: zh, nameEn: en, priority, kind, device },
    deviceName: entities.device.get(device) ?? device,
    ...{ metric, state, raised: isoTime(alarm.raisedMs), cleared: time(alarm.clearedMs) },
    unknownSince: time(unknownSinceMs(alarm)),
    ending: alarm.ending ?? null,
    parts: alarm.parts.map(({ fromMs, toMs }) => ({ from: isoTime(fromMs), to: time(toMs) })),
    ...{ peak: valueText(alarm.peak), peakTime: isoTime(alarm.peakMs), unit },
    ...{ acknowledged: time(alarm.acknowledgedMs), acknowledgedBy, note, withdrawn: time(alarm.withdrawnMs) },
    ...{ revision: alarm.revision, registryVersion: alarm.registryVersion, simulated: alarm.simulated },
    ...{ noted: isoTime(alarm.notedMs), change: alarm.change },
  };
}
