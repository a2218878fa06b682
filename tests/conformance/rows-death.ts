/** Rows about how the end of an edge node is told: its will, bdSeq, and how it takes leave (Sparkplug 3.0, 4.2.1, 5.4, 5.6, 6.4.25). */
import {
  type Capture,
  type Connect,
  type Disconnect,
  type Entry,
  isPublish,
  type Link,
  type Message,
  type Publish,
  sent,
  typeOf,
} from "./capture.ts";
import {
  type Break,
  bdSeqOf,
  both,
  type Change,
  type Check,
  drop,
  each,
  edgeLinks,
  edit,
  editMetric,
  editPublish,
  message,
  metricNamed,
  packet,
  publishesOf,
  type Rows,
  rows,
  where,
} from "./check.ts";

const isDeath = (entry: Entry): entry is Publish => isPublish(entry) && typeOf(entry) === "NDEATH";
const flow = "message-flow-edge-node-birth-publish";

/** Deaths as told by the node itself, and as left in its will. */
const deaths = (capture: Capture): (Message & { link: string })[] => [
  ...sent(capture, "edge", "NDEATH"),
  ...edgeLinks(capture).flatMap(({ name, connect }) => (connect?.will ? [{ ...connect.will, link: name }] : [])),
];
const wills =
  (faultOf: (will: Message | undefined, link: Link) => boolean, why: string): Check =>
  (capture) =>
    each(edgeLinks(capture), (link) => faultOf(link.connect?.will, link) && `${link.name}: ${why}`);
const editWill = (change: Change<Message>): Break =>
  edit<Connect>(packet("edge", "connect"), ({ will }) => void (will && Object.assign(will, change(will))));
const noWill = edit<Connect>(packet("edge", "connect"), () => ({ will: undefined }));
const editBdSeq = (value: bigint): Break =>
  editWill(({ payload }) => {
    const metric = payload?.metrics[0];
    if (metric) metric.value = value;
  });

function certificateRows(): Rows {
  const topic = (will: Message | undefined): boolean => !/^spBv1\.0\/[^/]+\/NDEATH\/[^/]+$/.test(will?.topic ?? "");
  const eachDeath =
    (faultOf: (death: Message) => boolean, why: string): Check =>
    (capture) =>
      each(deaths(capture), (death) => faultOf(death) && `${death.link} NDEATH: ${why}`);
  const badTopic = editWill(() => ({ topic: "spBv1.0/f1/NDEATH/gw-1/press-1" }));
  const withSeq = editWill(({ payload }) => void Object.assign(payload ?? {}, { seq: 1 }));
  const told = editPublish(message("edge", "NDEATH"), ({ payload }) => void Object.assign(payload ?? {}, { seq: 1 }));
  return {
    ...rows("topics-ndeath-topic", eachDeath(topic, "topic"), badTopic),
    ...rows(`${flow}-will-message-topic`, wills(topic, "topic of the will"), badTopic, noWill),
    ...rows(
      "topics-ndeath-seq payloads-ndeath-seq",
      eachDeath(({ payload }) => payload?.seq !== undefined, "a seq"),
      withSeq,
      told,
    ),
    ...rows(
      "topics-ndeath-payload",
      eachDeath(
        ({ payload }) => !(payload?.metrics.length === 1 && payload.metrics[0]?.name === "bdSeq"),
        "not bdSeq alone",
      ),
      editWill(
        ({ payload }) =>
          void payload?.metrics.push({ name: "more", isHistorical: false, isNull: true, isTransient: false }),
      ),
      editWill(({ payload }) => void payload?.metrics.pop()),
    ),
    ...rows(
      `${flow}-will-message payloads-ndeath-will-message`,
      wills((will) => !will || topic(will), "no NDEATH as will"),
      noWill,
      badTopic,
    ),
    ...rows(
      `${flow}-will-message-payload`,
      wills((will) => !will?.payload, "no Sparkplug B payload"),
      editWill(() => ({ payload: undefined })),
    ),
    ...rows(
      `${flow}-will-message-qos payloads-ndeath-will-message-qos`,
      wills((will) => will?.qos !== 1, "QoS of the will is not 1"),
      editWill(() => ({ qos: 0 })),
    ),
    ...rows(
      `${flow}-will-message-will-retained payloads-ndeath-will-message-retain`,
      wills((will) => will?.retain !== false, "the will is retained"),
      editWill(() => ({ retain: true })),
    ),
  };
}

/** The will's bdSeq counts the CONNECTs, from 0, and 0 again after 255. */
const bdSeqCounts: Check = (capture) =>
  each(edgeLinks(capture), ({ name, connect }) => {
    const all = edgeLinks(capture);
    const before = all[all.findIndex((link) => link.name === name) - 1]?.connect?.will;
    const expected = before ? ((bdSeqOf(before) ?? Number.NaN) + 1) % 256 : 0;
    return !(connect?.will && bdSeqOf(connect.will) === expected) && `${name}: bdSeq is not ${expected}`;
  });
