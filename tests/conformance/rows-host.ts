/** Rows about a host application at work: its session, its commands, how it takes deaths (Sparkplug 3.0, 5.3, 5.6, 5.12, 5.13). */
import {
  type Capture,
  type Connect,
  delivered,
  type Entry,
  isPublish,
  type Link,
  levels,
  marks,
  type Publish,
  type Suback,
  type Subscribe,
  sent,
  typeOf,
  type View,
} from "./capture.ts";
import {
  type Break,
  bdSeqOf,
  both,
  type Check,
  copyBehind,
  drop,
  each,
  edit,
  editMetric,
  editPublish,
  marked,
  message,
  metricNamed,
  next,
  packet,
  type Rows,
  rows,
  where,
} from "./check.ts";
import {
  births,
  bornFirst,
  eachState,
  editState,
  farewells,
  hostLinks,
  isClose,
  isState,
  noWill,
  wills,
} from "./rows-state.ts";

function covers(filter: string, topic: string): boolean {
  const [want, have] = [filter.split("/"), topic.split("/")];
  const at = want.indexOf("#");
  return at >= 0 ? want.slice(0, at).every((part, i) => part === "+" || part === have[i]) : filter === topic;
}

const unborn = drop(isState(true));

/** How a session of the host begins. */
function sessionRows(): Rows {
  const granted = ({ entries, connect }: Link, index: number): boolean => {
    const filters = entries
      .filter((entry): entry is Subscribe => entry.kind === "subscribe")
      .flatMap(({ filters: f }) => f.map(({ filter }) => filter));
    const suback = entries.findIndex(
      (entry): entry is Suback => entry.kind === "suback" && entry.codes.every((code) => code < 3),
    );
    const own = filters.some((filter) => covers(filter, connect?.will?.topic ?? "?"));
    return own && filters.some((filter) => covers(filter, "spBv1.0/f1/NBIRTH/gw-1")) && suback >= 0 && suback < index;
  };
  const heardFirst: Check = (capture) =>
    each(hostLinks(capture), (link) => {
      const index = link.entries.findIndex((entry) => isPublish(entry) && entry.from === "client");
      return !granted(link, index) && `${link.name}: published before it heard STATE and the nodes`;
    });
  const deaf = drop(packet("host", "subscribe"));
  const narrow = edit<Subscribe>(packet("host", "subscribe"), () => ({
    filters: [{ filter: "spBv1.0/f1/#", qos: 1 }],
  }));
  const late = copyBehind(message("host", "NCMD"), (entry) => packet("host", "suback")(entry));
  return {
    ...rows(
      "message-flow-phid-sparkplug-clean-session-311",
      (capture) =>
        each(
          hostLinks(capture),
          ({ name, connect }) => !(connect?.clean && connect.protocolLevel === 4) && `${name}: not clean`,
        ),
      edit<Connect>(packet("host", "connect"), () => ({ clean: false })),
    ),
    ...rows(
      "message-flow-phid-sparkplug-subscription host-topic-phid-birth-sub-required payloads-state-subscribe",
      heardFirst,
      deaf,
      narrow,
    ),
    ...rows(
      `host-topic-phid-birth-message host-topic-phid-birth-required message-flow-phid-sparkplug-state-publish operational-behavior-host-application-connect-birth
       operational-behavior-primary-application-state-with-multiple-servers-state payloads-state-birth`,
      (capture) =>
        both(
          bornFirst(capture),
          eachState(births, ({ qos, retain }) => !(qos === 1 && retain), "QoS or retain")(capture),
        ),
      unborn,
      late,
    ),
    ...rows(
      "intro-sparkplug-host-state components-ph-state conformance-primary-host",
      (capture) => both(bornFirst(capture), wills((will) => will?.state?.online !== false, "no death")(capture)),
      unborn,
      noWill,
    ),
  };
}

