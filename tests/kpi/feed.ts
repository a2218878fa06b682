/**
 * How the plant's readings reach the platform: records of outboxes as real Sparkplug messages, live, late after an outage of the uplink,
 * shuffled, repeated under the same id or another. Whatever the way, the same readings arrive in the end.
 */
import { accountMetric, encodeAccount, noCounts } from "@jilian/domain/account.ts";
import { encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { definitionProperties } from "@jilian/domain/sample.ts";
import { encodePayload, type OutMetric, property } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, type MessageType, rebirthMetric, topicOf } from "@jilian/domain/topics.ts";
import { random } from "@jilian/ingest/test-random.ts";
import { type Book, bookOf } from "./book.ts";
import type { Plant, PlantDevice, PlantGateway, PlantMetric } from "./plant.ts";
import { clockStretches, type Poll, pollsOf } from "./signals.ts";

/** How readings arrive. */
export type Manner = {
  seed: number;
  /** Uplinks fail, single records are late, some come again. False: each arrives at once, in order. */
  troubled: boolean;
  /** Of all records, those that wait up to six hours; what arrives together comes in random order. */
  shuffledShare: number;
};

export type Message = { topic: string; payload: Uint8Array };

type DataRecord = { gateway: Sender; device: PlantDevice; polls: Poll[]; epoch: string; offset: number; late: boolean };

type Sender = PlantGateway & {
  readonly devicesByKey: ReadonlyMap<string, number>;
  /** [from, to) of true time in which nothing gets through. */
  readonly outages: readonly [number, number][];
  readonly random: ReturnType<typeof random>;
  epoch: string;
  offset: number;
  seq: number;
  bdSeq: number;
  alive: boolean;
  readonly born: Set<string>;
  /** Devices of which births say something else than at first. */
  readonly reborn: Set<string>;
  accountMs: number;
};

export type Feed = {
  readonly book: Book;
  /** The messages that arrive until a time of the platform, in the order of their arrival. */
  readonly until: (nowMs: number) => Message[];
  /** What is still on its way, and the accounts of every hour. */
  readonly rest: (nowMs: number) => Message[];
  /** The platform has forgotten every session: nodes give their births again before their next data. */
  readonly forgotten: () => void;
};

const minuteMs = 60_000;
const hourMs = 3_600_000;

const epochOf = (seed: ReturnType<typeof random>) =>
  `${seed
    .whole(2 ** 32)
    .toString(16)
    .padStart(8, "0")}${seed
    .whole(2 ** 32)
    .toString(16)
    .padStart(8, "0")}`;

function outagesOf(seed: ReturnType<typeof random>, plant: Plant): [number, number][] {
  const found: [number, number][] = [];
  const { fromMs, untilMs } = plant.options;
  for (let at = fromMs + seed.whole(5 * hourMs); at < untilMs; at += hourMs + seed.whole(16 * hourMs))
    found.push([at, at + 3 * minuteMs + seed.whole(seed.chance(0.3) ? 4 * hourMs : 30 * minuteMs)]);
  return found;
}

function senderOf(gateway: PlantGateway, plant: Plant, manner: Manner, n: number): Sender {
  const seed = random(manner.seed * 7919 + n);
  return {
    ...gateway,
    devicesByKey: new Map(gateway.devices.map((device, d) => [device.key, d])),
    outages: manner.troubled ? outagesOf(seed, plant) : [],
    random: seed,
    epoch: epochOf(seed),
    offset: 0,
    seq: 0,
    bdSeq: 0,
    alive: false,
    born: new Set(),
    reborn: new Set(),
    accountMs: 0,
  };
}

/** When a record of a true time arrives, once or again. */
function arrivals(sender: Sender, trueMs: number, manner: Manner): { atMs: number; anew: boolean }[] {
  if (!manner.troubled) return [{ atMs: trueMs, anew: false }];
  const { chance, whole } = sender.random;
  const outage = sender.outages.find(([from, to]) => trueMs >= from && trueMs < to);
  let atMs = outage ? outage[1] + whole(10 * minuteMs) : trueMs;
  if (chance(0.01)) atMs += whole(40 * minuteMs);
  if (chance(manner.shuffledShare)) atMs += whole(6 * hourMs);
  const found = [{ atMs, anew: false }];
  if (chance(0.02)) found.push({ atMs: atMs + whole(3 * hourMs), anew: chance(0.5) });
  return found;
}

const aliasOf = (device: number, metric: number) => device * 100 + metric + 1;
/** The account's metric comes after all of the device's own. */
const accountAlias = (device: number) => device * 100 + 99;

function nextSeq(sender: Sender): number {
  sender.seq = (sender.seq + 1) % 256;
  return sender.seq;
}

