/** Plays the scenario from start to end, step by step; each waits for what it has caused, none for a time. */
import { DataType } from "@jilian/domain/datatypes.ts";
import { encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, rebirthMetric, stateTopic, topicOf } from "@jilian/domain/topics.ts";
import { statePayload } from "@jilian/ingest/bus.ts";
import { deviceState, type LiveState } from "@jilian/store/live.ts";
import { type Capture, delivered, type Entry, isPublish, linksOf, type Publish, sent, typeOf } from "./capture.ts";
import type { Plc } from "./plc.ts";
import { certificatesFilter } from "./rows-aware.ts";
import { group, hostId, node, openScene, register, reorderMs, type Scene } from "./scenario.ts";

const devices = ["press-1", "meter-1"];
const ncmd = topicOf({ group, type: "NCMD", node });
const isData = (packet: Publish): boolean => typeOf(packet) === "DDATA";

function rebirthRequest(): Buffer {
  const metric = { name: rebirthMetric, timestampMs: Date.now(), datatype: DataType.Boolean, value: true };
  return Buffer.from(encodePayload({ timestampMs: Date.now(), metrics: [metric] }));
}

/** Entries from now on. */
function since(log: Entry[]): () => Capture {
  const from = log.length;
  return () => log.slice(from);
}

const areOnline = (live: LiveState): boolean =>
  devices.every((device) => deviceState(live, group, node, device, Date.now()) === "online");
const areOffline = (live: LiveState): boolean =>
  devices.every((device) => deviceState(live, group, node, device, Date.now()) === "offline");

/** The whole birth sequence and readings of both devices after it. */
function bornAgain(scene: Scene, what: string, seen: () => Capture): Promise<unknown> {
  return scene.until(what, () => {
    const all = seen();
    const birth = all.findLastIndex((entry) => sent([entry], "edge", "NBIRTH").length > 0);
    if (birth < 0) return false;
    const after = sent(all.slice(birth), "edge", "DBIRTH", "DDATA");
    return devices.every((device) =>
      ["DBIRTH", "DDATA"].every((type) => after.some((p) => typeOf(p) === type && p.topic.endsWith(`/${device}`))),
    );
  });
}

/** A gateway with a primary host, which is not there, then another one's, then offline, then online in the past. */
async function waitForHost(scene: Scene): Promise<void> {
  const { log, until, mark } = scene;
  await until("the edge's subscription", () => linksOf(log, "edge")[0]?.entries.some(({ kind }) => kind === "suback"));
  const other = await scene.startProbe("other");
  const own = await scene.startProbe(hostId);
  const flags = { qos: 1, retain: true } as const;
  mark("host of another id");
  await other.publishAsync(stateTopic("other"), Buffer.from(statePayload(true, Date.now())), flags);
  mark("host offline");
  await own.publishAsync(stateTopic(hostId), Buffer.from(statePayload(false, Date.now())), flags);
  mark("host online in the past");
  await own.publishAsync(stateTopic(hostId), Buffer.from(statePayload(true, Date.now() - 60_000)), flags);
  mark("host offline again");
  await own.publishAsync(stateTopic(hostId), Buffer.from(statePayload(false, Date.now())), flags);
  await other.publishAsync(ncmd, rebirthRequest(), { qos: 0 });
  await until("all of that at the edge", () => {
    return delivered(log, "edge", "STATE").length >= 3 && delivered(log, "edge", "NCMD").length > 0;
  });
  await Promise.all([other.endAsync(), own.endAsync()]);
}

/** New values at both devices, on their way to the host. */
async function changeValues(scene: Scene): Promise<void> {
  const { plc, opcua, mark, until, log } = scene;
  const seen = since(log);
  plc.set(register.temperature, 4242);
  mark("value", { device: "press-1", metric: "temperature", value: 4242 });
  opcua.set("energy", { dataType: "Double", value: 2.5 });
  mark("value", { device: "meter-1", metric: "energy", value: 2.5 });
  const has = (value: number) =>
    sent(seen(), "edge", "DDATA").some((p) => p.payload?.metrics.some((metric) => Number(metric.value) === value));
  await until("the new values", () => has(4242) && has(2.5));
}

