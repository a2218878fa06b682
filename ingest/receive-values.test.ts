import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { property } from "@jilian/domain/sparkplug/payload.ts";
import { describe, expect, test } from "vitest";
import {
  bdSeq,
  bearForeign,
  commitControl,
  counter,
  data,
  host,
  hostPerTest,
  rebirthControl,
  send,
  stateOf,
  t0,
  tag,
  values,
} from "./test-node.ts";

hostPerTest();

describe("nodes without an outbox, and what they may send", () => {
  test("the values of their births are stored, but for null and transient ones", () => {
    bearForeign([tag("a", 1, { value: 4 }), tag("b", 2, { value: null }), tag("c", 3, { transient: true })]);
    expect(values()).toEqual([["a", 4, Status.Good]]);
  });

  test("historical values are stored and do not become the current one", () => {
    bearForeign([tag("a", 1, { timestampMs: t0 - 60_000 })]);
    const metric = host.queue.take(1)[0]?.samples[0]?.metric;
    if (metric) metric.seriesId = 1;
    data([{ alias: 1, value: 2, timestampMs: t0 }], { seq: 2 });
    data([{ alias: 1, value: 1, timestampMs: t0 - 5000, historical: true }], { seq: 3 });
    expect(values()).toEqual([
      ["a", 2, 0],
      ["a", 1, 0],
    ]);
    expect(host.live.samples.get(1)).toMatchObject({ value: 2, sourceTimeMs: t0 });
  });

  test("a historical value alone does not make a device fresh", () => {
    bearForeign([tag("a", 1, { historical: true })]);
    expect(stateOf()).toBe("stale");
  });

  test("quality: Sparkplug's property, our reasons, and null", () => {
    const tags = ["a", "b", "c", "d", "e"].map((name, i) => tag(name, i + 1, { value: null }));
    bearForeign(tags);
    data([
      { alias: 1, properties: { Quality: property.int32(0) } },
      { alias: 2, properties: { Quality: property.int32(500) } },
      { alias: 3, properties: { Quality: property.int32(192), StatusCode: property.uint32(Status.Uncertain) } },
      { alias: 4, value: null },
      { alias: 5, value: null, properties: { StatusCode: property.uint32(Status.BadTimeout) } },
    ]);
    expect(values()).toEqual([
      ["a", 1, Status.Bad],
      ["b", 1, Status.UncertainLastUsableValue],
      ["c", 1, Status.Uncertain],
      ["d", null, Status.Bad],
      ["e", null, Status.BadTimeout],
    ]);
  });

  test("what no store can hold becomes null and bad, with the reason", () => {
    const { Double, Float, UInt64, Int64 } = DataType;
    const tags = [Double, Float, UInt64, UInt64, Int64].map((datatype, i) =>
      tag(`m${i}`, i + 1, { datatype, value: null }),
    );
    bearForeign(tags);
    data([
      { alias: 1, value: Number.NaN },
      { alias: 2, datatype: Float, value: Number.POSITIVE_INFINITY },
      { alias: 3, datatype: UInt64, value: 2n ** 63n },
      { alias: 4, datatype: UInt64, value: 2n ** 63n - 1n },
      { alias: 5, datatype: Int64, value: -(2n ** 63n) },
    ]);
    expect(values()).toEqual([
      ["m0", null, Status.BadSensorFailure],
      ["m1", null, Status.BadSensorFailure],
      ["m2", null, Status.BadOutOfRange],
      ["m3", 2n ** 63n - 1n, Status.Good],
      ["m4", -(2n ** 63n), Status.Good],
    ]);
  });

  test("a value that contradicts the birth is kept as bad, never guessed", () => {
    const { Int16, String: Text, Boolean: Flag, Int32 } = DataType;
    bearForeign([
      tag("a", 1, { datatype: Int16, value: null }),
      tag("b", 2, { datatype: Text, value: null }),
      tag("c", 3, { datatype: Int16, value: null }),
      tag("d", 4, { datatype: Int16, value: null }),
    ]);
    data([
      { alias: 1, datatype: Text, value: "twelve" },
      { alias: 2, datatype: Flag, value: true },
      // Of another type by its own word, though it would fit.
      { alias: 3, datatype: Int32, value: 12, declare: true },
      { alias: 4, datatype: Int16, value: -12, declare: true },
    ]);
    expect(values()).toEqual([
      ["a", null, Status.BadDecodingError],
      ["b", null, Status.BadDecodingError],
      ["c", null, Status.BadDecodingError],
      ["d", -12, Status.Good],
    ]);
  });

  test("bytes that are no payload, and topics of nobody, are counted or passed over", () => {
    host.receiver.handle("spBv1.0/f1/NDATA/gw-1", new Uint8Array([255, 255, 255]));
    expect(counter("unreadableMessages")).toBe(1);
    for (const topic of ["spBv1.0/STATE/jilian", "spBv1.0/f1/NCMD/gw-1", "a/b", "spBv1.0/f1/DDATA/gw-1"])
      host.receiver.handle(topic, new Uint8Array([255]));
    expect(counter("unreadableMessages")).toBe(1);
    expect(host.rebirths).toEqual([]);
  });
});

test.each(["bdSeq", "Node Control/Speed", "Jilian/Commit"])(
  "a device's metric called %s is one like any other: it is stored, whoever sends it; a node's own is not",
  (name) => {
    send("NBIRTH", [bdSeq(3), rebirthControl, commitControl], { seq: 0 });
    send("DBIRTH", [tag(name, 1)], { seq: 1, device: "press-1" });
    data([{ alias: 1, value: 42 }], { seq: 2, offset: 0 });
    expect(values()).toEqual([[name, 42, Status.Good]]);
    bearForeign([tag(name, 7, { value: 5 })]);
    data([{ name, value: 43 }], { seq: 2 });
    expect(values()).toEqual([
      [name, 5, Status.Good],
      [name, 43, Status.Good],
    ]);
    send("NDATA", [{ name: "bdSeq", value: 1 }], { seq: 3 });
    expect(values()).toEqual([]);
    expect(counter("uncarriedSamples")).toBe(0);
  },
);

test("a value in a record whose metric is of a type without a series is counted, and the rest of the record is stored", () => {
  send("NBIRTH", [bdSeq(3), rebirthControl, commitControl], { seq: 0 });
  send("DBIRTH", [tag("a", 1), tag("list", 2, { datatype: 19 as never, value: null })], { seq: 1, device: "press-1" });
  data(
    [
      { alias: 1, value: 42 },
      { alias: 2, value: 1 },
    ],
    { seq: 2, offset: 0 },
  );
  expect(values()).toEqual([["a", 42, Status.Good]]);
  expect(counter("uncarriedSamples")).toBe(1);
});
