/** Rows about what a host application says of itself: births, farewells and wills on its STATE topic (Sparkplug 3.0, 4.2.3, 5.3, 5.13, 6.4.27). */
import {
  type Capture,
  type Connect,
  isPublish,
  type Link,
  linksOf,
  type Message,
  type Publish,
  sent,
  typeOf,
} from "./capture.ts";
import {
  type Break,
  both,
  type Change,
  type Check,
  drop,
  each,
  edit,
  editPublish,
  message,
  packet,
  type Rows,
  rows,
} from "./check.ts";

export const hostLinks = (capture: Capture): Link[] => linksOf(capture, "host").filter(({ connect }) => connect);
const stateForm = /^spBv1\.0\/STATE\/[^/+#]+$/;
const states = (capture: Capture, online: boolean): Publish[] =>
  sent(capture, "host", "STATE").filter(({ state }) => state?.online === online);
export const births = (capture: Capture): Publish[] => states(capture, true);
export const farewells = (capture: Capture): Publish[] => states(capture, false);
export const isState =
  (online: boolean) =>
  (entry: Capture[number]): boolean =>
    message("host", "STATE")(entry) && isPublish(entry) && entry.state?.online === online;

const isTimed = ({ state }: Message): boolean => Number.isInteger(state?.timestamp) && Number(state?.timestamp) > 1e12;
export const eachState =
  (of: (capture: Capture) => Publish[], faultOf: (one: Publish) => boolean, why: string): Check =>
  (capture) =>
    each(of(capture), (one) => faultOf(one) && `${one.link} ${one.topic} ${JSON.stringify(one.state)}: ${why}`);
export const wills =
  (faultOf: (will: Message | undefined, connect: Connect) => boolean, why: string): Check =>
  (capture) =>
    each(hostLinks(capture), ({ name, connect }) => connect && faultOf(connect.will, connect) && `${name}: ${why}`);
const editWill = (change: Change<Message>): Break =>
  edit<Connect>(packet("host", "connect"), ({ will }) => void (will && Object.assign(will, change(will))));
export const noWill = edit<Connect>(packet("host", "connect"), () => ({ will: undefined }));
export const editState = (online: boolean, change: Change<Publish>): Break => editPublish(isState(online), change);

/** Close enough to be told at that moment; nothing before it took so long. */
export const isClose = (timestamp: unknown, at: number): boolean =>
  typeof timestamp === "number" && Math.abs(at - timestamp) < 1000;
/** Every connection of the host begins with its birth. */
export const bornFirst: Check = (capture) =>
  each(hostLinks(capture), (link) => {
    const first = sent(link.entries, "host")[0];
    return (
      !(first && typeOf(first) === "STATE" && first.state?.online === true) &&
      `${link.name}: its birth is not the first`
    );
  });

const o = "operational-behavior-host-application";
const h = "host-topic-phid";
const badPayload = (online: boolean) => (one: Message) => !(one.state?.online === online && isTimed(one));
const spoilTime = (one: Message): Partial<Message> => ({ state: { online: one.state?.online, timestamp: "now" } });
const spoilTopic = (): Partial<Message> => ({ topic: "STATE/jilian" });
const death =
  (faultOf: (one: Message) => boolean, why: string): Check =>
  (capture) =>
    both(wills((will) => !will || faultOf(will), why)(capture), eachState(farewells, faultOf, why)(capture));
const isBadTopic = ({ topic }: Message): boolean => !stateForm.test(topic);

/** Births, under their many names. */
function birthRows(): Rows {
  return {
    ...rows(
      `${h}-birth-qos ${o}-connect-birth-qos`,
      eachState(births, ({ qos }) => qos !== 1, "QoS"),
      editState(true, () => ({ qos: 0 })),
    ),
    ...rows(
      `${h}-birth-retain ${o}-connect-birth-retained`,
      eachState(births, ({ retain }) => !retain, "not retained"),
      editState(true, () => ({ retain: false })),
    ),
    ...rows(
      `${h}-birth-topic ${o}-connect-birth-topic`,
      (capture) =>
        both(
          eachState(births, isBadTopic, "topic")(capture),
          each(births(capture), (one) => {
            const will = hostLinks(capture).find(({ name }) => name === one.link)?.connect?.will;
            return one.topic !== will?.topic && `${one.link}: birth and will have different topics`;
          }),
        ),
      editState(true, spoilTopic),
      editState(true, () => ({ topic: "spBv1.0/STATE/other" })),
    ),
    ...rows(
      `${h}-birth-payload ${o}-connect-birth-payload message-flow-phid-sparkplug-state-publish-payload payloads-state-birth-payload`,
      (capture) => both(eachState(births, badPayload(true), "payload")(capture), bornFirst(capture)),
      editState(true, spoilTime),
      drop(isState(true)),
    ),
    ...rows(
      `${h}-birth-payload-timestamp message-flow-phid-sparkplug-state-publish-payload-timestamp`,
      (capture) =>
        each(births(capture), (one) => {
          const will = hostLinks(capture).find(({ name }) => name === one.link)?.connect?.will;
          return (
            !(will?.state && one.state?.timestamp === will.state.timestamp) && `${one.link}: not the time of the will`
          );
        }),
      editState(true, (one) => ({ state: { online: true, timestamp: Number(one.state?.timestamp) + 1 } })),
    ),
  };
}

/** Farewells, and wills where both are meant. */
function farewellRows(): Rows {
  return {
    ...rows(
      `${h}-death-qos`,
      death(({ qos }) => qos !== 1, "QoS"),
      editWill(() => ({ qos: 0 })),
      editState(false, () => ({ qos: 0 })),
    ),
    ...rows(
      `${h}-death-retain`,
      death(({ retain }) => !retain, "not retained"),
      editWill(() => ({ retain: false })),
    ),
    ...rows(`${h}-death-topic`, death(isBadTopic, "topic"), editWill(spoilTopic), editState(false, spoilTopic)),
    ...rows(
      `${h}-death-payload`,
      death(badPayload(false), "payload"),
      editWill(spoilTime),
      editState(false, spoilTime),
    ),
    ...rows(
      `${o}-death-qos`,
      eachState(farewells, ({ qos }) => qos !== 1, "QoS"),
      editState(false, () => ({ qos: 0 })),
    ),
    ...rows(
      `${o}-death-retained`,
      eachState(farewells, ({ retain }) => !retain, "not retained"),
      editState(false, () => ({ retain: false })),
    ),
    ...rows(`${o}-death-topic`, eachState(farewells, isBadTopic, "topic"), editState(false, spoilTopic)),
    ...rows(`${o}-death-payload`, eachState(farewells, badPayload(false), "payload"), editState(false, spoilTime)),
  };
}

function willRows(): Rows {
  return {
    ...rows(
      `${h}-death-required ${o}-connect-will payloads-state-will-message`,
      wills((will) => !will || isBadTopic(will), "no STATE as will"),
      noWill,
    ),
    ...rows(
      `${o}-connect-will-topic`,
      wills((will) => !will || isBadTopic(will), "topic of the will"),
      editWill(spoilTopic),
    ),
    ...rows(
      `${o}-connect-will-payload payloads-state-will-message-payload`,
      wills((will) => !will || badPayload(false)(will), "payload"),
      editWill(spoilTime),
    ),
    ...rows(
      `${o}-connect-will-qos payloads-state-will-message-qos`,
      wills((will) => will?.qos !== 1, "QoS"),
      editWill(() => ({ qos: 0 })),
    ),
    ...rows(
      `${o}-connect-will-retained payloads-state-will-message-retain`,
      wills((will) => !will?.retain, "not retained"),
      editWill(() => ({ retain: false })),
    ),
    ...rows(
      `${h}-death-payload-timestamp-connect`,
      wills((will, { at }) => !isClose(will?.state?.timestamp, at), "not the time of CONNECT"),
      editWill((w) => ({ state: { online: false, timestamp: Number(w.state?.timestamp) - 2000 } })),
    ),
  };
}

export const stateRows: Rows = { ...birthRows(), ...farewellRows(), ...willRows() };
