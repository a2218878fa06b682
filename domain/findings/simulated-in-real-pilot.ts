import { isoTime } from "../periods.ts";
import type { FindingCheck } from "./definition.ts";

/** A registered device says that it is simulated, in a pilot that is no demonstration. Its readings are kept and do not count. */
export const simulatedInRealPilot: FindingCheck = {
  code: "SIMULATED_IN_REAL_PILOT",
  zh: "正式试点中有模拟设备",
  en: "simulated data in a pilot that is not a demonstration",
  periods: ["day"],
  check: (site) =>
    site.demo
      ? []
      : site.factories.flatMap(({ devices }) =>
          devices
            .filter(({ simulated }) => simulated)
            .map(({ key }) => ({
              subject: key,
              detail: `its births say that it is simulated, so it was not counted on the day from ${isoTime(site.startMs)}: connect the real device, or take it out of the registry`,
            })),
        ),
};
