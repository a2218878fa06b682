import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { OutboxRecord } from "./model.ts";
import { definition, type EdgeBench, edgeBench, fastSettings, sample, up } from "./test-edge.ts";
import { startPlatform } from "./test-platform.ts";

let bench: EdgeBench;
beforeEach(async () => {
  bench = await edgeBench();
});
afterEach(() => bench.close());

const settings = { ...fastSettings, commitTimeoutMs: 300 };
const pending = () => bench.outbox.stats().pendingRecords;

/** A born device with one metric. */
async function press() {
  const node = bench.start({ settings });
  const [a] = bench.define("press", [definition("a")], node) as [number];
  node.deviceConnection("press", up);
  await bench.host.until("birth", () => bench.host.ofType("DBIRTH", "press")[0]);
  let value = 0n;
  const write = (records: number): OutboxRecord[] =>
    Array.from({ length: records }, () => {
      value += 1n;
      return bench.write("press", [sample(a, value)], node);
    });
  const sent = (count: number) =>
    bench.host.until(
      `${count} sent`,
      () => new Set(bench.host.ofType("DDATA").map((m) => m.header?.offset)).size >= count,
    );
  return { node, a, write, sent };
}

describe("a commit notice", () => {
  test("that is lost is made good by sending again: the platform answers the repetition", async () => {
    const { write, sent } = await press();
    write(5);
    await sent(5);
    // The platform has stored them, but not one notice came through.
    await bench.host.until("sent again", () => bench.host.ofType("DDATA").length >= 10);
    expect(pending()).toBe(5);
    await bench.host.commit(bench.outbox.epoch, [[0, 4]], { last: 4 });
    expect(pending()).toBe(0);
  });

  test("that is repeated, late or out of order frees each record once and no other", async () => {
    const { node, write, sent } = await press();
    const { epoch } = bench.outbox;
    write(10);
    await sent(10);
    await bench.host.commit(epoch, [[6, 9]], { last: 9 });
    await bench.host.commit(epoch, [[0, 1]], { last: 5 });
    expect(pending()).toBe(4);
    for (let i = 0; i < 3; i += 1) await bench.host.commit(epoch, [[6, 9]], { last: 9 });
    expect(pending()).toBe(4);
    await bench.host.commit(epoch, [[0, 9]], { last: 9 });
    expect(pending()).toBe(0);
    write(1);
    await bench.host.commit(epoch, [[0, 9]], { last: 9 });
    expect(pending()).toBe(1);
    expect(node.stats()).toMatchObject({ committedRecords: 10, commits: 3, unsentNotices: 0, setBacks: 0 });
  });

  test("for an earlier life of the gateway, or forged, frees nothing that this process has not sent; told once", async () => {
    const [a] = bench.define("press", [definition("a")]) as [number];
    const before = bench.outbox.epoch;
    for (let i = 0; i < 3; i += 1) bench.write("press", [sample(a, BigInt(i))]);
    await bench.reopen();
    const node = bench.start({ settings: { ...fastSettings, maxInFlightRecords: 1 } });
    bench.define("press", [definition("a")], node);
    await bench.host.until("the first of them", () => bench.host.ofType("DDATA").length === 1);
    // Sent is the first; the range claims more, and other notices know epochs that nobody has.
    await bench.host.commit(before, [[1, 2]]);
    await bench.host.commit("0123456789abcdef", [[0, 2 ** 53 - 1]], { last: 7 });
    await bench.host.commit(bench.outbox.epoch, [[0, 100]]);
    await bench.host.commit("0123456789abcdef", [], { setBack: true });
    expect(pending()).toBe(3);
    await bench.host.commit(before, [[0, 2 ** 53 - 1]]);
    expect(pending()).toBe(2);
    expect(node.stats()).toMatchObject({ unsentNotices: 4, setBacks: 0 });
    expect(bench.lines.filter(({ code }) => code === "COMMIT_UNSENT")).toHaveLength(1);
    await bench.host.until("the next", () => bench.host.ofType("DDATA").length === 2);
  });
});

