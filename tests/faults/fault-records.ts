import { setTimeout as delay } from "node:timers/promises";
import { decodeHeader, encodeHeader, type RecordHeader } from "@jilian/domain/commit.ts";
import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import type { AsideRequest, ControlLine } from "@jilian/gateway/control.ts";
import { askGateway } from "@jilian/gateway/control-client.ts";
import { anyGateway, came, type Draw, type Fault, type Outcome, unless } from "./fault.ts";
import { pointName } from "./meters.ts";
import { type Frame, PUBLISH } from "./mqtt-frames.ts";
import { storeSearch } from "./stored.ts";
import type { World, WorldGateway } from "./world.ts";

function headerOf({ type, topic, payload }: Frame): RecordHeader | undefined {
  if (type !== PUBLISH || topic?.split("/")[2] !== "DDATA" || !payload) return undefined;
  const { body } = decodePayload(payload);
  return body && decodeHeader(body);
}

/** The same packet under another offset: a header has one length, whatever is in it. */
function underOffset({ bytes }: Frame, header: RecordHeader, offset: number): Buffer {
  const changed = Buffer.from(bytes);
  Buffer.from(encodeHeader({ ...header, offset })).copy(changed, bytes.indexOf(encodeHeader(header)));
  return changed;
}

/** Records of an epoch before a machine is reverted, as few as its offsets go back by. */
const setBackBy = 10;
/** A gateway obeys one set-back a minute and holds the next, with all that is pending: a run waits until it would be heard at once. */
const setBackEveryMs = 61_000;
const setBackMs = new WeakMap<WorldGateway, number>();

/**
 * What the platform sees of a virtual machine that is reverted while it runs: from some record on, offsets of the same epoch come a second
 * time, with other readings. The gateway goes by its own numbers meanwhile.
 */
async function reverted(world: World, draw: Draw): Promise<Outcome> {
  const gateway = anyGateway(world, draw);
  const { id, proxy } = gateway;
  await delay(Math.max(0, (setBackMs.get(gateway) ?? 0) + setBackEveryMs - Date.now()));
  const setBacks = () => world.metric(id, "jilian_gateway_set_backs_total");
  const before = await setBacks();
  let first: RecordHeader | undefined;
  let rewritten = 0;
  proxy.rules({
    up: (frame, send) => {
      const header = headerOf(frame);
      first ??= header;
      if (!header || header.epoch !== first?.epoch || header.offset < first.offset + setBackBy) {
        send(frame.bytes);
        return;
      }
      rewritten += 1;
      send(underOffset(frame, header, header.offset - setBackBy));
    },
  });
  const isTold = await came(10_000, async () => (await setBacks()) > before);
  proxy.rules({});
  setBackMs.set(gateway, Date.now());
  return {
    unfelt: unless({ "no record came under a known offset": rewritten > 0 }),
    broken: () => (isTold ? [] : ["the gateway was not told that it had been set back"]),
  };
}

/** How long it may take until a refused sample is set aside, on a busy machine. */
const setAsideMs = 40_000;

async function ask({ outboxFile }: WorldGateway, command: AsideRequest["command"]): Promise<ControlLine[]> {
  const lines: ControlLine[] = [];
  await askGateway(outboxFile, { v: 1, command, ids: "all" }, (line) => lines.push(line));
  return lines;
}

const recordsOf = (lines: readonly ControlLine[]): number =>
  lines.reduce((sum, line) => sum + (line.type === "done" ? line.records : 0), 0);

/** Refuses writes to InfluxDB that hold a wanted value of a device's counter. @returns how many were refused, and which values */
function refuse(world: World, { id }: WorldGateway, device: string, isWanted: (value: string) => boolean) {
  const tags = [`node=${id}`, `device=${device}`, `metric=${pointName}`];
  const found = { writes: 0, values: new Set<string>() };
  world.influxProxy?.decide(({ path, body }) => {
    if (!path.startsWith("/write")) return "pass";
    const held = body.split("\n").flatMap((line) => {
      const [key = "", value] = line.split(/ vi=(\d+)i,/);
      return value !== undefined && tags.every((tag) => key.split(",").includes(tag)) && isWanted(value) ? [value] : [];
    });
    if (held.length === 0) return "pass";
    found.writes += 1;
    for (const value of held) found.values.add(value);
    return { status: 400, body: JSON.stringify({ error: "partial write: the sample of a test dropped=1" }) };
  });
  return found;
}

