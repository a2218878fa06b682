/** Rows about the life of an edge node: order of births and data, devices, ids, subscriptions (Sparkplug 3.0, 5.2, 5.4, 5.7 to 5.9). */
import {
  type Connect,
  type Entry,
  isPacket,
  type Link,
  levels,
  marks,
  type Publish,
  type Subscribe,
  sent,
} from "./capture.ts";
import {
  type Break,
  both,
  type Check,
  drop,
  each,
  edgeLinks,
  edit,
  editPublish,
  message,
  next,
  packet,
  type Rows,
  rows,
  story,
  type Told,
  where,
} from "./check.ts";

/** Devices that were alive when an NBIRTH was sent: born before and not dead since, on whatever connection. */
function aliveBefore(all: readonly Told[], birth: Told): string[] {
  const alive = new Set<string>();
  for (const { type, device } of all.slice(0, all.indexOf(birth))) {
    if (type === "DBIRTH") alive.add(device);
    if (type === "DDEATH") alive.delete(device);
  }
  return [...alive];
}

/** What follows an NBIRTH on its connection, up to the next one. */
function afterBirth(all: readonly Told[], birth: Told): Told[] {
  const rest = next(all, birth);
  const end = rest.findIndex(({ packet: one, type }) => one.link !== birth.packet.link || type === "NBIRTH");
  return end < 0 ? rest : rest.slice(0, end);
}

/**
 * Every device that is alive is born before any data. One that comes to life later is born then: the specification says how in its chapter 5.9,
 * so that "immediately after NBIRTH" is read here of the devices that were there.
 */
const birthsFirst: Check = (capture) => {
  const all = story(capture);
  return each(
    all.filter(({ type }) => type === "NBIRTH"),
    (birth) => {
      const after = afterBirth(all, birth);
      const firstData = after.findIndex(({ type }) => type.endsWith("DATA"));
      if (firstData < 0) return undefined;
      const born = after
        .slice(0, firstData)
        .filter(({ type }) => type === "DBIRTH")
        .map(({ device }) => device);
      const missing = aliveBefore(all, birth).filter((device) => !born.includes(device));
      return missing.length > 0 && `${where(birth.packet)}: data before the births of ${missing}`;
    },
  );
};
const bornFirst =
  (type: string): Check =>
  (capture) =>
    each(
      story(capture).filter((told) => told.type === type),
      ({ packet: one, birth, births }) => !(birth && births.has("")) && `${where(one)}: unborn`,
    );
/** Data right behind an NBIRTH of a node whose devices were alive. */
const early =
  (type: string): Break =>
  (capture) => {
    const [birth, data] = [capture.findLastIndex(message("edge", "NBIRTH")), capture.findLast(message("edge", type))];
    const copy = { ...(data as Publish), link: (capture[birth] as Publish).link };
    return capture.toSpliced(birth + 1, 0, copy);
  };