describe("a gateway that was set back", () => {
  test("while it ran, by offsets that it has not sent: frees nothing, takes a new epoch, all of it goes again and is stored", async () => {
    const { node, write } = await press();
    const platform = startPlatform(bench.host);
    const { epoch } = bench.outbox;
    // What this process wrote before it was set back to its first record, and no longer knows of.
    const lost = { writtenAtMs: 1, samples: [{ metric: "a", timeMs: 1, value: -1n }] };
    for (let offset = 0; offset < 10; offset += 1) platform.know(epoch, offset, lost);
    write(4);
    await vi.waitFor(() => expect(pending()).toBe(0), 8000);
    expect(bench.outbox.epoch).not.toBe(epoch);
    expect(platform.samples().map(({ value }) => value)).toEqual(expect.arrayContaining([1n, 2n, 3n, 4n]));
    expect(platform.epochs()).toEqual([epoch, bench.outbox.epoch]);
    expect(node.stats()).toMatchObject({ setBacks: 1, unsentNotices: 0 });
    expect(bench.lines.filter(({ code }) => code === "OUTBOX_SET_BACK")).toMatchObject([{ epoch }]);
    const told = await bench.host.until("told", () =>
      bench.host.ofType("NDATA").find(({ values }) => values["Outbox/SetBacks"] === 1n),
    );
    expect(told.values["Properties/Epoch"]).toBe(bench.outbox.epoch);
    write(1);
    await vi.waitFor(() => expect(pending()).toBe(0), 8000);
    expect(node.stats().setBacks).toBe(1);
  });

  test("by one notice for a record that was written at another time, or was refused: it frees nothing", async () => {
    const { node, write, sent } = await press();
    const { epoch } = bench.outbox;
    const [first, second, third] = write(3).map(({ writtenAtMs }) => writtenAtMs) as [number, number, number];
    await sent(3);
    await bench.host.commit(epoch, [[0, 0]], { writtenAtMs: [first] });
    expect([pending(), node.stats().setBacks]).toEqual([2, 0]);
    // What is pending no more is not looked at.
    await bench.host.commit(epoch, [[0, 1]], { writtenAtMs: [7, second] });
    expect([pending(), node.stats().setBacks]).toEqual([1, 0]);
    await bench.host.commit(epoch, [[2, 3]], { writtenAtMs: [third - 1, third] });
    expect([pending(), node.stats().setBacks, bench.outbox.epoch === epoch]).toEqual([1, 1, false]);
  });

  test("by one refusal of a record that was written at another time: it sets nothing aside", async () => {
    const { node, write, sent } = await press();
    const { epoch } = bench.outbox;
    const [record] = write(1) as [OutboxRecord];
    await sent(1);
    const samples = [["a", record.samples[0]?.sourceTimeMs ?? 0] as const];
    const refused = [{ offset: 0, writtenAtMs: record.writtenAtMs - 1, code: "VALUE_MISFIT", samples }];
    await bench.host.commit(epoch, [], { refused });
    expect(bench.outbox.stats()).toMatchObject({ pendingRecords: 1, asideRecords: 0 });
    expect([node.stats().setBacks, node.stats().refusedRecords]).toEqual([1, 0]);
  });

  test("by one record alone, as only the platform can tell: the same", async () => {
    const { write } = await press();
    const platform = startPlatform(bench.host);
    const { epoch } = bench.outbox;
    platform.know(epoch, 0, { writtenAtMs: 1, samples: [] });
    write(1);
    await vi.waitFor(() => expect(pending()).toBe(0), 8000);
    expect(platform.epochs()).toEqual([epoch, bench.outbox.epoch]);
    expect(platform.samples().map(({ value }) => value)).toEqual([1n]);
  });

  test("with its file, to a copy of yesterday: under its new epoch nothing is mistaken for what is known", async () => {
    const [a] = bench.define("press", [definition("a")]) as [number];
    const platform = startPlatform(bench.host);
    for (let i = 1n; i <= 3n; i += 1n) bench.write("press", [sample(a, i)]);
    await bench.outbox.close();
    const path = join(bench.folder, "outbox.db");
    copyFileSync(path, `${path}.image`);
    await bench.reopen({ isClosed: true });
    const first = bench.start({ settings });
    bench.define("press", [definition("a")], first);
    for (let i = 4n; i <= 9n; i += 1n) bench.write("press", [sample(a, i)], first);
    await vi.waitFor(() => expect(pending()).toBe(0), 8000);
    await first.close();
    await bench.outbox.close();
    copyFileSync(`${path}.image`, path);
    await bench.reopen({ isClosed: true });
    expect(pending()).toBe(3);
    const second = bench.start({ settings });
    bench.define("press", [definition("a")], second);
    for (let i = 10n; i <= 12n; i += 1n) bench.write("press", [sample(a, i)], second);
    await vi.waitFor(() => expect(pending()).toBe(0), 8000);
    const values = platform.samples().map(({ value }) => Number(value));
    expect(values.sort((x, y) => x - y)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    // Births say it: the same box with a number of starts that was seen already, under another epoch.
    const births = bench.host.ofType("NBIRTH").map(({ values: v }) => v);
    expect(births).toHaveLength(2);
    expect(births[1]?.["Properties/Box"]).toBe(births[0]?.["Properties/Box"]);
    expect(births[1]?.["Properties/Starts"]).toBe(births[0]?.["Properties/Starts"]);
    expect(births[1]?.["Properties/Epoch"]).not.toBe(births[0]?.["Properties/Epoch"]);
  });
});
