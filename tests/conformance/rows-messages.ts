/** Rows that hold of each message of a type: topic, QoS, retain, time, seq (chapters 1, 2, 4 and 6 of the specification). */
import { type Capture, type Connect, isPacket, isPublish, levels, type Message, sent, type Who } from "./capture.ts";
import {
  type Break,
  both,
  type Check,
  drop,
  each,
  edgeLinks,
  edit,
  editPublish,
  isPresent,
  message,
  packet,
  publishesOf,
  type Rows,
  rows,
  story,
  where,
} from "./check.ts";
import { bornFirst } from "./rows-state.ts";

const edgeTypes = ["NBIRTH", "NDATA", "DBIRTH", "DDATA", "DDEATH"] as const;
const ofDevice = (type: string): boolean => type.startsWith("D");

const of =
  (who: Who, type: string, faultOf: (entry: Message & { at: number }) => boolean, why: string): Check =>
  (capture) =>
    each(sent(capture, who, type), (entry) => faultOf(entry) && `${where(entry)}: ${why}`);

const qos0 = (who: Who, type: string): Check => of(who, type, ({ qos }) => qos !== 0, "QoS is not 0");
const unretained = (who: Who, type: string): Check => of(who, type, ({ retain }) => retain, "retained");
const timed = (who: Who, type: string): Check =>
  of(who, type, ({ payload, at }) => !isPresent(payload?.timestamp, at), "not the time of sending");
const setQos = (who: Who, type: string): Break => editPublish(message(who, type), () => ({ qos: 1 }));
const setRetain = (who: Who, type: string): Break => editPublish(message(who, type), () => ({ retain: true }));
const untimed = (who: Who, type: string): Break =>
  editPublish(message(who, type), (p) => void delete p.payload?.timestamp);
const mistimed = (who: Who, type: string): Break =>
  editPublish(message(who, type), ({ payload }) => {
    if (payload) payload.timestamp = 3_600_000;
  });

/** Levels of the topic, and group and node of the edge node that the capture is about. */
const topicOf =
  (who: Who, type: string): Check =>
  (capture) => {
    const own = edgeLinks(capture)[0]?.connect?.will;
    const { group, node } = (own && levels(own.topic)) ?? {};
    return each(sent(capture, who, type), (entry) => {
      const parts = entry.topic.split("/");
      const fits = parts.length === (ofDevice(type) ? 5 : 4) && parts.every((part) => part !== "");
      return !(fits && parts[1] === group && parts[3] === node) && `${where(entry)}: not the form of ${type}`;
    });
  };
const retopic = (who: Who, type: string, topic: string): Break =>
  editPublish(message(who, type), () => ({ topic: topic }));

/** One more than the message before, 0 after 255. @param mayWrap that this was seen is asked for too */
export const counted =
  (...types: string[]): Check =>
  (capture) =>
    each(
      story(capture).filter(({ type }) => types.includes(type)),
      ({ packet: one, seqBefore }) =>
        !(seqBefore !== undefined && one.payload?.seq === (seqBefore + 1) % 256) &&
        `${where(one)}: the message before had seq ${seqBefore}`,
    );
export const setSeq = (type: string, seq: number | undefined): Break =>
  editPublish(message("edge", type), ({ payload }) => {
    if (payload && seq === undefined) delete payload.seq;
    else if (payload) payload.seq = seq as number;
  });
const hasSeq = (type: string): Check => of("edge", type, ({ payload }) => payload?.seq === undefined, "no seq");
const isZero: Check = of("edge", "NBIRTH", ({ payload }) => payload?.seq !== 0, "seq is not 0");
export const isByte: Check = of(
  "edge",
  "NBIRTH",
  ({ payload }) =>
    !(Number.isInteger(payload?.seq) && (payload?.seq as number) >= 0 && (payload?.seq as number) <= 255),
  "seq is not 0-255",
);
const skipped = (type: string): Break => setSeq(type, 300);

