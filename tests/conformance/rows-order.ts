/** Rows about messages that come late or never, as the host sees them (Sparkplug 3.0, 5.10). */
import { type Capture, delivered, isPublish, linksOf, marks, type Publish, sent, typeOf } from "./capture.ts";
import { type Check, copyBehind, drop, each, marked, message, metricNamed, type Rows, rows, where } from "./check.ts";
import { reorderMs } from "./scenario.ts";

type Gap = { at: number; by: Publish; filledAt: number | undefined };

/** Gaps in the seq of what a host was delivered; a message that comes late fills its own. */
function gapsOf(capture: Capture): Gap[] {
  return linksOf(capture, "host").flatMap(({ entries }) => {
    let last: number | undefined;
    const gaps = new Map<number, Gap>();
    const all: Gap[] = [];
    for (const one of delivered(entries, "host", "NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH")) {
      const seq = one.payload?.seq ?? 0;
      const gap = gaps.get(seq);
      if (typeOf(one) === "NBIRTH") {
        gaps.clear();
        last = seq;
      } else if (gap) {
        gap.filledAt = one.at;
        gaps.delete(seq);
      } else if (last !== undefined) {
        for (let missing = (last + 1) % 256; missing !== seq; missing = (missing + 1) % 256) {
          const found: Gap = { at: one.at, by: one, filledAt: undefined };
          gaps.set(missing, found);
          all.push(found);
        }
        last = seq;
      }
    }
    return all;
  });
}

const requests = (capture: Capture): Publish[] =>
  sent(capture, "host", "NCMD").filter((one) => metricNamed(one, "Node Control/Rebirth"));
const isRequest = (entry: Capture[number]): boolean =>
  message("host", "NCMD")(entry) && isPublish(entry) && metricNamed(entry, "Node Control/Rebirth") !== undefined;
const isLost = ({ filledAt }: Gap): boolean => filledAt === undefined;
/** A timer is no clockwork: so much earlier than due may it fire. */
const slackMs = 20;

const waits: Check = (capture) =>
  each(gapsOf(capture).filter(isLost), ({ at, by }) => {
    const early = requests(capture).find((one) => one.at >= at && one.at < at + reorderMs - slackMs);
    return early && `${where(by)}: asked for births ${early.at - at} ms after the gap`;
  });

const p = "operational-behavior-host-reordering";
export const orderRows: Rows = {
  ...rows(`${p}-start`, waits, (capture) => {
    const gap = gapsOf(capture).find(isLost) as Gap;
    return copyBehind(isRequest, (entry) => entry === gap.by)(capture);
  }),
  ...rows(
    `${p}-rebirth`,
    (capture) =>
      each(gapsOf(capture).filter(isLost), ({ at, by }) => {
        const asked = requests(capture).some((one) => one.at >= at && one.at < at + reorderMs + 3000);
        return !asked && `${where(by)}: a message was missing for good, and nobody asked for births`;
      }),
    drop(isRequest),
  ),
  ...rows(
    `${p}-success`,
    (capture) =>
      each(
        gapsOf(capture).filter((gap) => !isLost(gap)),
        ({ by }) => {
          const [from, to] = [marks(capture, "messages swapped")[0]?.at ?? 0, marks(capture, "swap over")[0]?.at ?? 0];
          const asked = requests(capture).some(({ at }) => at >= from && at <= to);
          return asked && `${where(by)}: what was missing came, and births were asked for`;
        },
      ),
    copyBehind(isRequest, marked("messages swapped")),
  ),
};