const isInt64 = ({ payload }: Message): boolean => {
  const metric = metricNamed({ payload }, "bdSeq");
  return metric?.datatype === 4 && metric.field === 11;
};

function bdSeqRows(): Rows {
  const matching: Check = (capture) =>
    each(
      edgeLinks(capture).flatMap((link) =>
        publishesOf(link)
          .filter((one) => typeOf(one) === "NBIRTH")
          .map((one) => ({ link, one })),
      ),
      ({ link, one }) =>
        !(link.connect?.will && bdSeqOf(one) !== undefined && bdSeqOf(one) === bdSeqOf(link.connect.will)) &&
        `${where(one)}: bdSeq is not the will's`,
    );
  const another = editMetric(
    message("edge", "NBIRTH"),
    ({ name }) => name === "bdSeq",
    () => ({ value: 77n }),
  );
  const without = editPublish(message("edge", "NBIRTH"), ({ payload }) => void payload?.metrics.shift());
  const retyped = editMetric(
    message("edge", "NBIRTH"),
    ({ name }) => name === "bdSeq",
    () => ({ datatype: 7 }),
  );
  const typed: Check = (capture) =>
    each(sent(capture, "edge", "NBIRTH"), (one) => !isInt64(one) && `${where(one)}: bdSeq is not Int64`);
  return {
    ...rows("topics-nbirth-bdseq-increment", bdSeqCounts, editBdSeq(99n), noWill),
    ...rows(
      `${flow}-will-message-payload-bdSeq`,
      (capture) => both(bdSeqCounts(capture), wills((will) => !(will && isInt64(will)), "bdSeq is not Int64")(capture)),
      editBdSeq(99n),
      editWill(({ payload }) => void Object.assign(payload?.metrics[0] ?? {}, { datatype: 7 })),
    ),
    ...rows(
      "topics-nbirth-bdseq-included payloads-nbirth-bdseq",
      (capture) =>
        each(sent(capture, "edge", "NBIRTH"), (one) => bdSeqOf(one) === undefined && `${where(one)}: no bdSeq`),
      without,
    ),
    ...rows("topics-nbirth-bdseq-matching payloads-nbirth-bdseq-repeat", matching, another, editBdSeq(99n)),
    ...rows(`${flow}-nbirth-payload-bdSeq`, (capture) => both(matching(capture), typed(capture)), another, retyped),
    ...rows(
      "payloads-ndeath-bdseq",
      (capture) => {
        const of = (link: string) => edgeLinks(capture).find(({ name }) => name === link)?.connect?.will;
        const own = each(sent(capture, "edge", "NDEATH"), (one) => {
          const will = of(one.link);
          return !(will && bdSeqOf(one) === bdSeqOf(will)) && `${where(one)}: bdSeq is not the will's`;
        });
        return both(own, matching(capture));
      },
      editMetric(
        message("edge", "NDEATH"),
        () => true,
        () => ({ value: 99n }),
      ),
      editBdSeq(99n),
    ),
  };
}

/** A DISCONNECT is meant: the node takes leave before it. */
function leaveRows(): Rows {
  const ends = (capture: Capture) =>
    edgeLinks(capture).filter(({ entries }) => entries.some(({ kind }) => kind === "disconnect"));
  const takesLeave: Check = (capture) =>
    each(
      ends(capture).filter((link) => publishesOf(link).length > 0),
      (link) => {
        const at = link.entries.findIndex(({ kind }) => kind === "disconnect");
        const last = link.entries.slice(0, at).findLast((entry) => isPublish(entry) && entry.from === "client");
        return !(last && isDeath(last)) && `${link.name}: DISCONNECT without NDEATH before it`;
      },
    );
  const silent = drop((entry) => isDeath(entry) && entry.who === "edge");
  return rows(
    `operational-behavior-edge-node-intentional-disconnect-ndeath payloads-ndeath-will-message-publisher
     payloads-ndeath-will-message-publisher-disconnect-mqtt311`,
    takesLeave,
    silent,
    (capture) => {
      const at = capture.findLastIndex((entry): entry is Disconnect => packet("edge", "disconnect")(entry));
      const death = capture.findLastIndex((entry) => isDeath(entry) && entry.who === "edge");
      return capture.toSpliced(at + 1, 0, capture[death] as Entry).toSpliced(death, 1);
    },
  );
}

export const deathRows: Rows = { ...certificateRows(), ...bdSeqRows(), ...leaveRows() };