/** A message that is lost, and two that come in the wrong order. */
async function breakOrder(scene: Scene, live: LiveState): Promise<void> {
  const { log, edge, mark, until } = scene;
  const seen = since(log);
  mark("message lost");
  await edge.loseNext(isData);
  await until("a rebirth request", () => sent(seen(), "host", "NCMD").some(asksRebirth));
  await bornAgain(scene, "births after it", seen);
  await until("the devices online", () => areOnline(live));
  mark("messages swapped");
  const { at } = await edge.swapNext(isData);
  await until("data after the reorder time", () =>
    delivered(log, "host", "DDATA").some((p) => p.at > at + 3 * reorderMs),
  );
  mark("swap over");
}

export const asksRebirth = ({ payload }: Publish): boolean =>
  payload?.metrics.some(({ name }) => name === rebirthMetric) === true;

/** The node says that it has no connection to the device. */
export const tellsLoss = ({ payload }: Publish): boolean =>
  payload?.metrics.some(({ name, value }) => value === false && name === "Devices/press-1/Connected") === true;

async function loseDevice(scene: Scene, live: LiveState): Promise<void> {
  const { log, plc, mark, until } = scene;
  const seen = since(log);
  scene.view(live);
  mark("device lost", { device: "press-1" });
  await plc.off(true);
  await until("DDEATH at the host", () => delivered(seen(), "host", "DDEATH").length > 0);
  await until("the device offline", () => deviceState(live, group, node, "press-1", Date.now()) === "offline");
  // What was lost and is back within a second is told by DDEATH and DBIRTH alone: the node's own metrics are looked at once a second.
  await until("the node's word of it", () => sent(seen(), "edge", "NBIRTH", "NDATA").some(tellsLoss));
  scene.view(live);
  mark("device back", { device: "press-1" });
  await plc.off(false);
  await until("the device online", () => areOnline(live));
  scene.view(live);
}

/** What only looks like an end: a death of an earlier session, and news of the host that are old. */
async function withstand(scene: Scene, live: LiveState): Promise<void> {
  const { log, host, edge, mark, until } = scene;
  let seen = since(log);
  const metrics = [
    { name: bdSeqMetric, timestampMs: Date.now(), datatype: DataType.Int64, declare: true, value: 200n },
  ];
  mark("death of another session");
  host.inject(topicOf({ group, type: "NDEATH", node }), encodePayload({ timestampMs: Date.now(), metrics }));
  await until("data after that", () => delivered(seen(), "host", "DDATA").length > 0);
  seen = since(log);
  mark("state of the host denied");
  host.inject(stateTopic(hostId), statePayload(false, Date.now()));
  await until("the host's answer", () => sent(seen(), "host", "STATE").length > 0);
  // It has answered, and so has handled the death before it as well.
  scene.view(live);
  seen = since(log);
  mark("host offline in the past");
  edge.inject(stateTopic(hostId), statePayload(false, Date.now() - 60_000));
  await until("data after that", () => sent(seen(), "edge", "DDATA").length > 2);
}

/** The network to the broker ends without a word, and comes back when readings have gathered. */
async function cutEdge(scene: Scene, live: LiveState, waiting: () => number): Promise<void> {
  const { log, edge, mark, until } = scene;
  const seen = since(log);
  mark("edge cut");
  await edge.refuse(true);
  edge.cut();
  await until("the will at the host", () => delivered(seen(), "host", "NDEATH").length > 0);
  await until("the devices offline", () => areOffline(live));
  scene.view(live);
  const before = waiting();
  await until("a backlog", () => waiting() > before + 10);
  await edge.refuse(false);
  mark("edge again");
  await bornAgain(scene, "births after the cut", seen);
  await until("the backlog", () =>
    sent(seen(), "edge", "DDATA").some((p) => p.payload?.metrics.some(({ isHistorical }) => isHistorical)),
  );
  await until("the devices online", () => areOnline(live));
  scene.view(live);
}

/** Asks a broker that keeps births as certificates for them, and any other in vain. */
async function askForCertificates(scene: Scene): Promise<void> {
  const { log, until } = scene;
  const seen = since(log);
  const probe = await scene.startProbe("other");
  const granted = await probe.subscribeAsync(certificatesFilter, { qos: 1 }).catch(() => []);
  const isKept = granted.some(({ qos }) => qos < 128);
  const came = (): number => seen().filter((entry) => isPublish(entry) && entry.topic.startsWith("$sparkplug/")).length;
  if (isKept) await until("certificates of the node and its devices", () => came() > devices.length);
  await probe.endAsync();
}

