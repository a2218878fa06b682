/** Rows about what an edge node is told: by its primary host's STATE, and by requests for births (Sparkplug 3.0, 5.4, 5.5, 5.12). */
import {
  type Capture,
  delivered,
  type Entry,
  isPublish,
  type Link,
  marks,
  type Publish,
  type Subscribe,
  typeOf,
} from "./capture.ts";
import {
  type Break,
  bdSeqOf,
  both,
  type Check,
  copyBehind,
  drop,
  each,
  edgeLinks,
  edit,
  editMetric,
  marked,
  message,
  metricNamed,
  packet,
  publishesOf,
  type Rows,
  rows,
  where,
} from "./check.ts";

const flow = "message-flow-edge-node-birth-publish";
const withinMs = 5000;
/** The gateway answers once a second at most. */
const answerMs = 2000;

/** The host whose STATE a connection subscribed to. */
function primaryOf({ entries }: Link): string[] {
  return entries
    .filter((entry): entry is Subscribe => entry.kind === "subscribe")
    .flatMap(({ filters }) =>
      filters.map(({ filter }) => filter).filter((filter) => filter.startsWith("spBv1.0/STATE/")),
    );
}
const isBirth = (entry: Entry): entry is Publish =>
  isPublish(entry) && entry.from === "client" && typeOf(entry).endsWith("BIRTH");
const timeOf = ({ state }: Publish): number => Number(state?.timestamp);

/** What was heard of the host before the first birth of each connection. */
const beforeBirth =
  (faultOf: (heard: Publish[], link: Link) => boolean, why: string): Check =>
  (capture) =>
    each(
      edgeLinks(capture).filter(({ entries }) => entries.some(isBirth)),
      (link) => {
        const heard = delivered(link.entries.slice(0, link.entries.findIndex(isBirth)), "edge", "STATE");
        return faultOf(heard, link) && `${link.name}: ${why}`;
      },
    );
/** No birth while the scenario has the host in a state that does not count. */
const quietDuring =
  (from: string, to: string): Check =>
  (capture) => {
    const [start, end] = [marks(capture, from)[0], marks(capture, to)[0]];
    const between = start && end ? capture.slice(capture.indexOf(start), capture.indexOf(end)) : [];
    const born = between.filter(isBirth).map((one) => `${where(one)}: born after "${from}"`);
    return { seen: between.length, faults: born };
  };
const bornAt = (what: string): Break => copyBehind(message("edge", "NBIRTH"), marked(what), () => ({ link: "edge 1" }));
const mute = drop((entry) => message("edge", "STATE", "server")(entry));

/** Offline news of the primary host to a node that is born, each with whether they are new. */
function offlines(capture: Capture): { link: Link; told: Publish; isNew: boolean }[] {
  return edgeLinks(capture).flatMap((link) => {
    let newest = 0;
    let isBorn = false;
    const found: { link: Link; told: Publish; isNew: boolean }[] = [];
    for (const entry of link.entries) {
      if (!isPublish(entry)) continue;
      if (entry.from === "client") isBorn = typeOf(entry) !== "NDEATH";
      else if (typeOf(entry) === "STATE") {
        const isNew = timeOf(entry) >= newest;
        if (entry.state?.online === false && isBorn) found.push({ link, told: entry, isNew });
        if (entry.state?.online === false && isBorn && isNew) isBorn = false;
        newest = Math.max(newest, timeOf(entry));
      }
    }
    return found;
  });
}
const after = (link: Link, told: Publish) => link.entries.slice(link.entries.indexOf(told) + 1);

const leaves: Check = (capture) =>
  each(
    offlines(capture).filter(({ isNew }) => isNew),
    ({ link, told }) => {
      const rest = after(link, told);
      const death = rest.findIndex((entry) => isPublish(entry) && typeOf(entry) === "NDEATH");
      const end = rest.findIndex(({ kind }) => kind === "disconnect");
      const isSoon = (rest[end]?.at ?? Number.POSITIVE_INFINITY) - told.at < withinMs;
      const isQuiet = publishesOf({ ...link, entries: rest.slice(death + 1) }).length === 0;
      return !(death >= 0 && end > death && isSoon && isQuiet) && `${where(told)}: no NDEATH and DISCONNECT after it`;
    },
  );