function anyMeter(world: World, draw: Draw) {
  const gateway = anyGateway(world, draw);
  return { gateway, meter: gateway.meters[draw(gateway.meters.length)] as WorldGateway["meters"][number] };
}

/** InfluxDB is repaired, and a person sends again what was set aside. @returns how many records that were */
async function replayed(world: World, gateway: WorldGateway): Promise<number> {
  world.influxProxy?.decide(() => "pass");
  // What is set aside is told once a minute, and with each birth.
  gateway.proxy.reset();
  return recordsOf(await ask(gateway, "replay"));
}

/** InfluxDB refuses whatever holds one sample, until that is set aside; then it is repaired, and a person sends the sample again. */
async function poison(world: World, draw: Draw): Promise<Outcome> {
  const { gateway, meter } = anyMeter(world, draw);
  const search = storeSearch(world);
  const startedMs = Date.now();
  const after = BigInt(meter.answers()[pointName].at(-1)?.value ?? 0);
  let victim: string | undefined;
  const refused = refuse(world, gateway, meter.device, (value) => {
    if (BigInt(value) > after) victim ??= value;
    return value === victim;
  });
  const isAside = await came(setAsideMs, async () => recordsOf(await ask(gateway, "list")) > 0);
  const asideMs = Date.now();
  const isAlone = await came(10_000, async () => {
    const missing = await search.missing(startedMs, asideMs);
    return missing.every(({ answer }) => answer.value === victim) && missing.length <= 1;
  });
  const count = await replayed(world, gateway);
  return {
    unfelt: unless({ "InfluxDB refused nothing": refused.writes > 0 }),
    broken: () => [
      ...(isAside ? [] : ["what the store refused was not set aside"]),
      ...(isAlone ? [] : ["more than the sample that was refused had to wait"]),
      ...(count === 1 ? [] : [`${count} records were set aside, not one sample`]),
    ],
  };
}

/** How long InfluxDB refuses every sample of a metric, and how many that are at least. */
const refusesMs = 5000;
const refusedSamples = 10;

/** InfluxDB refuses every sample of one metric for a while, which is in every record of its device: the other metric goes on. */
async function poisonMetric(world: World, draw: Draw): Promise<Outcome> {
  const { gateway, meter } = anyMeter(world, draw);
  const search = storeSearch(world);
  const startedMs = Date.now();
  const refused = refuse(world, gateway, meter.device, () => true);
  await delay(refusesMs);
  const untilMs = Date.now();
  const isAlone = await came(10_000, async () => {
    const missing = await search.missing(startedMs, untilMs);
    return missing.every((one) => one.meter === meter && refused.values.has(one.answer.value));
  });
  const asides = recordsOf(await ask(gateway, "list"));
  let count = await replayed(world, gateway);
  const repairedMs = Date.now();
  // A notice that went with the connection is told again: what it names is set aside after the first replay.
  const isReplayed = await came(setAsideMs, async () => {
    count += recordsOf(await ask(gateway, "replay"));
    return (await search.missing(startedMs, repairedMs)).length === 0;
  });
  const isFelt = refused.values.size >= refusedSamples;
  return {
    unfelt: unless({ [`InfluxDB refused fewer than ${refusedSamples} samples`]: isFelt }),
    broken: () => [
      ...(isAlone ? [] : ["more than the samples that were refused had to wait"]),
      ...(asides >= refusedSamples ? [] : [`${asides} samples were set aside`]),
      ...(isReplayed && count >= asides ? [] : [`${count} samples were replayed, ${asides} and more were set aside`]),
    ],
  };
}

export const recordFaults: readonly Fault[] = [
  {
    name: "offsets used again by a machine reverted while it ran",
    short: false,
    store: "duckdb",
    findings: ["GATEWAY_SET_BACK"],
    inject: reverted,
  },
  {
    name: "poison: a sample that the store refuses, set aside and replayed",
    short: false,
    store: "influx",
    needs: ["influx"],
    findings: ["OUTBOX_SET_ASIDE"],
    inject: poison,
  },
  {
    name: "poison: a metric that the store refuses for a while, set aside and replayed",
    short: false,
    store: "influx",
    needs: ["influx"],
    findings: ["OUTBOX_SET_ASIDE"],
    inject: poisonMetric,
  },
];