/** Messages of its own to a broker: both QoS, retained and not, live and later. */
async function probeBroker(scene: Scene): Promise<void> {
  const { log, until } = scene;
  const seen = since(log);
  const probe = await scene.startProbe("other");
  const topic = topicOf({ group, type: "NCMD", node: "nobody" });
  await probe.subscribeAsync({
    [topic]: { qos: 1 },
    [stateTopic(hostId)]: { qos: 1 },
    [stateTopic("other")]: { qos: 1 },
  });
  await until("what was retained", () => delivered(seen(), "probe", "STATE").length >= 2);
  await probe.publishAsync(topic, rebirthRequest(), { qos: 0 });
  await probe.publishAsync(topic, rebirthRequest(), { qos: 1 });
  const state = Buffer.from(statePayload(false, Date.now()));
  await probe.publishAsync(stateTopic("other"), state, { qos: 1, retain: true });
  await until("what the probe subscribed to", () => {
    const got = delivered(seen(), "probe", "NCMD", "STATE");
    return got.filter((p) => typeOf(p) === "NCMD").length >= 2 && got.filter((p) => typeOf(p) === "STATE").length >= 3;
  });
  await probe.endAsync();
}

/** The counter in the PLC: each step is one reading more. It stands still at first. */
function startCounter(plc: Plc) {
  let count = 0;
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => clearInterval(timer);
  const step = (): void => {
    count += 1;
    plc.set(register.count, count);
  };
  return {
    stop,
    pace: (everyMs: number): void => {
      stop();
      timer = setInterval(step, everyMs);
    },
  };
}

/** Records everything. Takes some seconds. @throws Error when a step does not come about within 30 s */
export async function record(): Promise<Capture> {
  const scene = await openScene();
  const { log, until, mark, plc } = scene;
  const counter = startCounter(plc);
  try {
    mark("start");
    let gateway = scene.startGateway();
    await waitForHost(scene);
    let seen = since(log);
    mark("host starts");
    counter.pace(50);
    let host = await scene.startHost();
    await bornAgain(scene, "the first births", seen);
    await until("the devices online", () => areOnline(host.live));
    scene.view(host.live);
    await changeValues(scene);
    await breakOrder(scene, host.live);
    await loseDevice(scene, host.live);
    await withstand(scene, host.live);
    counter.pace(5);
    await until("seq beyond 255", () => sent(log, "edge", "DDATA").some(({ payload }) => payload?.seq === 0));
    counter.pace(50);
    seen = since(log);
    mark("host ends");
    await host.close();
    await until(
      "the edge gone and connected again",
      () => sent(seen(), "edge", "NDEATH").length > 0 && isSubscribed(seen()),
    );
    await probeBroker(scene);
    seen = since(log);
    mark("host starts");
    host = await scene.startHost();
    await bornAgain(scene, "births for the host", seen);
    await until("the devices online", () => areOnline(host.live));
    await cutEdge(scene, host.live, () => gateway.stats().outbox.pendingRecords);
    await askForCertificates(scene);
    seen = since(log);
    mark("host cut");
    host.lose();
    await bornAgain(scene, "births after the host's return", seen);
    await until("the devices online", () => areOnline(host.live));
    seen = since(log);
    mark("edge ends");
    await gateway.close();
    await until("the end at the host", () => delivered(seen(), "host", "NDEATH").length > 0);
    await until("the devices offline", () => areOffline(host.live));
    scene.view(host.live);
    seen = since(log);
    mark("edge starts");
    gateway = scene.startGateway();
    await bornAgain(scene, "births after the restart", seen);
    await until("the devices connected", () => gateway.stats().devices.every(({ connected }) => connected));
    await gateway.close();
    await host.close();
    mark("end");
  } finally {
    counter.stop();
    await scene.close();
  }
  return log;
}

const isSubscribed = (entries: Capture): boolean =>
  linksOf(entries, "edge").some(({ connect, entries: own }) => connect && own.some(({ kind }) => kind === "suback"));
