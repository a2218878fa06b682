import { setTimeout as pause } from "node:timers/promises";
import { decodeHeader, encodeNotice } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { decodePayload, encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { commitMetric, topicOf } from "@jilian/domain/topics.ts";
import { between, type Draw, type Fault, lasting, type Outcome, type Plan, unless } from "./fault.ts";
import { type Frame, PUBLISH, publishPacket, SUBACK } from "./mqtt-frames.ts";
import type { Rule } from "./proxy.ts";
import type { World, WorldGateway } from "./world.ts";

function isNotice({ type, topic, payload }: Frame): boolean {
  if (type !== PUBLISH || topic?.split("/")[2] !== "NCMD" || !payload) return false;
  return decodePayload(payload).metrics.some(({ name }) => name === commitMetric);
}

/** A rule for commit notices alone, and how many met it. */
function onNotices(rule: Rule): { rule: Rule; met: () => number } {
  let met = 0;
  return {
    rule: (frame, send) => {
      if (!isNotice(frame)) {
        send(frame.bytes);
        return;
      }
      met += 1;
      rule(frame, send);
    },
    met: () => met,
  };
}

async function splitsOf({ gateways, metric }: World): Promise<number> {
  const counts = await Promise.all(gateways.map(({ id }) => metric(id, "jilian_gateway_records_split_total")));
  return counts.reduce((sum, n) => sum + n, 0);
}

const noticeFault = (name: string, rule: (draw: Draw) => Rule): Fault => ({
  name,
  short: false,
  store: "duckdb",
  inject: async (world, draw) => {
    const { gateways } = world;
    const before = await splitsOf(world);
    const all = gateways.map(({ proxy }) => {
      const watched = onNotices(rule(draw));
      proxy.rules({ down: watched.rule });
      return watched;
    });
    // Longer than the gateways wait for a commit: they send again.
    await pause(between(draw, 2500, 3500));
    for (const { proxy } of gateways) proxy.rules({});
    return {
      unfelt: unless({ "there was no notice to a gateway": all.every(({ met }) => met() > 0) }),
      // A record that is stored and never confirmed is freed in the end, by what is meant for poison.
      broken: async () => ((await splitsOf(world)) > before ? ["records were split although the store has them"] : []),
    };
  },
});

function noticePacket({ group, id }: WorldGateway, text: string): Buffer {
  const metric = { name: commitMetric, timestampMs: Date.now(), datatype: DataType.String, declare: true, value: text };
  const payload = encodePayload({ timestampMs: Date.now(), metrics: [metric] });
  return publishPacket(topicOf({ group, type: "NCMD", node: id }), payload);
}

const unsentNotices = "jilian_gateway_commit_notices_unsent_total";

/** The greatest offset that was seen on the wire, by epoch. */
type Sent = Map<string, number>;

/** Records that may have been sent and not have reached the proxy. */
const onTheWay = 10;

/**
 * Notices for what was never sent, for an epoch that is not there, and what is no notice. Not for what was sent: such a notice can come
 * late from a host, and nothing but the broker's access rules tells it from a true one.
 */
function forgeries(gateway: WorldGateway, sent: Sent): Buffer[] {
  const atMs = Date.now();
  const claims = [...sent, ["0123456789abcdef", -1 - onTheWay] as const];
  const known = claims.map(([epoch, last]) =>
    encodeNotice({ epoch, ranges: [[last + 1 + onTheWay, Number.MAX_SAFE_INTEGER]], atMs }),
  );
  const broken = [
    '{"v":1}',
    "",
    "[]",
    '{"v":1,"epoch":"x","ranges":[[0,1]],"atMs":0}',
    '{"v":1,"epoch":"0123456789abcdef","ranges":[[5,1]],"atMs":1}',
  ];
  return [...known, ...broken].map((text) => noticePacket(gateway, text));
}

/** Notes what a gateway sends; toward it, packets go by a rule. */
function watchSent({ proxy }: WorldGateway, sent: Sent, down?: Rule): void {
  proxy.rules({
    up: (frame, send) => {
      if (frame.type === PUBLISH && frame.payload && frame.topic?.split("/")[2] === "DDATA") {
        const { body } = decodePayload(frame.payload);
        const header = body && decodeHeader(body);
        if (header) sent.set(header.epoch, Math.max(header.offset, sent.get(header.epoch) ?? 0));
      }
      send(frame.bytes);
    },
    ...(down ? { down } : {}),
  });
}

/**
 * Forged as soon as the gateway listens again after an outage: what it kept is on disk and not sent yet.
 * @param before what becomes of true notices until then
 */
async function forge(world: World, draw: Draw, plan: Plan, before?: Rule): Promise<Outcome> {
  const unsent = () => Promise.all(world.gateways.map(({ id }) => world.metric(id, unsentNotices)));
  const known = await unsent();
  const sent = new Map(world.gateways.map((gateway): [WorldGateway, Sent] => [gateway, new Map()]));
  for (const [gateway, own] of sent) watchSent(gateway, own, before);
  await lasting(draw, plan, 2000, 2000);
  for (const { proxy } of world.gateways) {
    proxy.refuse(true);
    proxy.reset();
  }
  await lasting(draw, plan, 2000, 3000);
  for (const [gateway, own] of sent) {
    watchSent(gateway, own, ({ bytes, type }, send) => {
      send(bytes);
      if (type === SUBACK) for (const packet of forgeries(gateway, own)) gateway.proxy.inject(packet);
    });
    gateway.proxy.refuse(false);
  }
  await pause(1000);
  for (const { proxy } of world.gateways) proxy.rules({});
  const told = await unsent();
  const isMet = told.every((n, i) => n > (known[i] as number));
  return { unfelt: unless({ "a gateway met no forged notice": isMet }) };
}

/** One in three is lost, one late, one comes thrice, in turn from a drawn one on. */
function mixed(draw: Draw): Rule {
  let n = draw(3);
  return ({ bytes }, send) => {
    const fate = n % 3;
    n += 1;
    if (fate === 1) setTimeout(() => send(bytes), between(draw, 100, 1200)).unref();
    if (fate === 2) for (let i = 0; i < 3; i += 1) send(bytes);
  };
}

/** What is stored is sent again to a process that knows of its offset alone. */
async function forgotten(world: World, draw: Draw): Promise<Outcome> {
  const watched = world.gateways.map(({ proxy }) => {
    const lost = onNotices(() => undefined);
    proxy.rules({ down: lost.rule });
    return lost;
  });
  await pause(between(draw, 700, 1200));
  await world.kill("ingest");
  const isMet = watched.every(({ met }) => met() > 0);
  for (const { proxy } of world.gateways) proxy.rules({});
  await world.start("ingest");
  return {
    unfelt: async () => {
      const rechecked = await world.metric("ingest", "jilian_ingest_rechecked_records_total");
      return unless({ "there was no notice to a gateway": isMet, "no stored record came again": rechecked > 0 })();
    },
  };
}

export const noticeFaults: readonly Fault[] = [
  noticeFault("commit notices lost", () => () => undefined),
  noticeFault("commit notices late", (draw) => {
    const lateMs = between(draw, 1200, 2000);
    return ({ bytes }, send) => setTimeout(() => send(bytes), lateMs).unref();
  }),
  noticeFault("commit notices repeated", (draw) => ({ bytes }, send) => {
    for (let i = 0; i < 3; i += 1) send(bytes);
    setTimeout(() => send(bytes), between(draw, 100, 1500)).unref();
  }),
  {
    name: "commit notices forged",
    short: false,
    store: "duckdb",
    inject: (world, draw, plan) => forge(world, draw, plan),
  },
  {
    name: "commit notices lost, late, repeated, then forged",
    short: true,
    store: "duckdb",
    inject: async (world, draw, plan) => {
      const some = onNotices(mixed(draw));
      const outcome = await forge(world, draw, plan, some.rule);
      const isMet = some.met() >= 3;
      return { unfelt: async () => [...(await outcome.unfelt()), ...(isMet ? [] : ["fewer than three notices came"])] };
    },
  },
  { name: "ingest killed, its last notices lost", short: false, store: "duckdb", inject: forgotten },
];