/** How it ends, and what it does when somebody says that it has. */
function leaveRows(): Rows {
  const ends = (capture: Capture) =>
    hostLinks(capture).filter(({ entries }) => entries.some(({ kind }) => kind === "disconnect"));
  const takesLeave: Check = (capture) =>
    each(ends(capture), (link) => {
      const at = link.entries.findIndex(({ kind }) => kind === "disconnect");
      const last = sent(link.entries.slice(0, at), "host").at(-1);
      return (
        !(last && last.state?.online === false && isClose(last.state.timestamp, last.at)) &&
        `${link.name}: DISCONNECT without its death`
      );
    });
  return {
    ...rows(
      "host-topic-phid-death-payload-timestamp-disconnect-clean operational-behavior-host-application-termination",
      (capture) =>
        both(
          takesLeave(capture),
          each(
            marks(capture, "host ends"),
            ({ at }) =>
              !farewells(capture).some((one) => one.at >= at && one.at < at + 3000) && "it ended without its death",
          ),
        ),
      drop(isState(false)),
      editState(false, (one) => ({ state: { online: false, timestamp: Number(one.state?.timestamp) - 2000 } })),
    ),
    ...rows(
      "message-flow-hid-sparkplug-state-message-delivered",
      (capture) =>
        each(
          hostLinks(capture).flatMap((link) => {
            const own = delivered(link.entries, "host", "STATE").filter(
              ({ topic, state }) => topic === link.connect?.will?.topic && state?.online === false,
            );
            // Its own farewell comes back to it too.
            return own
              .map((one) => ({ link, one }))
              .filter(({ one: { at } }) => !farewells(link.entries).some((end) => end.at <= at));
          }),
          ({ link, one }) =>
            // What is retained of an earlier host comes with the subscription: the birth with which this one begins is the answer.
            !births(link.entries).some(({ at }, i) => at >= one.at && (i === 0 || at < one.at + 3000)) &&
            `${link.name}: let ${JSON.stringify(one.state)} stand`,
        ),
      unborn,
    ),
  };
}

function commandRows(): Rows {
  const c = "operational-behavior-data-commands";
  const commands = (capture: Capture): Publish[] => sent(capture, "host").filter((one) => typeOf(one) !== "STATE");
  const rebirths = (capture: Capture): Publish[] =>
    commands(capture).filter((one) => /rebirth/i.test(one.payload?.metrics[0]?.name ?? ""));
  const ask = (entry: Capture[number]): boolean =>
    message("host", "NCMD")(entry) && isPublish(entry) && metricNamed(entry, "Node Control/Rebirth") !== undefined;
  const elsewhere = editPublish(ask, () => ({ topic: "spBv1.0/f1/NDATA/gw-1" }));
  const rename = editMetric(
    ask,
    () => true,
    () => ({ name: "Rebirth" }),
  );
  const declared = (capture: Capture, one: Publish) =>
    delivered(capture, "host", "NBIRTH").findLast(
      (birth) => birth.at <= one.at && levels(birth.topic)?.node === levels(one.topic)?.node,
    )?.payload?.metrics ?? [];
  const onNcmd =
    (of: (capture: Capture) => Publish[]): Check =>
    (capture) =>
      each(of(capture), (one) => typeOf(one) !== "NCMD" && `${where(one)}: a command that is no NCMD`);
  return {
    ...rows(
      "topics-ncmd-payload",
      (capture) =>
        each(
          sent(capture, "host", "NCMD"),
          ({ payload, topic }) => !payload?.metrics.length && `${topic}: nothing to write`,
        ),
      editPublish(message("host", "NCMD"), (one) => void Object.assign(one.payload ?? {}, { metrics: [] })),
    ),
    ...rows(
      "payloads-ncmd-seq",
      (capture) =>
        each(sent(capture, "host", "NCMD"), (one) => one.payload?.seq !== undefined && `${where(one)}: a seq`),
      editPublish(message("host", "NCMD"), ({ payload }) => void Object.assign(payload ?? {}, { seq: 0 })),
    ),
    ...rows(`${c}-ncmd-rebirth-verb`, onNcmd(rebirths), elsewhere),
    ...rows(`${c}-ncmd-verb`, onNcmd(commands), elsewhere),
    ...rows(
      `${c}-ncmd-rebirth-name`,
      (capture) =>
        each(rebirths(capture), (one) => !metricNamed(one, "Node Control/Rebirth") && `${where(one)}: another name`),
      rename,
    ),
    ...rows(
      `${c}-ncmd-rebirth-value`,
      (capture) =>
        each(rebirths(capture), (one) => one.payload?.metrics[0]?.value !== true && `${where(one)}: not true`),
      editMetric(
        ask,
        () => true,
        () => ({ value: false }),
      ),
    ),
    ...rows(
      `${c}-ncmd-metric-name`,
      (capture) =>
        each(
          commands(capture),
          (one) =>
            one.payload?.metrics.find(({ name }) => !declared(capture, one).some((born) => born.name === name)) &&
            `${where(one)}: a metric that was not born`,
        ),
      rename,
    ),
    ...rows(
      `${c}-ncmd-metric-value`,
      (capture) =>
        each(commands(capture), (one) => {
          const misfit = one.payload?.metrics.find(({ name, field }) =>
            declared(capture, one).some((born) => born.name === name && born.field !== field),
          );
          return misfit && `${where(one)}: ${misfit.name} is of another type`;
        }),
      editMetric(
        ask,
        () => true,
        (metric) => void Object.assign(metric, { field: 10, value: 1 }),
      ),
    ),
  };
}