/** Rows that every type of message of a side has. */
function perType(who: Who, type: string): Rows {
  const t = type.toLowerCase();
  const wrongLevels = ofDevice(type) ? `spBv1.0/f1/${type}/gw-1` : `spBv1.0/f1/${type}/gw-1/press-1`;
  const wrongNode = ofDevice(type) ? `spBv1.0/f1/${type}/gw-2/press-1` : `spBv1.0/f1/${type}/gw-2`;
  return {
    ...rows(`topics-${t}-topic`, topicOf(who, type), retopic(who, type, wrongLevels), retopic(who, type, wrongNode)),
    ...rows(
      `topics-${t}-mqtt`,
      (capture) => both(qos0(who, type)(capture), unretained(who, type)(capture)),
      setQos(who, type),
      setRetain(who, type),
    ),
    ...(type === "DDEATH"
      ? rows("payloads-ddeath-timestamp", timed(who, type), untimed(who, type), mistimed(who, type))
      : {
          ...rows(`payloads-${t}-qos`, qos0(who, type), setQos(who, type)),
          ...rows(`payloads-${t}-retain`, unretained(who, type), setRetain(who, type)),
          ...rows(
            `topics-${t}-timestamp payloads-${t}-timestamp`,
            timed(who, type),
            untimed(who, type),
            mistimed(who, type),
          ),
        }),
  };
}

const flow = "message-flow-edge-node-birth-publish";
const deviceFlow = "message-flow-device-birth-publish";
const decodes = (type: string): Check => of("edge", type, ({ payload }) => !payload, "not a Sparkplug B payload");
const garble = (type: string): Break => editPublish(message("edge", type), () => ({ payload: undefined }));

/** The same statements under the names of the chapter on message flow. */
const again: Rows = {
  ...rows(`${flow}-nbirth-topic`, topicOf("edge", "NBIRTH"), retopic("edge", "NBIRTH", "spBv1.0/f1/NBIRTH/gw-2")),
  ...rows(`${flow}-nbirth-payload`, decodes("NBIRTH"), garble("NBIRTH")),
  ...rows(`${flow}-nbirth-qos`, qos0("edge", "NBIRTH"), setQos("edge", "NBIRTH")),
  ...rows(`${flow}-nbirth-retained`, unretained("edge", "NBIRTH"), setRetain("edge", "NBIRTH")),
  ...rows(
    `${flow}-nbirth-payload-seq payloads-nbirth-seq payloads-sequence-num-req-nbirth`,
    isByte,
    setSeq("NBIRTH", 256),
    setSeq("NBIRTH", undefined),
  ),
  ...rows("topics-nbirth-seq-num", isZero, setSeq("NBIRTH", 1), setSeq("NBIRTH", undefined)),
  ...rows(`${deviceFlow}-dbirth-topic`, topicOf("edge", "DBIRTH"), retopic("edge", "DBIRTH", "spBv1.0/f1/DBIRTH/gw-1")),
  ...rows(`${deviceFlow}-dbirth-payload`, decodes("DBIRTH"), garble("DBIRTH")),
  ...rows(`${deviceFlow}-dbirth-qos`, qos0("edge", "DBIRTH"), setQos("edge", "DBIRTH")),
  ...rows(`${deviceFlow}-dbirth-retained`, unretained("edge", "DBIRTH"), setRetain("edge", "DBIRTH")),
};

