import { setTimeout as pause } from "node:timers/promises";
import { deflateSync, gzipSync } from "node:zlib";
import { DataType } from "@jilian/domain/datatypes.ts";
import { encodePayload, type OutMetric } from "@jilian/domain/sparkplug/payload.ts";
import { describe, expect, test } from "vitest";
import {
  bdSeq,
  bearForeign,
  counter,
  data,
  host,
  hostPerTest,
  rebirthControl,
  send,
  start,
  t0,
  tag,
  values,
} from "./test-node.ts";

/** Edge nodes of other make, and what of Sparkplug they leave out or take lightly (tests/foreign-node.test.ts has a real one). */
hostPerTest();

const node = () => host.live.nodes.get("f1/gw-1");

describe("names and aliases", () => {
  test("a name in data counts before its alias: who writes 0 for every alias is understood", () => {
    bearForeign([tag("a", 0, { value: null }), tag("b", 0, { value: null })]);
    data([
      { name: "a", alias: 0, value: 1 },
      { name: "b", alias: 0, value: 2 },
    ]);
    expect(values()).toEqual([
      ["a", 1, 0],
      ["b", 2, 0],
    ]);
    // By the alias alone nobody can tell which: not guessed, counted, and no reason to ask for births for ever.
    data([{ alias: 0, value: 3 }]);
    expect(values()).toEqual([]);
    expect(counter("uncarriedSamples")).toBe(1);
    expect(host.rebirths).toEqual([]);
  });

  test("aliases of the whole width of 64 bits are told apart", () => {
    const [one, two] = [2n ** 64n - 1n, 2n ** 64n - 2n] as unknown as [number, number];
    bearForeign([tag("a", one, { value: null }), tag("b", two, { value: null })]);
    data([
      { alias: two, value: 2 },
      { alias: one, value: 1 },
    ]);
    expect(values()).toEqual([
      ["b", 2, 0],
      ["a", 1, 0],
    ]);
    expect(host.rebirths).toEqual([]);
  });

  test("metrics without a name, or with one beyond 1,000 characters, are left out and counted; the rest of a message is taken", () => {
    const long = "x".repeat(1001);
    bearForeign([tag("", 1), { alias: 2, declare: true }, tag(long, 3), tag("a", 4, { value: null })]);
    data([{ alias: 1 }, { alias: 2 }, { alias: 3 }, { name: "" }, { alias: 4, value: 7 }]);
    expect(values()).toEqual([["a", 7, 0]]);
    expect(counter("uncarriedSamples")).toBe(4);
    expect(host.rebirths).toEqual([]);
  });
});