/** What the host's live state shows next after an entry, of the node or of its devices. */
const viewsAfter = (capture: Capture, entry: Entry, isDevice: boolean): View[] => {
  const views = next(capture, entry).filter((one): one is View => one.kind === "view");
  return views.filter(({ at, of }) => at === views[0]?.at && of.split("/").length === (isDevice ? 3 : 2));
};
const isViewOf =
  (isDevice: boolean) =>
  (entry: Entry): entry is View =>
    entry.kind === "view" && entry.of.split("/").length === (isDevice ? 3 : 2);

function deathRows(): Rows {
  const t = "operational-behavior-edge-node-termination-host-action";
  /** Deaths that the scenario looked at: between a mark and the view after it. */
  const told = (capture: Capture): Publish[] =>
    ["edge cut", "edge ends", "death of another session"].flatMap((what) =>
      marks(capture, what).flatMap((mark) => delivered(next(capture, mark), "host", "NDEATH")[0] ?? []),
    );
  const bornAs = (capture: Capture, death: Entry): number | undefined => {
    const birth = delivered(capture.slice(0, capture.indexOf(death)), "host", "NBIRTH").at(-1);
    return birth && bdSeqOf(birth);
  };
  /** Only a death of the session that lives counts. */
  const shows =
    (isDevice: boolean): Check =>
    (capture) =>
      each(told(capture), (one) => {
        const expected = bdSeqOf(one) === bornAs(capture, one) ? "offline" : "online";
        const views = viewsAfter(capture, one, isDevice);
        const isShown = views.length > 0 && views.every(({ state }) => state === expected);
        return !isShown && `${where(one)}: shown as ${views.map(({ state }) => state)} instead of ${expected}`;
      });
  const ofDeath: Check = (capture) =>
    each(marks(capture, "device lost"), (mark) => {
      const death = delivered(next(capture, mark), "host", "DDEATH").find(({ topic }) =>
        topic.endsWith(`/${mark.device}`),
      );
      const view = death && viewsAfter(capture, death, true).find(({ of }) => of.endsWith(`/${mark.device}`));
      return view?.state !== "offline" && `${mark.device} died and is shown as ${view?.state}`;
    });
  const shown = (isDevice: boolean, from: View["state"], to: View["state"]): Break =>
    edit<View>(
      (entry) => entry.kind === "view" && entry.state === from && entry.of.split("/").length === (isDevice ? 3 : 2),
      () => ({ state: to }),
    );
  const turned =
    (what: string, fits: (entry: Entry) => boolean, state: View["state"]): Break =>
    (capture) => {
      const from = capture.findIndex(marked(what));
      const at = capture.findIndex((entry, i) => i > from && fits(entry));
      return capture.with(at, { ...(capture[at] as View), state });
    };
  const obeyed = (isDevice: boolean): Break => turned("death of another session", isViewOf(isDevice), "offline");
  const isDead = (entry: Entry): boolean =>
    isViewOf(true)(entry) && entry.of.endsWith("/press-1") && entry.state === "offline";
  const revived = turned("device lost", isDead, "online");
  return {
    ...rows(`${t}-ndeath-node-offline`, shows(false), shown(false, "offline", "online"), obeyed(false)),
    // A value is current only while its device is online: that is what every page and interface shows beside it.
    ...rows(
      `${t}-ndeath-devices-offline ${t}-ndeath-devices-tags-stale`,
      shows(true),
      shown(true, "offline", "online"),
      obeyed(true),
    ),
    ...rows(`${t}-ddeath-devices-offline ${t}-ddeath-devices-tags-stale`, ofDeath, revived),
  };
}

export const hostRows: Rows = { ...sessionRows(), ...leaveRows(), ...commandRows(), ...deathRows() };
