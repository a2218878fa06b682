/** What the model test of the receiver generates: nodes that say what they say, and what a network does with it. */
import { encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { encodePayload, type OutMetric } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, type MessageType, topicOf } from "@jilian/domain/topics.ts";
import fc from "fast-check";

export const t0 = Date.UTC(2026, 10, 22, 2, 0);
export const devices = ["press-1", "meter-1"] as const;
export const groups = ["f1", "f2"] as const;
/** Metrics of a device. */
export const metrics = 3;

export type Fate = { kind: "now" } | { kind: "lost" } | { kind: "twice" } | { kind: "later"; by: number };
export type Op =
  | { op: "session"; node: 0 | 1; willFirst: boolean; fate: Fate }
  | { op: "rebirth"; node: 0 | 1; fate: Fate }
  | { op: "device"; node: 0 | 1; device: 0 | 1; alive: boolean; lacks: number; fate: Fate }
  | { op: "data"; node: 0 | 1; device: 0 | 1; which: number; again: number | null; fate: Fate }
  | { op: "node data"; node: 0 | 1; fate: Fate }
  | { op: "death"; node: 0 | 1; old: boolean; fate: Fate }
  | { op: "store"; records: number; refused: boolean }
  | { op: "wait"; ms: number };

const node = fc.constantFrom<0 | 1>(0, 1);
const device = fc.constantFrom<0 | 1>(0, 1);
const fate: fc.Arbitrary<Fate> = fc.oneof(
  { weight: 12, arbitrary: fc.constant({ kind: "now" } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: "lost" } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: "twice" } as const) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("later" as const), by: fc.integer({ min: 1, max: 6 }) }) },
);
export const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ op: fc.constant("session" as const), node, willFirst: fc.boolean(), fate }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("rebirth" as const), node, fate }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("device" as const),
      node,
      device,
      alive: fc.constantFrom(true, true, true, false),
      lacks: fc.integer({ min: 0, max: 2 * metrics }),
      fate,
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      op: fc.constant("data" as const),
      node,
      device,
      which: fc.integer({ min: 1, max: 2 ** metrics - 1 }),
      again: fc.option(fc.nat(30)),
      fate,
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("node data" as const), node, fate }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("death" as const), node, old: fc.boolean(), fate }) },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("store" as const),
      records: fc.integer({ min: 1, max: 8 }),
      refused: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("wait" as const), ms: fc.constantFrom(1, 1000, 3000, 9000, 20_000) }),
  },
);

/** A message on its way, with what its sender meant. */
export type Message = {
  node: 0 | 1;
  type: MessageType;
  device: 0 | 1 | undefined;
  bdSeq?: number;
  seq?: number;
  /** Of a DBIRTH: what it declares, by alias. */
  declares?: Map<number, number>;
  /** Of data: aliases, the metrics they stand for and their values. */
  samples?: { alias: number; metric: number; value: number }[];
  offset?: number;
};

const epochs = ["00000000000000e0", "00000000000000e1"] as const;

export function encode({ node: n, type, bdSeq, seq, declares, samples, offset }: Message): Uint8Array {
  const plain = { timestampMs: t0, datatype: DataType.Double, value: null };
  const bd = { ...plain, name: bdSeqMetric, datatype: DataType.Int64, value: BigInt(bdSeq ?? 0), declare: true };
  const listed: OutMetric[] = [];
  if (type === "NBIRTH" || type === "NDEATH") listed.push(bd);
  if (type === "NBIRTH" && n === 0)
    listed.push({ ...plain, name: commitMetric, datatype: DataType.String, value: "", declare: true });
  for (const [alias, metric] of declares ?? []) listed.push({ ...plain, name: `m${metric}`, alias, declare: true });
  for (const { alias, value } of samples ?? []) listed.push({ ...plain, alias, value });
  const body = offset === undefined ? undefined : encodeHeader({ epoch: epochs[n], offset, writtenAtMs: t0 + offset });
  return encodePayload({
    timestampMs: t0,
    metrics: listed,
    ...(seq === undefined ? {} : { seq }),
    ...(body ? { uuid: outboxUuid, body } : {}),
  });
}