function message(sender: Sender, type: MessageType, nowMs: number, metrics: OutMetric[], more = {}): Message {
  const { group, node } = sender;
  const { device, ...payload } = more as { device?: string };
  const seq = type === "NBIRTH" ? 0 : nextSeq(sender);
  return {
    topic: topicOf({ group, node, type, ...(device === undefined ? {} : { device }) }),
    payload: encodePayload({ timestampMs: nowMs, metrics, seq, ...payload }),
  };
}

function nodeBirth(sender: Sender, nowMs: number): Message {
  sender.alive = true;
  sender.seq = 0;
  sender.bdSeq = (sender.bdSeq + 1) % 256;
  const declared = (name: string, datatype: number, value: OutMetric["value"]): OutMetric => ({
    name,
    datatype,
    value,
    declare: true,
    timestampMs: nowMs,
  });
  return message(sender, "NBIRTH", nowMs, [
    declared(bdSeqMetric, DataType.Int64, BigInt(sender.bdSeq)),
    declared(rebirthMetric, DataType.Boolean, false),
    declared(commitMetric, DataType.String, ""),
  ]);
}

/** When births of a device begin to say something else; never for most. */
const changesAt = ({ metrics }: PlantDevice) => metrics.find(({ reborn }) => reborn)?.reborn?.atMs ?? Infinity;

function deviceBirth(sender: Sender, device: PlantDevice, nowMs: number): Message {
  const d = sender.devicesByKey.get(device.key) as number;
  const isChanged = sender.reborn.has(device.key);
  // What it said at first it said before that.
  const atMs = isChanged ? nowMs : Math.min(nowMs, changesAt(device) - 1);
  const metrics = device.metrics.map(({ definition: first, reborn }, m): OutMetric => {
    const definition = (isChanged && reborn?.definition) || first;
    const { name, datatype } = definition;
    const properties = definitionProperties(definition);
    return { name, alias: aliasOf(d, m), datatype, declare: true, timestampMs: nowMs, value: null, properties };
  });
  if (sender.accounts) {
    const account = { name: accountMetric, alias: accountAlias(d), datatype: DataType.String, declare: true };
    metrics.push({ ...account, timestampMs: nowMs, value: null });
  }
  return message(sender, "DBIRTH", atMs, metrics, { device: device.device });
}

function dataOf({ gateway, device, polls, epoch, offset, late }: DataRecord): Message {
  const d = gateway.devicesByKey.get(device.key) as number;
  const writtenAtMs = polls.at(-1)?.gatewayMs ?? 0;
  const metrics = polls.flatMap(({ sourceMs, readings }) =>
    readings.map(({ metric, value, status }): OutMetric => {
      const isBad = status >>> 30 > 1;
      const properties = {
        ...(status === 0 ? {} : { StatusCode: property.uint32(status) }),
        ...(isBad ? { Quality: property.int32(0) } : {}),
      };
      const { datatype } = (device.metrics[metric] as PlantMetric).definition;
      return {
        alias: aliasOf(d, metric),
        timestampMs: sourceMs,
        datatype,
        value,
        ...(status === 0 ? {} : { properties }),
        ...(late ? { historical: true } : {}),
      };
    }),
  );
  const body = encodeHeader({ epoch, offset, writtenAtMs });
  return message(gateway, "DDATA", writtenAtMs, metrics, { device: device.device, uuid: outboxUuid, body });
}

/** The accounts of a device's hours, as its book has them now. 1970 is no hour that anybody counts. */
function accountsOf(sender: Sender, device: PlantDevice, book: Book, nowMs: number, sinceMs: number): Message[] {
  const hours = book.queued.get(device.key);
  if (!hours) return [];
  const d = sender.devicesByKey.get(device.key) as number;
  const found: Message[] = [];
  for (const [hour, { polls, queued, bad, kept }] of hours) {
    if (hour < sinceMs) continue;
    const answers = { scheduled: polls, answered: polls, polled: queued, bad };
    const counts = { ...noCounts, ...answers, queued, droppedFull: queued - kept };
    const value = encodeAccount({ ...counts, hourMs: hour, part: "00000001", gapMs: {} });
    sender.accountMs = Math.max(sender.accountMs + 1, nowMs);
    const sample = { alias: accountAlias(d), timestampMs: sender.accountMs, datatype: DataType.String, value };
    const body = encodeHeader({ epoch: sender.epoch, offset: sender.offset++, writtenAtMs: nowMs });
    found.push(message(sender, "DDATA", nowMs, [sample], { device: device.device, uuid: outboxUuid, body }));
  }
  return found;
}