function orderRows(): Rows {
  const noBirth = drop(message("edge", "DBIRTH"));
  return {
    ...rows("payloads-dbirth-order", birthsFirst, early("DDATA"), early("NDATA")),
    ...rows(
      "payloads-ndata-order",
      (capture) => both(birthsFirst(capture), bornFirst("NDATA")(capture)),
      early("NDATA"),
    ),
    ...rows(
      "payloads-ddata-order",
      (capture) => both(birthsFirst(capture), bornFirst("DDATA")(capture)),
      early("DDATA"),
      noBirth,
    ),
    ...rows(
      "message-flow-device-birth-publish-nbirth-wait",
      (capture) =>
        each(
          story(capture).filter(({ type }) => type === "DBIRTH"),
          ({ packet: one, births }) => !births.has("") && `${where(one)}: without NBIRTH in its session`,
        ),
      drop(message("edge", "NBIRTH")),
    ),
    ...rows(
      "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
      (capture) => {
        const all = story(capture);
        return each(
          all.filter(({ type }) => type === "DBIRTH"),
          ({ packet: one }) => {
            const birth = all.findLast(({ type, packet: p }) => type === "NBIRTH" && p.link === one.link)?.packet;
            const [own, of] = [levels(one.topic), levels(birth?.topic ?? "")];
            return !(own?.group === of?.group && own?.node === of?.node) && `${where(one)}: another node's`;
          },
        );
      },
      editPublish(message("edge", "DBIRTH"), () => ({ topic: "spBv1.0/f2/DBIRTH/gw-1/press-1" })),
    ),
    ...rows(
      "operational-behavior-device-ddeath",
      (capture) =>
        each(marks(capture, "device lost"), ({ at, device }) => {
          const back = marks(capture, "device back").find((mark) => mark.device === device)?.at ?? 0;
          const dead = sent(capture, "edge", "DDEATH").some(
            (p) => p.at >= at && p.at <= back && p.topic.endsWith(`/${device}`),
          );
          return !dead && `${device} was lost, and no DDEATH told it`;
        }),
      drop(message("edge", "DDEATH")),
    ),
    ...rows(
      "operational-behavior-primary-application-state-with-multiple-servers-single-server",
      (capture) =>
        each(edgeLinks(capture), ({ name, entries, connect }) => {
          const open = edgeLinks(capture).find(
            (other) =>
              other.name !== name &&
              (other.connect?.at ?? 0) < (connect?.at ?? 0) &&
              (other.entries.at(-1)?.at ?? 0) > (connect?.at ?? 0),
          );
          return open && entries.length > 0 ? `${name} began while ${open.name} was open` : undefined;
        }),
      (capture) => {
        const last = capture.findLast((entry): entry is Connect => packet("edge", "connect")(entry)) as Connect;
        const before = capture.find((entry) => isPacket(entry) && entry.who === "edge") as Connect;
        return [...capture, { ...before, kind: "end", at: last.at + 60_000 } as Entry];
      },
    ),
  };
}

function idRows(): Rows {
  const differsByCase = (names: readonly string[]): string | undefined => {
    const distinct = [...new Set(names)];
    return distinct.find((name, i) => distinct.findIndex((other) => other.toLowerCase() === name.toLowerCase()) < i);
  };
  return {
    ...rows(
      "case-sensitivity-sparkplug-ids",
      (capture) => {
        const topics = sent(capture, "edge").map(({ topic }) => levels(topic));
        return each(["group", "node", "device"] as const, (level) => {
          const twin = differsByCase(topics.flatMap((parts) => parts?.[level] ?? []));
          return twin !== undefined && topics.length > 0 && `${twin} differs from another id by case alone`;
        });
      },
      editPublish(message("edge", "DDATA"), () => ({ topic: "spBv1.0/f1/DDATA/gw-1/PRESS-1" })),
    ),
    ...rows(
      "case-sensitivity-metric-names",
      (capture) =>
        each(
          story(capture).filter(({ type }) => type.endsWith("BIRTH")),
          ({ packet: one }) => {
            const twin = differsByCase(one.payload?.metrics.map(({ name = "" }) => name) ?? []);
            return twin !== undefined && `${where(one)}: ${twin} differs from another by case alone`;
          },
        ),
      editPublish(message("edge", "NBIRTH"), ({ payload }) => {
        const first = payload?.metrics[0];
        if (first) payload?.metrics.push({ ...first, name: "BDSEQ" });
      }),
    ),
  };
}

function subscriptionRows(): Rows {
  const filters = ({ entries }: Link) =>
    entries.filter((entry): entry is Subscribe => entry.kind === "subscribe").flatMap((entry) => entry.filters);
  const subscribed =
    (type: string): Check =>
    (capture) =>
      each(edgeLinks(capture), (link) => {
        const { group, node } = levels(link.connect?.will?.topic ?? "") ?? {};
        const found = filters(link).find(({ filter }) => filter.startsWith(`spBv1.0/${group}/${type}/${node}`));
        return found?.qos !== 1 && `${link.name}: ${type} not subscribed at QoS 1`;
      });
  const edited = (type: string, qos: number): Break =>
    edit<Subscribe>(packet("edge", "subscribe"), (entry) => {
      for (const one of entry.filters) if (one.filter.includes(type)) one.qos = qos;
    });
  const deaf = drop(packet("edge", "subscribe"));
  return {
    ...rows("message-flow-edge-node-ncmd-subscribe", subscribed("NCMD"), deaf, edited("NCMD", 0)),
    ...rows("message-flow-device-dcmd-subscribe", subscribed("DCMD"), deaf),
  };
}

export const edgeRows: Rows = { ...orderRows(), ...idRows(), ...subscriptionRows() };
