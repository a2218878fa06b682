import { isoTime } from "../periods.ts";
import type { FindingCheck } from "./definition.ts";

/** A meter whose calibration counted until a day before the one that ended. Its figures stand, an auditor may refuse them. */
export const calibrationExpired: FindingCheck = {
  code: "CALIBRATION_EXPIRED",
  zh: "计量检定过期",
  en: "the calibration of a meter has expired",
  periods: ["day"],
  check: (site) =>
    site.factories.flatMap(({ devices }) =>
      devices.flatMap(({ key, meter }) => {
        const dueOn = meter?.calibrationDueOn;
        const date = isoTime(site.startMs).slice(0, 10);
        if (dueOn === undefined || date <= dueOn) return [];
        const detail = `its calibration was valid until ${dueOn}, its readings of ${date} count: have it calibrated and write the new dates into the registry`;
        return [{ subject: key, detail }];
      }),
    ),
};
