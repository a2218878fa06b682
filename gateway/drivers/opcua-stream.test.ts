import type { Clock } from "@jilian/domain/clock.ts";
import { Status } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import { opcuaConfig } from "../test-opcua-devices.ts";
import type { OpcuaDevice } from "./opcua-config.ts";
import type { OpcuaValue } from "./opcua-decode.ts";
import { createStream } from "./opcua-stream.ts";

const t0 = 1_750_000_000_000;

function streamOf(count = 1) {
  const tags = Array.from({ length: count }, (_, i) => `name: t${i}, nodeId: NODE(t${i}), type: float64`);
  const device = opcuaConfig("/x", [{ endpointUrl: "opc.tcp://h:1", tags }]).devices[0] as OpcuaDevice;
  const clock = { nowMs: t0, now: () => clock.nowMs, rate: 1 } as Clock & { nowMs: number };
  const told = { misfits: [] as string[], skews: [] as number[], dropped: 0, catchesUp: false };
  const made = createStream(
    {
      tags: device.tags,
      publishingMs: 500,
      samplingMs: 500,
      keepAliveMs: 1000,
      clock,
      catchesUp: () => told.catchesUp,
    },
    {
      onMisfit: (_tag, misfit) => told.misfits.push(misfit),
      onSkew: (_tag, skewMs) => told.skews.push(skewMs),
      onDropped: (dropped) => {
        told.dropped += dropped;
      },
    },
  );
  /** Each change in an answer of its own. */
  const arrived = (tag: number, value: OpcuaValue): void => {
    made.proved();
    made.arrived(tag, value);
  };
  return { stream: { ...made, arrived }, clock, told };
}

function double(value: number, sourceMs: number, code = 0): OpcuaValue {
  return { dataType: 11, isArray: false, value, status: code, sourceMs };
}

it("hands on every change in order, and each quiet tag as it was when the server last looked: a sampling interval before its answer", () => {
  const { stream, clock } = streamOf(2);
  stream.arrived(0, double(1, t0 - 5));
  stream.arrived(1, double(10, t0 - 5));
  expect(stream.drain().map(({ tag, value, sourceTimeMs }) => [tag, value, sourceTimeMs])).toEqual([
    [0, 1, t0 - 5],
    [1, 10, t0 - 5],
  ]);
  clock.nowMs = t0 + 1000;
  stream.arrived(0, double(2, t0 + 300));
  stream.arrived(0, double(3, t0 + 600));
  clock.nowMs = t0 + 1200;
  expect(stream.drain()).toEqual([
    { tag: 0, value: 2, status: 0, sourceTimeMs: t0 + 300 },
    { tag: 0, value: 3, status: 0, sourceTimeMs: t0 + 600 },
    { tag: 1, value: 10, status: 0, sourceTimeMs: t0 + 500 },
  ]);
  // Nothing came and nothing was answered: nothing is known.
  expect(stream.drain()).toEqual([]);
  stream.proved();
  expect(stream.drain().map(({ value }) => value)).toEqual([3, 10]);
});

it.each([
  ["late on its way", 800, 1000 - 800 - 500],
  ["by a clock ahead of ours", -800, 1000 - 500],
  ["by a clock that is not to be believed", 60_000, 1000 - 500],
])("a quiet tag is as it was when the answer was sent, %s", (_what, behindMs, expectedMs) => {
  const { stream, clock } = streamOf(1);
  stream.arrived(0, double(1, t0 - 5));
  stream.drain();
  clock.nowMs = t0 + 1000;
  stream.proved(Date.now() - behindMs);
  const [still] = stream.drain();
  // The machine's clock goes on while this runs.
  expect(Math.abs((still?.sourceTimeMs ?? 0) - t0 - expectedMs)).toBeLessThan(100);
});

it("a burst beyond the bound drops the oldest, counted, and the next value of the tag says that some are missing", () => {
  const { stream, told } = streamOf();
  for (let i = 0; i < 100_500; i += 1) stream.arrived(0, double(i, t0 + i));
  expect(told.dropped).toBe(1000);
  const readings = stream.drain();
  expect(readings).toHaveLength(99_500);
  expect(readings[0]).toMatchObject({ value: 1000, status: 0x0480 });
  expect(readings[1]?.status).toBe(Status.Good);
});

it("the server's own overflow and limit bits are kept, and do not stick to what comes after", () => {
  const { stream } = streamOf();
  stream.arrived(0, double(1, t0, 0x0480));
  expect(stream.drain()[0]?.status).toBe(0x0480);
  stream.proved();
  expect(stream.drain()[0]?.status).toBe(Status.Good);
});

it("keeps heartbeats back while changes that were sent into a cut may still come: they would be put later than they were", () => {
  const { stream, clock, told } = streamOf();
  stream.arrived(0, double(1, t0));
  stream.drain();
  told.catchesUp = true;
  clock.nowMs = t0 + 1000;
  stream.proved();
  expect(stream.drain()).toEqual([]);
  stream.arrived(0, double(2, t0 + 400));
  expect(stream.drain().map(({ value, sourceTimeMs }) => [value, sourceTimeMs])).toEqual([[2, t0 + 400]]);
  told.catchesUp = false;
  clock.nowMs = t0 + 2000;
  stream.proved();
  expect(stream.drain().map(({ value, sourceTimeMs }) => [value, sourceTimeMs])).toEqual([[2, t0 + 1500]]);
});

it("takes the first value's own time where it is of now, and the moment where it has been so for longer", () => {
  const { stream, told } = streamOf(2);
  stream.arrived(0, double(1, t0 - 400));
  stream.arrived(1, double(1, t0 - 86_400_000));
  expect(stream.drain().map(({ sourceTimeMs, status }) => [sourceTimeMs, status])).toEqual([
    [t0 - 400, 0],
    [t0, 0],
  ]);
  expect(told.skews).toEqual([]);
});

describe("a check by reading", () => {
  it("clears a tag that has not changed, and suspends the heartbeats of one that has until its notification comes", () => {
    const { stream } = streamOf();
    stream.arrived(0, double(1, t0));
    stream.drain();
    expect(stream.quiet(0, 10)).toEqual([0]);
    expect(stream.check(0, double(1, t0))).toBe(false);
    expect(stream.quiet(10_000, 10)).toEqual([]);
    expect(stream.check(0, double(2, t0 + 10))).toBe(false);
    expect(stream.quiet(10_000, 10)).toEqual([0]);
    stream.proved();
    expect(stream.drain()).toEqual([]);
    stream.arrived(0, double(2, t0 + 10));
    expect(stream.quiet(10_000, 10)).toEqual([]);
    expect(stream.drain().map(({ value }) => value)).toEqual([2]);
  });

  it("looks at the longest quiet first, not at what is refused or has no value yet", () => {
    const { stream } = streamOf(4);
    stream.refuse(1, Status.BadNodeIdUnknown);
    for (const tag of [3, 0]) stream.arrived(tag, double(1, t0));
    expect(stream.quiet(0, 1)).toEqual([3]);
    expect(stream.quiet(0, 9)).toEqual([3, 0]);
    expect(stream.drain().map(({ tag, status }) => [tag, status])).toEqual([
      [3, 0],
      [0, 0],
      [1, Status.BadNodeIdUnknown],
      [2, Status.BadWaitingForInitialData],
    ]);
  });
});
