import { isoTime, periods } from "@jilian/domain/periods.ts";
import { levels, type Result } from "@jilian/domain/result.ts";
import { type Static, Type } from "typebox";
import type { Directory } from "./directory.ts";

export const levelSchema = Type.Enum([...levels], { description: "level of the tree (ISA-95) 层级" });
/** Levels whose figures are kept, those of lines beside the samples; those of devices are made on asking. */
export const groupLevels = levels.filter((level) => level !== "device");
export const groupLevelSchema = Type.Enum([...groupLevels], {
  description: "level of the tree; figures of devices are made on asking: use /open/v1/metrics for them 层级",
});
/** Levels whose figures have revisions in the ledger and a place in the change log. */
export const loggedLevelSchema = Type.Enum(
  levels.filter((level) => level !== "device" && level !== "line"),
  { description: "level of the tree; figures of lines and devices have no revisions in the ledger 层级" },
);
export const periodSchema = Type.Enum([...periods], {
  description: "half-open, Asia/Shanghai, labelled by its start 周期",
});
export const timeSchema = Type.String({ description: "ISO 8601 with the offset of Asia/Shanghai" });
export const nullable = <
  T extends ReturnType<typeof Type.String> | ReturnType<typeof Type.Number> | ReturnType<typeof Type.Integer>,
>(
  schema: T,
) => Type.Union([schema, Type.Null()]);

/** A figure as the interface gives it: the value, and everything needed to judge it and to follow it back. */
export const figureSchema = Type.Object({
  indicator: Type.String(),
  level: levelSchema,
  entity: Type.String(),
  entityName: Type.String(),
  period: periodSchema,
  start: timeSchema,
  end: Type.String({ description: "exclusive" }),
  value: nullable(Type.String({ description: "decimal string in `unit`; null with a `reason`" })),
  reason: nullable(Type.String({ description: "why the value is null; /open/v1/definitions tells what each means" })),
  unit: Type.String(),
  completeness: nullable(Type.Number({ description: "0-1: part of the elapsed period that readings cover" })),
  estimatedShare: nullable(Type.Number({ description: "0-1: part of the value that interpolation assigned" })),
  lowerBound: Type.Boolean({
    description:
      "true: an increase could not be told. A sum is then not less than told; a ratio, of which a term is not less, may be wrong either way",
  }),
  status: Type.Enum(["provisional", "final", "revised"]),
  revision: Type.Integer(),
  definitionVersion: Type.Integer(),
  factorTable: nullable(Type.String()),
  registryVersion: Type.String(),
  inputWatermark: Type.Integer({ description: "last store transaction whose readings are in" }),
  asOf: Type.String({ description: "platform time for which it was computed" }),
  simulated: Type.Boolean({ description: "true: from simulated machines (模拟数据)" }),
  change: Type.Optional(Type.Integer({ description: "number in the change log; absent while only in memory" })),
});
export type Figure = Static<typeof figureSchema>;

/** A figure of the change log. */
export const loggedFigureSchema = Type.Object({
  ...figureSchema.properties,
  change: Type.Integer({ description: "number in the change log" }),
});

/** What every answer with figures or readings of a demonstration says. */
export const demoNotice = "模拟数据 / simulated data: a demonstration, not a plant";
export const noticeSchema = nullable(Type.String({ description: "not null: simulated data" }));

/** A result with the names of people and times in ISO 8601, without what is the ledger's own affair. */
export function figureOf(result: Result & { change?: number; leaseEpoch?: number }, directory: Directory): Figure {
  const { startMs, endMs, asOfMs, leaseEpoch: _, ...rest } = result;
  return {
    ...rest,
    entityName: directory.entities[result.level].get(result.entity) ?? result.entity,
    start: isoTime(startMs),
    end: isoTime(endMs),
    asOf: isoTime(asOfMs),
  };
}
