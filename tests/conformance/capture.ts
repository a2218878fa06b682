/** What the recorder writes down: packets as they went over the wire, in the order of time, and what the scenario did beside them. */
import type { RawPayload } from "./payload.ts";

export type Who = "edge" | "host" | "probe";

/** A message as published, or as a will left in CONNECT. */
export type Message = {
  topic: string;
  /** Whether the bytes of the topic were UTF-8. */
  isTopicText: boolean;
  qos: number;
  retain: boolean;
  /** As a Sparkplug B payload; undefined where the bytes are not one, and on STATE topics. */
  payload: RawPayload | undefined;
  /** As the JSON of a STATE message; undefined where it is not that. */
  state: { online: unknown; timestamp: unknown } | undefined;
};

type Place = {
  /** UTC ms at the recorder. */
  at: number;
  who: Who;
  /** Names the TCP connection. */
  link: string;
  from: "client" | "server";
};
export type Connect = Place & {
  kind: "connect";
  protocolLevel: number;
  clientId: string;
  clean: boolean;
  will: Message | undefined;
};
export type Connack = Place & { kind: "connack"; code: number };
export type Subscribe = Place & { kind: "subscribe"; id: number; filters: { filter: string; qos: number }[] };
export type Suback = Place & { kind: "suback"; id: number; codes: number[] };
export type Publish = Place & Message & { kind: "publish"; id: number | undefined };
export type Puback = Place & { kind: "puback"; id: number };
/** DISCONNECT of MQTT. */
export type Disconnect = Place & { kind: "disconnect" };
/** The TCP connection is at its end. */
export type End = Place & { kind: "end" };
export type Packet = Connect | Connack | Subscribe | Suback | Publish | Puback | Disconnect | End;

/** What the scenario did: what a check needs to know and no packet tells. */
export type Mark = { at: number; kind: "mark"; what: string; device?: string; metric?: string; value?: number };
/** What the host's live state shows of a node or, with its id behind a slash, of a device. */
export type View = { at: number; kind: "view"; of: string; state: "online" | "stale" | "offline" | "never" };
export type Entry = Packet | Mark | View;
export type Capture = readonly Entry[];

/** Topic levels of a node's or device's message; undefined for STATE and anything else. */
export function levels(
  topic: string,
): { group: string; type: string; node: string; device: string | undefined } | undefined {
  const [root, group = "", type = "", node = "", device] = topic.split("/");
  return root === "spBv1.0" && group !== "STATE" && node !== "" ? { group, type, node, device } : undefined;
}

/** Type of a message: STATE of whatever is not a node's or device's, and none of what a broker tells on topics of its own. */
export const typeOf = ({ topic }: Message): string => (topic.startsWith("$") ? "" : (levels(topic)?.type ?? "STATE"));
export const isPacket = (entry: Entry): entry is Packet => "link" in entry;
export const isPublish = (entry: Entry): entry is Publish => entry.kind === "publish";

/** Entries of one connection, in order. */
export type Link = { name: string; connect: Connect | undefined; entries: Packet[] };

export function linksOf(capture: Capture, who: Who): Link[] {
  const own = capture.filter((entry): entry is Packet => isPacket(entry) && entry.who === who);
  return [...Map.groupBy(own, ({ link }) => link)].map(([name, entries]) => ({
    name,
    entries,
    connect: entries.find((entry): entry is Connect => entry.kind === "connect"),
  }));
}

/** What one side published, of some types of messages or all. */
export function sent(capture: Capture, who: Who, ...types: string[]): Publish[] {
  return capture.filter(
    (entry): entry is Publish =>
      isPublish(entry) &&
      entry.who === who &&
      entry.from === "client" &&
      (types.length === 0 || types.includes(typeOf(entry))),
  );
}

/** What a client was delivered. */
export function delivered(capture: Capture, who: Who, ...types: string[]): Publish[] {
  return capture.filter(
    (entry): entry is Publish =>
      isPublish(entry) && entry.who === who && entry.from === "server" && types.includes(typeOf(entry)),
  );
}

export function marks(capture: Capture, what: string): Mark[] {
  return capture.filter((entry): entry is Mark => entry.kind === "mark" && entry.what === what);
}
