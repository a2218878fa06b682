/** Rows about a Sparkplug aware server: it keeps births as certificates and dates deaths (Sparkplug 3.0, 10.1.4). */
import {
  type Capture,
  delivered,
  type Entry,
  isPublish,
  linksOf,
  marks,
  type Publish,
  type Subscribe,
  sent,
  typeOf,
} from "./capture.ts";
import { both, type Check, drop, each, editPublish, next, type Rows, rows, where } from "./check.ts";
import { serverRows } from "./rows-server.ts";

const prefix = "$sparkplug/certificates/";
export const certificatesFilter = `${prefix}#`;

const isCertificate = (entry: Entry): entry is Publish =>
  isPublish(entry) && entry.who === "probe" && entry.from === "server" && entry.topic.startsWith(prefix);
const certificates = (capture: Capture, type: string): Publish[] =>
  capture.filter(isCertificate).filter(({ topic }) => topic.includes(`/${type}/`));
const asksForThem = (entry: Entry): entry is Subscribe =>
  entry.kind === "subscribe" && entry.filters.some(({ filter }) => filter === certificatesFilter);

/** The last birth of the node and of each device of it, when the probe asked. */
function birthsThen(capture: Capture): Publish[] {
  const before = capture.slice(0, capture.findIndex(asksForThem));
  const births = new Map<string, Publish>();
  for (const one of sent(before, "edge", "NBIRTH", "DBIRTH")) births.set(one.topic, one);
  return [...births.values()];
}

const topicRow =
  (type: "NBIRTH" | "DBIRTH"): Check =>
  (capture) =>
    each(
      birthsThen(capture).filter((one) => typeOf(one) === type),
      ({ topic }) =>
        !certificates(capture, type).some((one) => one.topic === `${prefix}${topic}`) && `no ${prefix}${topic}`,
    );
const retainRow =
  (type: "NBIRTH" | "DBIRTH"): Check =>
  (capture) =>
    each(certificates(capture, type), (one) => !one.retain && `${where(one)}: not retained`);
const stored: Check = (capture) =>
  each(birthsThen(capture), (birth) => {
    const kept = capture
      .filter(isCertificate)
      .some(
        ({ topic, payload }) =>
          topic.endsWith(birth.topic) &&
          payload?.timestamp === birth.payload?.timestamp &&
          payload?.metrics.length === birth.payload?.metrics.length,
      );
    return !kept && `${where(birth)}: not kept as it was`;
  });
const of = (type: string) => (entry: Entry) => isCertificate(entry) && entry.topic.includes(`/${type}/`);
const elsewhere = (type: string) =>
  editPublish(of(type), ({ topic }) => ({ topic: topic.replace(prefix, `${prefix}more/`) }));

const stampedMs = 1000;
/** A death is delivered as it was left, or dated with the moment in which it is delivered. */
const dated: Check = (capture) =>
  each(
    marks(capture, "edge cut").flatMap((mark) => delivered(next(capture, mark), "host", "NDEATH")[0] ?? []),
    (death) => {
      const before = capture.slice(0, capture.indexOf(death));
      const will = linksOf(before, "edge").findLast(({ connect }) => connect)?.connect?.will;
      const timestamp = death.payload?.timestamp ?? 0;
      const isAsLeft = timestamp === will?.payload?.timestamp;
      return (
        !(isAsLeft || Math.abs(timestamp - death.at) < stampedMs) &&
        `${where(death)}: neither the will's time nor that of delivery`
      );
    },
  );

const c = "conformance-mqtt-aware";
export const awareRows: Rows = {
  ...rows(
    `${c}-basic`,
    (capture) => both(stored(capture), ...Object.values(serverRows).map(({ check }) => check(capture))),
    drop(isCertificate),
    ...Object.values(serverRows).flatMap(({ breaks }) => breaks),
  ),
  ...rows(
    `${c}-store`,
    stored,
    drop(isCertificate),
    editPublish(of("DBIRTH"), ({ payload }) => void Object.assign(payload ?? {}, { timestamp: 1 })),
  ),
  ...rows(`${c}-nbirth-mqtt-topic`, topicRow("NBIRTH"), elsewhere("NBIRTH")),
  ...rows(
    `${c}-nbirth-mqtt-retain`,
    retainRow("NBIRTH"),
    editPublish(of("NBIRTH"), () => ({ retain: false })),
  ),
  ...rows(`${c}-dbirth-mqtt-topic`, topicRow("DBIRTH"), elsewhere("DBIRTH")),
  ...rows(
    `${c}-dbirth-mqtt-retain`,
    retainRow("DBIRTH"),
    editPublish(of("DBIRTH"), () => ({ retain: false })),
  ),
  ...rows(`${c}-ndeath-timestamp`, dated, (capture) => {
    const cut = marks(capture, "edge cut")[0] as Entry;
    const death = delivered(next(capture, cut), "host", "NDEATH")[0];
    return editPublish(
      (entry) => entry === death,
      ({ payload }) => void Object.assign(payload ?? {}, { timestamp: 1 }),
    )(capture);
  }),
};
