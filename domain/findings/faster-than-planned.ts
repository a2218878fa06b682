import { oeeEffectiveness } from "../indicators/oee-effectiveness.ts";
import { ratioFigure } from "../indicators/ratio.ts";
import { isoTime } from "../periods.ts";
import { type FindingCheck, judgedFrom } from "./definition.ts";

/**
 * A machine produced faster than planned: E > 1 stands as it is, but its planned run time per item is too long, or its running states do
 * not say all (facts, KPI definitions: flagged, not clamped).
 */
export const fasterThanPlanned: FindingCheck = {
  code: "FASTER_THAN_PLANNED",
  zh: "快于计划节拍",
  en: "a machine produced faster than planned",
  periods: ["hour"],
  check: (site) =>
    site.factories.flatMap(({ devices }) =>
      devices.flatMap(({ key, machine }) => {
        if (!machine) return [];
        const { value, completeness } = ratioFigure(oeeEffectiveness, [machine]);
        if (value === null || Number(value) <= 1 || (completeness ?? 0) < judgedFrom) return [];
        const detail = `effectiveness ${value} in the hour from ${isoTime(site.startMs)}: check plannedRunTimePerItemMs and states of the machine in the registry`;
        return [{ subject: key, detail }];
      }),
    ),
};