const counts: Rows = {
  ...rows(
    `topics-dbirth-seq payloads-dbirth-seq-inc ${deviceFlow}-dbirth-payload-seq`,
    counted("DBIRTH"),
    skipped("DBIRTH"),
  ),
  ...rows("topics-ndata-seq-num payloads-ndata-seq-inc", counted("NDATA"), skipped("NDATA")),
  ...rows("topics-ddata-seq-num payloads-ddata-seq-inc", counted("DDATA"), skipped("DDATA")),
  ...rows(
    "topics-ddeath-seq-num payloads-ddeath-seq-inc payloads-ddeath-seq-number",
    counted("DDEATH"),
    skipped("DDEATH"),
    setSeq("DDEATH", undefined),
  ),
  ...Object.assign(
    {},
    ...["DBIRTH", "NDATA", "DDATA", "DDEATH"].map((type) =>
      rows(`payloads-${type.toLowerCase()}-seq`, hasSeq(type), setSeq(type, undefined)),
    ),
  ),
  ...rows(
    "payloads-sequence-num-always-included",
    (capture) => both(...edgeTypes.map((type) => hasSeq(type)(capture))),
    ...edgeTypes.map((type) => setSeq(type, undefined)),
  ),
  ...rows(
    "payloads-sequence-num-incrementing",
    (capture) => {
      const wraps = story(capture).filter(({ packet: one, seqBefore }) => seqBefore === 255 && one.payload?.seq === 0);
      return both(
        each(wraps, () => undefined),
        counted("NDATA", "DBIRTH", "DDATA", "DDEATH")(capture),
      );
    },
    // A message that is missing is a number that is missing.
    (capture) => capture.toSpliced(capture.findIndex(message("edge", "DDATA")), 1),
    skipped("DDATA"),
    editPublish(
      (entry) => message("edge", "DDATA")(entry) && isPublish(entry) && entry.payload?.seq === 0,
      ({ payload }) => {
        if (payload) payload.seq = 256;
      },
    ),
  ),
};

const sparkplug = (capture: Capture) => [...sent(capture, "edge"), ...sent(capture, "host")];
const everyTopic =
  (faultOf: (entry: Message) => boolean, why: string): Check =>
  (capture) =>
    each(sparkplug(capture), (entry) => faultOf(entry) && `${where(entry)}: ${why}`);
const idOf = (level: number) => (topic: string) => topic.split("/")[level] ?? "";
const reserved = ["+", "#", "\u0000"];
const hasId =
  (level: 1 | 3 | 4): Check =>
  (capture) =>
    each(
      sparkplug(capture).filter(({ topic }) => levels(topic) && (level < 4 || levels(topic)?.device !== undefined)),
      (entry) => (!entry.isTopicText || idOf(level)(entry.topic) === "") && `${where(entry)}: no UTF-8 text`,
    );
const isClean =
  (level: 1 | 3 | 4): Check =>
  (capture) =>
    each(
      sparkplug(capture).filter(({ topic }) => levels(topic) && (level < 4 || levels(topic)?.device !== undefined)),
      (entry) =>
        reserved.some((char) => idOf(level)(entry.topic).includes(char)) && `${where(entry)}: a reserved character`,
    );
const noText: Break = editPublish(message("edge", "DDATA"), () => ({ isTopicText: false }));
const spoil = (level: number, char: string): Break =>
  editPublish(message("edge", "DDATA"), (p) => {
    p.topic = p.topic.split("/").with(level, `a${char}b`).join("/");
  });