const stays = drop(
  (entry) => packet("edge", "disconnect")(entry) || (message("edge", "NDEATH")(entry) && isPublish(entry)),
);

function hostRows(): Rows {
  const o = "operational-behavior-edge-node";
  const known = beforeBirth((heard) => heard.at(-1)?.state?.online !== true, "born without its host online");
  return {
    ...rows(
      `${flow}-phid-wait ${o}-birth-sequence-wait`,
      (capture) => both(known(capture), quietDuring("start", "host starts")(capture)),
      mute,
      bornAt("host offline again"),
    ),
    ...rows(
      `${flow}-phid-wait-id`,
      (capture) =>
        both(
          beforeBirth(
            (heard, link) =>
              !(primaryOf(link).length === 1 && heard.every(({ topic }) => topic === primaryOf(link)[0])),
            "another host's STATE",
          )(capture),
          quietDuring("host of another id", "host starts")(capture),
        ),
      edit<Subscribe>(
        packet("edge", "subscribe"),
        ({ filters }) => void filters.push({ filter: "spBv1.0/STATE/+", qos: 1 }),
      ),
      bornAt("host of another id"),
    ),
    ...rows(
      `${flow}-phid-wait-online`,
      (capture) => both(known(capture), quietDuring("host offline", "host starts")(capture)),
      (capture) => {
        const birth = capture.findLastIndex(message("edge", "NBIRTH"));
        const at = capture.slice(0, birth).findLastIndex(message("edge", "STATE", "server"));
        const state = structuredClone(capture[at]) as Publish;
        if (state.state) state.state.online = false;
        return capture.with(at, state);
      },
      bornAt("host offline"),
    ),
    ...rows(
      `${flow}-phid-wait-timestamp`,
      (capture) =>
        both(
          beforeBirth(
            (heard) => heard.some((one) => timeOf(one) > timeOf(heard.at(-1) as Publish)),
            "born by news that were old",
          )(capture),
          quietDuring("host online in the past", "host starts")(capture),
        ),
      bornAt("host online in the past"),
    ),
    ...rows(`${flow}-phid-offline ${o}-termination-host-offline`, leaves, stays, drop(packet("edge", "disconnect"))),
    ...rows(
      `${o}-termination-host-offline-reconnect`,
      (capture) =>
        each(
          offlines(capture).filter(({ isNew }) => isNew),
          ({ link, told }) => {
            const again = edgeLinks(capture).some(
              ({ connect }) => connect && connect.at > told.at && connect.at < told.at + withinMs,
            );
            return !again && `${link.name}: no CONNECT after the host left`;
          },
        ),
      drop((entry) => packet("edge", "connect")(entry) && (entry as { link: string }).link !== "edge 1"),
    ),
    ...rows(
      `${o}-termination-host-offline-timestamp`,
      (capture) =>
        each(
          offlines(capture).filter(({ isNew }) => !isNew),
          ({ link, told }) => {
            const [first, second] = publishesOf({ ...link, entries: after(link, told) });
            return (
              !(first && second && typeOf(first) !== "NDEATH" && typeOf(second) !== "NDEATH") &&
              `${where(told)}: old, and obeyed`
            );
          },
        ),
      copyBehind(
        message("edge", "NDEATH"),
        (entry) =>
          message("edge", "STATE", "server")(entry) &&
          isPublish(entry) &&
          entry.state?.online === false &&
          entry.qos === 0,
      ),
    ),
    ...rows(
      "operational-behavior-primary-application-state-with-multiple-servers-state-subs",
      (capture) =>
        each(edgeLinks(capture), (link) => primaryOf(link).length === 0 && `${link.name}: STATE not subscribed`),
      drop(packet("edge", "subscribe")),
    ),
  };
}

export const rebirthMetric = "Node Control/Rebirth";
/**
 * Requests for births to a node that was born, with what it published after them on the connection. One that came just before the end of its
 * connection cannot be answered on it, and is left out.
 */
