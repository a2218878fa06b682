import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { copyRow, emptyColumns, packSamples, type SampleColumns } from "../columns/columns.ts";
import { unpackChanged } from "../columns/packing.ts";
import type { CommitEntry } from "../telemetry.ts";
import { sample, startMs } from "../telemetry-fixtures.ts";
import { answerReader } from "./answer.ts";
import { changeSet, changesOf, readChanges, writeChanges } from "./changes.ts";
import { connectInflux, type InfluxClient } from "./client.ts";
import { readCommits, writeCommits } from "./commits.ts";
import { hasInfluxd, type Influxd, startInfluxd } from "./influxd.ts";
import { openJournal } from "./journal.ts";
import { recentBook } from "./recent.ts";
import { prepareSchema } from "./schema.ts";
import { bySeries, openSeriesBook } from "./series.ts";
import { settingOf } from "./test-setting.ts";
import { fromTagValue, tagValue } from "./text.ts";

/** Small deterministic generator (mulberry32): a failing seed can be run again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

describe("texts", () => {
  it.each([
    "运行",
    "a b,c=d",
    "\\",
    "end\\",
    "a\\,b",
    "line\nbreak\t\0",
    "\"quoted\" 'single'",
    "␛",
    "␛5c",
    "␛␛0a",
    "%5C",
    "😀",
  ])("%j comes back from a tag", (text) => {
    expect(fromTagValue(tagValue(text))).toBe(text);
  });

  it("leaves what people write as it is", () => {
    expect(tagValue("1号炉 负载 % (a=b, c)")).toBe("1号炉 负载 % (a=b, c)");
  });
});

describe("answers", () => {
  function parseAnswer(text: string, statements: number) {
    const { take, end } = answerReader(statements);
    take(Buffer.from(text));
    return end();
  }
  const answer = (values: string) =>
    parseAnswer(
      `{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","v"],"values":${values}}]}]}`,
      1,
    );

  it("keeps integers beyond 2^53 exact, and everything else as JSON has it", () => {
    const { blocks } = answer(
      '[[1,9007199254740993],[2,-9223372036854775808],[3,1.5],[4,"[9007199254740993]"],[5,1e+21],[6,null]]',
    );
    expect(blocks[0]?.[0]?.values.map(([, value]) => value)).toEqual([
      9007199254740993n,
      -(2n ** 63n),
      1.5,
      "[9007199254740993]",
      1e21,
      null,
    ]);
  });

  it("puts the pieces of an answer together: a series that goes on, the next one, and the next statement", () => {
    const piece = (id: number, tag: string, values: number[], more: { series?: true; statement?: true }) => {
      const series = { name: "m", tags: { e: tag }, columns: ["time", "v"], values: values.map((at) => [at, at]) };
      const { series: goesOn, statement } = more;
      return `${JSON.stringify({
        results: [{ statement_id: id, series: [{ ...series, ...(goesOn && { partial: true }) }], partial: statement }],
      })}\n`;
    };
    const all = { series: true, statement: true } as const;
    const pieces = [
      piece(0, "运行 😀", [1, 2], all),
      piece(0, "运行 😀", [3], { statement: true }),
      piece(0, "b", [1], {}),
      piece(1, "b", [4, 5], all),
      piece(1, "b", [6], {}),
    ];
    const rows = (text: string) =>
      parseAnswer(text, 2).blocks.map((blocks) => blocks.map(({ tags, values }) => [tags.e, values.map(([at]) => at)]));
    expect(rows(pieces.join(""))).toEqual([
      [
        ["运行 😀", [1, 2, 3]],
        ["b", [1]],
      ],
      [["b", [4, 5, 6]]],
    ]);
    expect(parseAnswer(pieces.join(""), 2).error).toBeUndefined();
    const byte = answerReader(2);
    for (const one of Buffer.from(pieces.join("\r\n").trimEnd())) byte.take(Buffer.from([one]));
    expect(byte.end(), "byte by byte, with other line ends, and none at the end").toEqual(
      parseAnswer(pieces.join(""), 2),
    );
    // The end is missing; a piece in the middle says that it is the last one of a statement that never came; an error comes late.
    expect(parseAnswer(pieces.slice(0, 4).join(""), 2).error).toMatch(/was cut/);
    expect(parseAnswer(pieces.slice(0, 3).join(""), 2).error).toMatch(/1 answers to 2/);
    expect(parseAnswer(`${pieces.join("")}{"results":[{"statement_id":1,"error":"late"}]}\n`, 2).error).toBe("late");
  });

  it("takes an answer that was cut for an error, as one that says so or is no JSON", () => {
    expect(
      parseAnswer('{"results":[{"statement_id":0,"series":[{"columns":["time"],"values":[],"partial":true}]}]}', 1),
    ).toHaveProperty("error");
    expect(parseAnswer('{"results":[{"statement_id":0,"partial":true}]}', 1)).toHaveProperty("error");
    expect(parseAnswer('{"results":[{"statement_id":0,"error":"no"}]}', 1).error).toBe("no");
    expect(parseAnswer("<html>", 1)).toHaveProperty("error");
    expect(parseAnswer("", 1)).toHaveProperty("error");
    expect(parseAnswer('{"results":[{"statement_id":0}]}', 2)).toHaveProperty("error");
  });
});

describe("changed minutes as a text", () => {
  it.each([1, 2, 3])("comes back, seed %d", (seed) => {
    const pick = random(seed);
    const rows = Array.from({ length: 3000 }, () => sample(1 + pick(500), pick(10) * 60_000 + pick(5) * 7919, 1));
    const changed = changesOf(packSamples(rows), Array.from(rows.keys()));
    const back = changeSet();
    readChanges(writeChanges(changed), back.add);
    expect(unpackChanged(back.columns())).toEqual(unpackChanged(changed));
    expect(changed[0]?.length).toBeGreaterThan(1000);
  });

  it("costs some ten characters for a poll of a device, however many metrics it has", () => {
    const rows = Array.from({ length: 2000 }, (_, i) => sample(1 + i, Math.floor(i / 100) * 137, 1));
    expect(writeChanges(changesOf(packSamples(rows), Array.from(rows.keys()))).length).toBeLessThan(20 * 12);
  });
});

describe("the newest samples in memory", () => {
  type Model = Map<number, Map<number, number>>;

  function check(recent: ReturnType<typeof recentBook>, model: Model, series: number): number {
    const from = recent.completeFromMs(series);
    const expected = [...(model.get(series) ?? [])].filter(([ms]) => ms >= from).sort(([a], [b]) => b - a);
    const rows = recent.rows();
    expect(Array.from(recent.slots(series), (slot) => [rows.sourceMs[slot], rows.number[slot]])).toEqual(expected);
    return expected.length;
  }

  it.each([
    [1, 7],
    [2, 64],
    [3, 1000],
    [4, 20_000],
  ])("are what was written, from where they are complete on, seed %d, %d slots", (seed, capacity) => {
    const pick = random(seed);
    const recent = recentBook(capacity);
    const model: Model = new Map(Array.from({ length: 6 }, (_, id) => [id, new Map()]));
    for (const id of model.keys()) recent.begin(id, 0);
    const columns = emptyColumns(1);
    let held = 0;
    for (let n = 0; n < 30_000; n += 1) {
      const series = pick(6);
      const ms = pick(3) === 0 ? Math.max(0, n - pick(200)) : n;
      const times = model.get(series) as Map<number, number>;
      if (times.has(ms)) continue;
      times.set(ms, n);
      const row: SampleColumns = packSamples([{ ...sample(series, 0, n), sourceTimeMs: ms }]);
      copyRow(row, 0, columns, 0);
      recent.add(columns, 0);
      if (n % 997 === 0) held = [...model.keys()].reduce((sum, id) => sum + check(recent, model, id), 0);
    }
    // Late samples make it forget more than it must, but most of its slots are of use.
    expect(held).toBeGreaterThan(capacity * 0.4);
    expect(held).toBeLessThanOrEqual(capacity);
  });

  it("know nothing of a series before they are told", () => {
    const recent = recentBook(10);
    recent.add(packSamples([sample(3, 0, 1)]), 0);
    expect([...recent.slots(3)]).toEqual([]);
    expect(recent.completeFromMs(3)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe.skipIf(!hasInfluxd())("the journal, with Debian's influxd (skipped where it is not installed)", () => {
  let server: Influxd;
  beforeAll(async () => {
    server = await startInfluxd();
  });
  afterAll(() => server.stop());

  async function withClient(database: string, work: (client: InfluxClient, statements: string[]) => Promise<void>) {
    const client = await connectInflux(settingOf(server.url, database));
    const statements: string[] = [];
    try {
      await prepareSchema(client, "test");
      const query = (statement: string) => {
        statements.push(statement);
        return client.query(statement);
      };
      await work({ ...client, query }, statements);
    } finally {
      client.close();
    }
  }
  const options = (snapshotEntries: number) => ({ snapshotEntries, onFenced: () => expect.fail("fenced") });

  it("keeps entries that are longer than a field may be", async () => {
    const entry = (n: number): CommitEntry => ({
      group: '运行 😀 \\ "',
      node: randomBytes(20).toString("hex"),
      epoch: "e",
      ranges: [[n, n]],
    });
    const commits = Array.from({ length: 3000 }, (_, n) => entry(n));
    expect(writeCommits(commits).length).toBeGreaterThan(200_000);
    expect(readCommits(writeCommits(commits))).toEqual(commits);
    const pick = random(5);
    const rows = Array.from({ length: 20_000 }, (_, i) => sample(1 + i, pick(60_000), 1));
    const changed = changesOf(packSamples(rows), Array.from(rows.keys()));
    expect(writeChanges(changed).length).toBeGreaterThan(100_000);
    await withClient("long", async (client) => {
      const journal = await openJournal(client, "test", options(1000));
      await journal.write(commits, changed);
      await journal.writeClosed();
      const again = await openJournal(client, "test", options(1000));
      expect(again.lastTx()).toBe(1);
      expect(again.committed()).toEqual(commits);
      expect(await again.changedMinutes(0, 1)).toEqual(changed);
    });
  });

  it("is read from its last snapshot on, to the same ranges", async () => {
    await withClient("snapshot", async (client, statements) => {
      const commit = (n: number): CommitEntry => ({ group: "f", node: "g", epoch: "e", ranges: [[2 * n, 2 * n + 1]] });
      let expected: CommitEntry[] = [];
      for (let session = 0; session < 3; session += 1) {
        const journal = await openJournal(client, "test", options(10));
        expect(journal.committed()).toEqual(expected);
        for (let n = 0; n < 37; n += 1) await journal.write([commit(session * 37 + n)], []);
        expected = journal.committed();
        expect(expected).toEqual([{ ...commit(0), ranges: [[0, 2 * 37 * (session + 1) - 1]] }]);
        // Every other owner ends as if killed.
        if (session !== 1) await journal.writeClosed();
      }
      statements.length = 0;
      const last = await openJournal(client, "test", options(10));
      expect(last.committed()).toEqual(expected);
      const read = statements.filter((text) => text.includes('"commits" FROM "store_journal"'));
      const from = Number(/time >= (\d+)000000/.exec(read[0] ?? "")?.[1]);
      expect(read).toHaveLength(1);
      expect(last.lastTx() - from).toBeLessThan(10);
    });
  });

  it("series of any name are found again by their tags and by their conditions", async () => {
    const names = [
      "运行",
      "a b,c=d",
      "end\\",
      "a\\,b",
      "line\nbreak",
      "\"q\" 'p'",
      "/^re.*$/",
      "␛5c",
      "",
      "a\ud800b",
      "-- ;",
      "😀",
    ];
    await withClient("names", async (client) => {
      const keys = names.flatMap((device) =>
        names.filter((metric) => metric !== "").map((metric) => ({ group: "f 1", node: "g,1", device, metric })),
      );
      const definition = { name: "x", datatype: 10, simulated: false } as const;
      const book = await openSeriesBook(client, async () => undefined);
      const ids = await book.ensure(keys.map((key) => ({ ...key, definition })));
      expect(new Set(ids).size).toBe(keys.length);
      const again = await openSeriesBook(client, async () => undefined);
      expect(again.all()).toEqual(book.all());
      expect(await again.ensure(keys.map((key) => ({ ...key, definition })))).toEqual(ids);
      await client.write(ids.map((id) => `sample${book.get(id).tags} tx=${id}i ${startMs}`));
      const answers = await client.queryAll(
        ids.map((id) => `SELECT "tx" FROM "sample" WHERE ${book.get(id).condition} ${bySeries}`),
      );
      for (const [i, id] of ids.entries()) {
        const own = answers[i]?.filter(({ tags }) => again.idOf(tags) === id) ?? [];
        expect(own.map(({ values }) => values)).toEqual([[[startMs, id]]]);
        if (book.get(id).exact) expect(answers[i]).toHaveLength(1);
      }
    });
  });
});