/** A node as it means itself to be. */
export function sender(n: 0 | 1, emit: (message: Message, fate: Fate) => void) {
  let bdSeq = n * 250;
  let seq = 0;
  let births = 0;
  let born = false;
  let counter = 0;
  const present = [new Set<number>(), new Set<number>()] as const;
  const alive = [false, false];
  const records: { device: 0 | 1; metrics: number[]; offset: number; values: number[] }[] = [];
  for (const set of present) for (let m = 0; m < metrics; m += 1) set.add(m);

  /** Stable for ever, or another one with each birth of the node; never one alias for two metrics at a time. */
  const aliasOf = (d: 0 | 1, m: number) => 1 + (n === 0 ? d * metrics + m : (d * metrics + m + births) % (2 * metrics));
  const next = () => {
    seq = (seq + 1) % 256;
    return seq;
  };
  const birthDevice = (d: 0 | 1, by: Fate) => {
    const declares = new Map([...present[d]].map((m) => [aliasOf(d, m), m]));
    emit({ node: n, type: "DBIRTH", device: d, seq: next(), declares }, by);
  };
  function birth(by: Fate): void {
    births += 1;
    seq = 0;
    born = true;
    emit({ node: n, type: "NBIRTH", device: undefined, seq, bdSeq }, by);
    for (const d of [0, 1] as const) if (alive[d]) birthDevice(d, { kind: "now" });
  }
  return {
    session: (willFirst: boolean, by: Fate): void => {
      const will = bdSeq;
      bdSeq = (bdSeq + 1) % 256;
      if (born && willFirst) emit({ node: n, type: "NDEATH", device: undefined, bdSeq: will }, by);
      const wasBorn = born;
      birth(by);
      if (wasBorn && !willFirst) emit({ node: n, type: "NDEATH", device: undefined, bdSeq: will }, { kind: "now" });
    },
    rebirth: (by: Fate): void => {
      if (born) birth(by);
    },
    device: (d: 0 | 1, isAlive: boolean, lacks: number, by: Fate): void => {
      if (!born) return;
      alive[d] = isAlive;
      for (let m = 0; m < metrics; m += 1) present[d].add(m);
      // The other node keeps its metrics: with aliases that change, fewer metrics would be another matter.
      if (n === 0) present[d].delete(lacks);
      if (isAlive) birthDevice(d, by);
      else emit({ node: n, type: "DDEATH", device: d, seq: next() }, by);
    },
    data: (d: 0 | 1, which: number, again: number | null, by: Fate): void => {
      if (!born || !alive[d]) return;
      let record = again === null || n === 1 ? undefined : records[again % Math.max(1, records.length)];
      if (!record) {
        const chosen = [...present[d]].filter((m) => which & (1 << m));
        if (chosen.length === 0) return;
        // The value says what it is of, so that one that is taken for another's shows.
        const values = chosen.map((m) => n * 1e9 + d * 1e8 + m * 1e7 + counter++);
        record = { device: d, metrics: chosen, offset: records.length, values };
        records.push(record);
      }
      const { device: of, offset } = record;
      const samples = record.metrics.map((m, i) => ({
        alias: aliasOf(of, m),
        metric: m,
        value: record.values[i] as number,
      }));
      emit({ node: n, type: "DDATA", device: of, seq: next(), samples, ...(n === 0 ? { offset } : {}) }, by);
    },
    nodeData: (by: Fate): void => {
      if (born) emit({ node: n, type: "NDATA", device: undefined, seq: next() }, by);
    },
    death: (old: boolean, by: Fate): void => {
      if (born) emit({ node: n, type: "NDEATH", device: undefined, bdSeq: (bdSeq + (old ? 255 : 0)) % 256 }, by);
    },
  };
}

/** The topic of a message. */
export function topicOfMessage({ node: n, type, device: d }: Message): string {
  return topicOf({ group: groups[n], node: "gw-1", type, ...(d === undefined ? {} : { device: devices[d] }) });
}