function requests(capture: Capture): { asked: Publish; link: Link; after: Publish[] }[] {
  return edgeLinks(capture).flatMap((link) =>
    delivered(link.entries, "edge", "NCMD")
      .filter((one) => metricNamed(one, rebirthMetric)?.value === true)
      .filter((one) => link.entries.slice(0, link.entries.indexOf(one)).some(isBirth))
      .map((asked) => ({ asked, link, after: publishesOf({ ...link, entries: after(link, asked) }) }))
      .filter(({ asked, after: told }) => {
        const hadTime = (link.entries.at(-1)?.at ?? 0) - asked.at > answerMs;
        return hadTime || told.some((one) => typeOf(one) === "NBIRTH");
      }),
  );
}
const upToBirth = (told: Publish[]): Publish[] =>
  told.slice(
    0,
    told.findIndex((one) => typeOf(one) === "NBIRTH"),
  );

function requestRows(): Rows {
  const c = "operational-behavior-data-commands-rebirth-action";
  const unanswered: Break = (capture) => {
    const asked = requests(capture)[0]?.asked;
    const isAnswer = (entry: Entry): boolean =>
      message("edge", "NBIRTH")(entry) && isPublish(entry) && entry.link === asked?.link;
    return capture.filter((entry, i) => !(isAnswer(entry) && asked && i > capture.indexOf(asked)));
  };
  return {
    ...rows(
      `${c}-1`,
      (capture) => ({
        seen: requests(capture).length,
        faults: requests(capture).flatMap(({ asked, after: told }) =>
          upToBirth(told)
            .filter((one) => typeOf(one).endsWith("DATA"))
            .map((one) => `${where(one)}: sent between ${where(asked)} and the births`),
        ),
      }),
      (capture) => copyBehind(message("edge", "DDATA"), (entry) => entry === requests(capture)[0]?.asked)(capture),
    ),
    ...rows(
      `${c}-2`,
      (capture) =>
        each(requests(capture), ({ asked, link, after: told }) => {
          const start = told.findIndex((one) => typeOf(one) === "NBIRTH");
          const isSoon = (told[start]?.at ?? Number.POSITIVE_INFINITY) - asked.at < withinMs;
          const alive = new Set<string>();
          for (const one of publishesOf({
            ...link,
            entries: link.entries.slice(0, link.entries.indexOf(told[start] as Publish)),
          })) {
            if (typeOf(one) === "NBIRTH") alive.clear();
            if (typeOf(one) === "DBIRTH") alive.add(one.topic.split("/")[4] ?? "");
            if (typeOf(one) === "DDEATH") alive.delete(one.topic.split("/")[4] ?? "");
          }
          const rest = told.slice(start + 1);
          const firstData = rest.findIndex((one) => typeOf(one).endsWith("DATA"));
          const born = rest.slice(0, firstData < 0 ? rest.length : firstData).filter((one) => typeOf(one) === "DBIRTH");
          const isWhole = [...alive].every((device) => born.some(({ topic }) => topic.endsWith(`/${device}`)));
          return !(start >= 0 && isSoon && isWhole) && `${where(asked)}: not followed by all births`;
        }),
      unanswered,
      (capture) => {
        const asked = requests(capture)[0]?.asked;
        const birth = capture.findIndex(
          (entry) => message("edge", "DBIRTH")(entry) && asked !== undefined && entry.at >= asked.at,
        );
        return capture.toSpliced(birth, 1);
      },
    ),
    ...rows(
      `${c}-3`,
      (capture) =>
        each(requests(capture), ({ asked, link, after: told }) => {
          const birth = told.find((one) => typeOf(one) === "NBIRTH");
          const will = link.connect?.will;
          return !(birth && will && bdSeqOf(birth) === bdSeqOf(will)) && `${where(asked)}: births of another bdSeq`;
        }),
      (capture) => {
        const asked = requests(capture)[0]?.asked;
        const at = capture.findIndex(
          (entry) => message("edge", "NBIRTH")(entry) && asked !== undefined && entry.at >= asked.at,
        );
        return editMetric(
          (entry) => entry === capture[at],
          ({ name }) => name === "bdSeq",
          () => ({ value: 99n }),
        )(capture);
      },
    ),
  };
}

export const primaryRows: Rows = { ...hostRows(), ...requestRows() };