/** @returns the readings of a plant in a manner of arriving; each call begins anew */
export function feedOf(plant: Plant, manner: Manner): Feed {
  const book = bookOf(plant);
  const senders = plant.gateways.map((gateway, n) => senderOf(gateway, plant, manner, n));
  /** A device's polls, with the next one that has not happened yet. */
  const sources = senders.flatMap((sender) => {
    const stretches = clockStretches(sender, plant.options);
    return sender.devices.map((device) => {
      const polls = pollsOf(device, stretches, plant.options);
      return { sender, device, polls, next: polls.next() };
    });
  });
  let pending: { atMs: number; record: DataRecord }[] = [];
  let accountedMs = plant.options.fromMs;
  const order = random(manner.seed);

  /** What devices polled until a time goes into records of one or two polls. */
  function collect(nowMs: number): void {
    for (const source of sources) {
      const { sender, device } = source;
      const { chance } = sender.random;
      while (!source.next.done && source.next.value.trueMs <= nowMs) {
        const polls = [source.next.value];
        source.next = source.polls.next();
        if (!source.next.done && source.next.value.trueMs <= nowMs && chance(0.2)) {
          polls.push(source.next.value);
          source.next = source.polls.next();
        }
        const kept = !(sender.accounts && chance(0.004));
        for (const poll of polls) book.note(device, poll, kept);
        if (chance(0.0005)) Object.assign(sender, { epoch: epochOf(sender.random), offset: 0, alive: false });
        if (!kept) continue;
        const { trueMs } = polls.at(-1) as Poll;
        const base = { gateway: sender, device, polls, epoch: sender.epoch, offset: sender.offset++ };
        for (const { atMs, anew } of arrivals(sender, trueMs, manner)) {
          const own = anew ? { epoch: epochOf(sender.random), offset: 0 } : {};
          pending.push({ atMs, record: { ...base, ...own, late: atMs > trueMs } });
        }
      }
    }
  }

  function bornFirst(sender: Sender, device: PlantDevice, nowMs: number): Message[] {
    const found: Message[] = [];
    if (!sender.alive) {
      sender.born.clear();
      found.push(nodeBirth(sender, nowMs));
    }
    if (sender.born.has(device.key)) return found;
    sender.born.add(device.key);
    if (!book.births.has(device.key)) book.births.set(device.key, nowMs);
    found.push(deviceBirth(sender, device, nowMs));
    return found;
  }

  /** Births that change something, of that very minute. They are heard at once, whatever waits in the outbox. */
  function rebirths(nowMs: number): Message[] {
    return senders.flatMap((sender) =>
      sender.devices.flatMap((device) => {
        if (nowMs < changesAt(device) || sender.reborn.has(device.key)) return [];
        const first = bornFirst(sender, device, nowMs);
        sender.reborn.add(device.key);
        return [...first, deviceBirth(sender, device, changesAt(device))];
      }),
    );
  }

  function send(due: { atMs: number; record: DataRecord }[], nowMs: number): Message[] {
    const records = manner.shuffledShare > 0 ? order.shuffled(due) : due.sort((a, b) => a.atMs - b.atMs);
    return records.flatMap(({ record }) => [...bornFirst(record.gateway, record.device, nowMs), dataOf(record)]);
  }

  function accounts(nowMs: number, sinceMs: number): Message[] {
    return senders.flatMap((sender) =>
      sender.devices.flatMap((device) => {
        const hours = book.queued
          .get(device.key)
          ?.keys()
          .some((hour) => hour >= sinceMs);
        if (!hours || !book.births.has(device.key)) return [];
        // In this order: each message takes the next number of its node.
        return [...bornFirst(sender, device, nowMs), ...accountsOf(sender, device, book, nowMs, sinceMs)];
      }),
    );
  }

  return {
    book,
    until: (nowMs) => {
      collect(nowMs);
      const due = pending.filter(({ atMs }) => atMs <= nowMs);
      pending = pending.filter(({ atMs }) => atMs > nowMs);
      const { before = [], after = [] } = Object.groupBy(due, ({ record: { device, polls } }) =>
        (polls.at(-1)?.trueMs ?? 0) < changesAt(device) ? "before" : "after",
      );
      const messages = [...send(before, nowMs), ...rebirths(nowMs), ...send(after, nowMs)];
      if (nowMs - accountedMs < hourMs) return messages;
      accountedMs = nowMs;
      return [...messages, ...accounts(nowMs, nowMs - 3 * hourMs)];
    },
    rest: (nowMs) => {
      collect(Number.POSITIVE_INFINITY);
      const messages = send(pending, nowMs);
      pending = [];
      return [...messages, ...accounts(nowMs, plant.options.fromMs - 24 * hourMs)];
    },
    forgotten: () => {
      for (const sender of senders) sender.alive = false;
    },
  };
}