describe("what a rebirth does not cure", () => {
  const intervalMs = 20;

  /** How often births are asked for when each request is answered at once, and data comes for some time. */
  async function requests(born: () => void, tell: (n: number) => void): Promise<{ asked: number; told: number }> {
    start({ rebirthIntervalMs: intervalMs });
    born();
    const fromMs = performance.now();
    let answered = 0;
    let told = 0;
    for (; performance.now() - fromMs < 400; told += 1) {
      tell(told);
      await pause(2);
      if (host.rebirths.length === answered) continue;
      answered = host.rebirths.length;
      born();
    }
    return { asked: answered, told };
  }

  const bear = () => bearForeign([tag("a", 1, { value: null })]);

  test.each<[string, (n: number) => void, kept?: number]>([
    ["a device that is never born", (n) => send("DDATA", [{ name: "x", value: n }], { device: "ghost" }), 0],
    ["a metric that no birth declares", (n) => data([{ name: "new" }, { alias: 1, value: n, timestampMs: t0 + n }])],
    ["an alias that no birth declares", (n) => data([{ alias: 9 }, { alias: 1, value: n, timestampMs: t0 + n }])],
    ["a seq that stands still", (n) => data([{ alias: 1, value: n, timestampMs: t0 + n }], { seq: 0 })],
  ])("%s is asked for ever more seldom, and loses nothing of what is known", async (_, tell, kept = 1) => {
    const { asked, told } = await requests(bear, tell);
    expect(values()).toHaveLength(kept * told);
    expect(asked).toBeGreaterThan(0);
    // At each interval it would be 20; doubled waits of 20, 40, 80, 160 ms leave five, and one for a slow machine.
    expect(asked).toBeLessThanOrEqual(6);
  });

  test("the known metrics of a message with an unknown one are stored: there is no outbox to send them again", () => {
    bearForeign([tag("a", 1, { value: null })]);
    data(
      [
        { name: "new", value: 1 },
        { alias: 1, value: 2 },
      ],
      { seq: 2 },
    );
    expect(values()).toEqual([["a", 2, 0]]);
    expect(host.rebirths).toEqual(["f1/gw-1"]);
    // While a message is missing it may have been the birth that gave the aliases other meanings.
    data(
      [
        { alias: 8, value: 1 },
        { alias: 1, value: 2 },
      ],
      { seq: 9 },
    );
    expect(values()).toEqual([]);
  });

  test("what a birth has cured is asked for at once when it comes again", () => {
    start({ rebirthIntervalMs: 1 });
    for (let n = 0; n < 4; n += 1) {
      const fromMs = performance.now();
      while (performance.now() - fromMs < 2);
      send("NBIRTH", [bdSeq(n)], { seq: 0 });
      send("DDATA", [{ name: "a" }], { device: "press-1" });
      send("DBIRTH", [tag("a", 1)], { seq: 1, device: "press-1" });
    }
    expect(host.rebirths).toHaveLength(4);
  });
});

describe("deaths", () => {
  test.each([
    ["with another bdSeq is an old will", [bdSeq(2)], true],
    ["with the same bdSeq", [bdSeq(3)], false],
    ["that says no bdSeq", [], false],
  ])("an NDEATH %s", (_, metrics, isAlive) => {
    bearForeign([tag("a", 1)]);
    send("NDEATH", metrics);
    expect(node()?.alive).toBe(isAlive);
  });
});

describe("compressed payloads", () => {
  const pack = (
    metrics: Partial<OutMetric>[],
    algorithm: string | undefined,
    packed: (bytes: Uint8Array) => Uint8Array,
  ) => {
    const inner = encodePayload({
      timestampMs: t0,
      seq: 1,
      metrics: metrics.map((m) => ({ timestampMs: t0, datatype: DataType.Double, value: 1, ...m })),
    });
    const named = {
      name: "algorithm",
      timestampMs: t0,
      datatype: DataType.String,
      declare: true,
      value: algorithm ?? "",
    };
    return encodePayload({
      timestampMs: t0,
      uuid: "SPBV1.0_COMPRESSED",
      body: packed(inner),
      metrics: algorithm === undefined ? [] : [named],
    });
  };
  const hear = (bytes: Uint8Array) => host.receiver.handle("spBv1.0/f1/DBIRTH/gw-1/press-1", bytes);

  test.each([
    ["GZIP", gzipSync],
    ["DEFLATE", deflateSync],
    [undefined, deflateSync],
  ] as const)("%s is unpacked", (algorithm, packed) => {
    send("NBIRTH", [bdSeq(3), rebirthControl], { seq: 0 });
    hear(pack([tag("a", 1, { value: 5 })], algorithm, packed));
    expect(values()).toEqual([["a", 5, 0]]);
    data([{ alias: 1, value: 6 }], { seq: 2 });
    expect(values()).toEqual([["a", 6, 0]]);
  });

  test("what cannot be unpacked, or would become too large, is one message that is refused", () => {
    send("NBIRTH", [bdSeq(3), rebirthControl], { seq: 0 });
    hear(pack([tag("a", 1)], "LZMA", gzipSync));
    hear(pack([tag("a", 1)], "GZIP", (bytes) => gzipSync(bytes).subarray(0, 20)));
    hear(pack([tag("a", 1)], "GZIP", () => gzipSync(new Uint8Array(9 * 1024 * 1024))));
    expect(counter("unreadableMessages")).toBe(3);
    expect(values()).toEqual([]);
    expect(node()?.alive).toBe(true);
  });
});
