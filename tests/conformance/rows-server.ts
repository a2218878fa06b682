/** Rows about the broker (Sparkplug 3.0, 10.1.3 and 10.1.4). */
import { type Capture, delivered, isPublish, linksOf, marks, type Puback, type Publish, sent } from "./capture.ts";
import {
  bdSeqOf,
  both,
  type Check,
  drop,
  each,
  editPublish,
  message,
  packet,
  type Rows,
  rows,
  where,
} from "./check.ts";

/** What the probe published to itself comes back to it with the QoS it was published with, which is the one it subscribed with at most. */
const relayed =
  (qos: 0 | 1): Check =>
  (capture) =>
    each(
      sent(capture, "probe", "NCMD").filter((one) => one.qos === qos && one.topic.endsWith("/nobody")),
      (one) => {
        const back = delivered(capture, "probe", "NCMD").some(
          (copy) => copy.topic === one.topic && copy.qos === qos && copy.at >= one.at,
        );
        const acknowledged =
          qos === 0 ||
          capture.some(
            (entry): entry is Puback =>
              entry.kind === "puback" && entry.link === one.link && entry.from === "server" && entry.id === one.id,
          );
        return !(back && acknowledged) && `${where(one)}: not relayed, or not acknowledged`;
      },
    );
const isRelay =
  (qos: number) =>
  (entry: Capture[number]): boolean =>
    message("probe", "NCMD", "server")(entry) && isPublish(entry) && entry.qos === qos;

/** A connection that ends without DISCONNECT leaves its will, and no other does. */
const willsKept: Check = (capture) => {
  const cut = marks(capture, "edge cut").map(({ at }) => {
    const death = delivered(capture, "host", "NDEATH").find((one) => one.at >= at && one.at < at + 3000);
    const will = linksOf(capture, "edge").findLast(({ connect }) => (connect?.at ?? 0) < at)?.connect?.will;
    const fits = death && will && bdSeqOf(death) === bdSeqOf(will) && death.qos === 1 && !death.retain;
    return fits ? undefined : "the edge node was cut off, and its will did not come as it was left";
  });
  const host = marks(capture, "host cut").map(({ at }) => {
    const told = delivered(capture, "edge", "STATE").some(
      (one) => one.at >= at && one.at < at + 3000 && one.state?.online === false,
    );
    const kept = delivered(capture, "edge", "STATE").some(
      (one) => one.at >= at && one.retain && one.state?.online === false,
    );
    return told && kept ? undefined : "the host was cut off, and its will was not told and retained";
  });
  const meant = marks(capture, "edge ends").map(({ at }) => {
    const end = marks(capture, "edge starts")[0]?.at ?? 0;
    const heard = delivered(capture, "host", "NDEATH").filter((one) => one.at >= at && one.at < end).length;
    return heard === 1 ? undefined : `the edge node took leave, and ${heard} deaths came`;
  });
  return both(...[cut, host, meant].map((faults) => each(faults, (fault) => fault)));
};

/** Retained messages come marked as such to a new subscription, and not to one that was there. */
const retainedKept: Check = (capture) => {
  const own = sent(capture, "probe", "STATE").filter(({ topic, qos }) => topic.endsWith("/other") && qos === 1);
  const live = own.at(-1);
  const place = live ? capture.indexOf(live) : 0;
  const copiesIn = (part: Capture) =>
    delivered(part, "probe", "STATE").filter(({ link, topic }) => link === live?.link && topic === live.topic);
  return both(
    each(copiesIn(capture.slice(0, place)), ({ retain }) => !retain && "what was retained before comes unmarked"),
    each(copiesIn(capture.slice(place)), ({ retain }) => retain && "what is published now comes marked as retained"),
    each(linksOf(capture, "edge").slice(1), (link) => {
      const isThere = delivered(link.entries, "edge", "STATE").some(({ retain }) => retain);
      return !isThere && `${link.name}: STATE was not there for it`;
    }),
  );
};
const ofProbe =
  (retain: boolean) =>
  (entry: Capture[number]): boolean =>
    message("probe", "STATE", "server")(entry) &&
    (entry as Publish).topic.endsWith("/other") &&
    (entry as Publish).retain === retain;

const c = "conformance-mqtt";
export const serverRows: Rows = {
  ...rows(`${c}-qos0`, relayed(0), drop(isRelay(0))),
  ...rows(
    `${c}-qos1`,
    relayed(1),
    drop(isRelay(1)),
    drop(packet("probe", "puback")),
    editPublish(isRelay(1), () => ({ qos: 0 })),
  ),
  ...rows(
    `${c}-will-messages`,
    willsKept,
    drop(message("host", "NDEATH", "server")),
    drop((entry) => message("edge", "STATE", "server")(entry) && isPublish(entry) && entry.retain),
    (capture) => {
      const at = capture.findIndex(
        (entry) => message("host", "NDEATH", "server")(entry) && entry.at >= (marks(capture, "edge ends")[0]?.at ?? 0),
      );
      return capture.toSpliced(at, 0, capture[at] as Publish);
    },
  ),
  ...rows(
    `${c}-retained`,
    retainedKept,
    editPublish(ofProbe(true), () => ({ retain: false })),
    editPublish(ofProbe(false), () => ({ retain: true })),
    drop((entry) => message("edge", "STATE", "server")(entry) && isPublish(entry) && entry.retain),
  ),
};