const forms: Rows = {
  ...rows("intro-group-id-string", hasId(1), noText),
  ...rows("intro-edge-node-id-string", hasId(3), noText),
  ...rows("intro-device-id-string", hasId(4), noText),
  ...rows("intro-group-id-chars topic-structure-namespace-valid-group-id", isClean(1), spoil(1, "+"), spoil(1, "#")),
  ...rows("intro-edge-node-id-chars topic-structure-namespace-valid-edge-node-id", isClean(3), spoil(3, "+")),
  ...rows("intro-device-id-chars topic-structure-namespace-valid-device-id", isClean(4), spoil(4, "#")),
  ...rows(
    "topic-structure",
    everyTopic(
      ({ topic }) => !/^[^/]+\/(STATE\/[^/]+|[^/]+\/[ND](BIRTH|DEATH|DATA|CMD)\/[^/]+(\/[^/]+)?)$/.test(topic),
      "no topic of Sparkplug",
    ),
    retopic("edge", "DDATA", "spBv1.0/f1/gw-1/DDATA/press-1"),
  ),
  ...rows(
    "topic-structure-namespace-a",
    everyTopic(({ topic }) => !topic.startsWith("spBv1.0/"), "another namespace"),
    retopic("edge", "DDATA", "spAv1.0/f1/DDATA/gw-1/press-1"),
  ),
  ...rows(
    "topic-structure-namespace-device-id-associated-message-types",
    (capture) =>
      each(
        sparkplug(capture).filter(({ topic }) => /^spBv1\.0\/[^/]+\/D(BIRTH|DEATH|DATA|CMD)\//.test(topic)),
        (entry) => entry.topic.split("/").length !== 5 && `${where(entry)}: no device`,
      ),
    retopic("edge", "DDATA", "spBv1.0/f1/DDATA/gw-1"),
  ),
  ...rows(
    "topic-structure-namespace-device-id-non-associated-message-types",
    (capture) =>
      each(
        sparkplug(capture).filter(({ topic }) => /^spBv1\.0\/(STATE\/|[^/]+\/N(BIRTH|DEATH|DATA|CMD)\/)/.test(topic)),
        (entry) =>
          entry.topic.split("/").length !== (entry.topic.startsWith("spBv1.0/STATE/") ? 3 : 4) &&
          `${where(entry)}: a device`,
      ),
    retopic("edge", "NDATA", "spBv1.0/f1/NDATA/gw-1/press-1"),
    retopic("host", "STATE", "spBv1.0/STATE/jilian/press-1"),
  ),
};

const sessions: Rows = {
  ...rows(
    "principles-persistence-clean-session-311",
    (capture) =>
      each(
        edgeLinks(capture),
        ({ name, connect }) => !(connect?.clean && connect.protocolLevel === 4) && `${name}: not clean`,
      ),
    edit<Connect>(packet("edge", "connect"), () => ({ clean: false })),
  ),
  ...rows(
    "principles-birth-certificates-order",
    (capture) =>
      both(
        bornFirst(capture),
        each(
          edgeLinks(capture).filter((link) => publishesOf(link).length > 0),
          (link) =>
            levels(publishesOf(link)[0]?.topic ?? "")?.type !== "NBIRTH" && `${link.name}: NBIRTH is not the first`,
        ),
      ),
    drop((entry) => message("host", "STATE")(entry) && isPublish(entry) && entry.state?.online === true),
    (capture) => {
      const at = capture.findLastIndex(message("edge", "NBIRTH"));
      const birth = capture[at];
      const link = birth && isPacket(birth) ? birth.link : "";
      const first = capture.findIndex(
        (entry) => isPacket(entry) && entry.link === link && message("edge", "NBIRTH")(entry),
      );
      const data = capture.findIndex(
        (entry, i) => i > first && isPacket(entry) && entry.link === link && message("edge", "DDATA")(entry),
      );
      return capture.toSpliced(data, 1).toSpliced(first, 0, capture[data] as (typeof capture)[number]);
    },
  ),
  ...rows(
    `${flow}-connect`,
    (capture) =>
      each(
        edgeLinks(capture).filter((link) => publishesOf(link).length > 0),
        ({ name, entries }) => {
          const connack = entries.findIndex((entry) => entry.kind === "connack" && entry.code === 0);
          const first = entries.findIndex((entry) => entry.kind === "publish" && entry.from === "client");
          return !(connack >= 0 && connack < first) && `${name}: published before the session was there`;
        },
      ),
    drop(packet("edge", "connack")),
  ),
};

export const messageRows: Rows = {
  ...Object.assign({}, ...edgeTypes.map((type) => perType("edge", type)), perType("host", "NCMD")),
  ...again,
  ...counts,
  ...forms,
  ...sessions,
};
