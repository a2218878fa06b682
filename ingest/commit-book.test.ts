import { decodeNotice } from "@jilian/domain/commit.ts";
import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { describe, expect, test } from "vitest";
import { type CommitBook, commitBook } from "./commit-book.ts";

const e1 = "00000000000000e1";
const e2 = "00000000000000e2";
const entry = (epoch: string, ranges: [number, number][], node = "gw-1") => ({ group: "f1", node, epoch, ranges });

function read(notice: { topic: string; payload: Uint8Array } | undefined) {
  const metric = notice && decodePayload(notice.payload).metrics[0];
  if (!notice || metric?.wire.case !== "stringValue") throw new Error("no notice");
  return { topic: notice.topic, name: metric.name, ...decodeNotice(metric.wire.value) };
}

const record = (offset: number, epoch = e1, writtenAtMs = 1000 + offset) => ({ epoch, offset, writtenAtMs });
const readAll = (book: CommitBook, atMs = 1) => book.notices(atMs).map(read);

/** Stores what has come of some offsets. */
function store(book: CommitBook, epoch: string, ranges: [number, number][], node = "gw-1"): void {
  for (const [first, last] of ranges)
    for (let offset = first; offset <= last; offset += 1) book.claim("f1", node, record(offset, epoch));
  book.stored([entry(epoch, ranges, node)]);
}

test("a record is claimed once, until it is stored or released", () => {
  const book = commitBook([]);
  expect(book.claim("f1", "gw-1", record(4))).toBe("new");
  expect(book.claim("f1", "gw-1", record(4))).toBe("on its way");
  expect(book.claim("f1", "gw-1", record(4, e2))).toBe("new");
  expect(book.claim("f1", "gw-2", record(4))).toBe("new");
  book.release("f1", "gw-1", record(4));
  expect(book.claim("f1", "gw-1", record(4))).toBe("new");
  expect(book.notices(0)).toEqual([]);
});

test("what is stored becomes due once, as ranges with times of writing, to the node that sent it", () => {
  const book = commitBook([]);
  store(book, e1, [
    [3, 5],
    [9, 9],
  ]);
  store(book, e2, [[0, 0]], "gw-2");
  store(book, e1, [[6, 6]]);
  expect(book.notices(77).map(read)).toEqual([
    {
      topic: "spBv1.0/f1/NCMD/gw-1",
      name: "Jilian/Commit",
      epoch: e1,
      ranges: [
        [3, 6],
        [9, 9],
      ],
      writtenAtMs: [1003, 1004, 1005, 1006, 1009],
      atMs: 77,
      last: 9,
    },
    {
      ...{ topic: "spBv1.0/f1/NCMD/gw-2", name: "Jilian/Commit", epoch: e2 },
      ...{ ranges: [[0, 0]], writtenAtMs: [1000], atMs: 77, last: 0 },
    },
  ]);
  expect(book.notices(78)).toEqual([]);
});

test("a repeat of what was seen stored is answered again, of that record alone", () => {
  const book = commitBook([]);
  for (const offset of [41, 42, 43]) book.claim("f1", "gw-1", record(offset));
  book.stored([entry(e1, [[41, 43]])]);
  expect(readAll(book)).toMatchObject([{ ranges: [[41, 43]], last: 43 }]);
  expect(book.claim("f1", "gw-1", record(42))).toBe("repeat");
  expect(readAll(book)).toMatchObject([{ ranges: [[42, 42]], last: 43 }]);
});

test("of what was stored before the start nobody knows by which record: it is stored again before it is answered", () => {
  const book = commitBook([entry(e1, [[0, 99]])]);
  expect(book.notices(0)).toEqual([]);
  expect(book.claim("f1", "gw-1", record(42))).toBe("again");
  expect(book.claim("f1", "gw-1", record(42))).toBe("on its way");
  expect(book.notices(0)).toEqual([]);
  book.stored([entry(e1, [[42, 42]])]);
  expect(readAll(book)).toMatchObject([{ ranges: [[42, 42]], last: 99 }]);
  expect(book.claim("f1", "gw-1", record(42))).toBe("repeat");
  expect(book.claim("f1", "gw-1", record(100))).toBe("new");
});

describe("a gateway that was set back gives offsets of its epoch to other records", () => {
  const seen: string[] = [];
  const make = () => {
    seen.length = 0;
    const book = commitBook([], { onSetBack: (...who) => seen.push(who.join("/")) });
    for (const offset of [0, 1, 2]) book.claim("f1", "gw-1", record(offset));
    book.stored([entry(e1, [[0, 2]])]);
    return book;
  };

  test("what is stored under the offset is no answer: the record is stored too, and the gateway told", () => {
    const book = make();
    book.notices(0);
    expect(book.claim("f1", "gw-1", record(1, e1, 9000))).toBe("again");
    expect(seen).toEqual([`f1/gw-1/${e1}`]);
    expect(readAll(book)).toMatchObject([{ ranges: [], setBack: true, last: 2 }]);
    expect(book.notices(0)).toEqual([]);
    book.stored([entry(e1, [[1, 1]])]);
    expect(book.claim("f1", "gw-1", record(1, e1, 9000))).toBe("repeat");
  });

  test("that is told for good, and nothing of that epoch is freed: the notice that said so may be lost", () => {
    const book = make();
    book.claim("f1", "gw-1", record(1, e1, 9000));
    const told = [{ epoch: e1, ranges: [], atMs: 1, setBack: true, last: 2 }];
    // Not what was due for the earlier records either.
    expect(readAll(book)).toMatchObject(told);
    expect(readAll(book)).toEqual([]);
    const { refuse, claim } = book;
    const whatever: (() => void)[] = [
      () => book.stored([entry(e1, [[1, 1]])]),
      () => expect(claim("f1", "gw-1", record(1, e1, 9000))).toBe("repeat"),
      () => expect(claim("f1", "gw-1", record(1, e1, 8000))).toBe("again"),
      () => expect(claim("f1", "gw-1", record(1, e1, 8000))).toBe("on its way"),
      () => refuse("f1", "gw-1", record(1, e1, 8000), { code: "VALUE_MISFIT", samples: [["b", 1007]] }),
      () => expect(claim("f1", "gw-1", record(1, e1, 8000))).toBe("refused"),
    ];
    for (const happens of whatever) {
      happens();
      const [notice, ...others] = readAll(book);
      expect([notice, others]).toMatchObject([told[0], []]);
      expect(notice).not.toHaveProperty("refused");
    }
    store(book, e2, [[0, 0]]);
    expect(readAll(book)).toMatchObject([{ epoch: e2, ranges: [[0, 0]] }]);
  });

  test("the earlier one may have been refused, or forgotten but for its notice", () => {
    const book = commitBook([], { maxRemembered: { ofEpoch: 1, all: 3 } });
    book.claim("f1", "gw-1", record(4));
    book.refuse("f1", "gw-1", record(4), { code: "VALUE_MISFIT" });
    expect(readAll(book)).toMatchObject([{ refused: [{ offset: 4, writtenAtMs: 1004, code: "VALUE_MISFIT" }] }]);
    expect(book.claim("f1", "gw-1", record(4, e1, 9000))).toBe("new");
    expect(readAll(book)).toMatchObject([{ epoch: e1, setBack: true }]);
    store(book, e2, [[0, 1]]);
    expect(book.claim("f1", "gw-1", record(0, e2, 9000))).toBe("again");
    expect(readAll(book)).toMatchObject([{ epoch: e2, setBack: true }]);
  });

  test("while the earlier record is on its way the later one has to wait, and is not freed by it", () => {
    const book = make();
    for (const offset of [3, 4, 5]) book.claim("f1", "gw-1", record(offset));
    expect(book.claim("f1", "gw-1", record(4, e1, 9000))).toBe("contested");
    book.stored([entry(e1, [[3, 5]])]);
    expect(readAll(book)).toMatchObject([{ ranges: [], setBack: true }]);
    expect(book.claim("f1", "gw-1", record(4, e1, 9000))).toBe("again");
    book.stored([entry(e1, [[4, 4]])]);
    expect(book.claim("f1", "gw-1", record(4, e1, 9000))).toBe("repeat");
  });
});

describe("memory", () => {
  test("times of writing are forgotten oldest first; what is forgotten is stored again, not believed", () => {
    const book = commitBook([], { maxRemembered: { ofEpoch: 2, all: 3 } });
    /** Stores one record, and has its notice sent. */
    const storeOne = (epoch: string, offset: number) => {
      expect(book.claim("f1", "gw-1", record(offset, epoch))).toBe("new");
      book.stored([entry(epoch, [[offset, offset]])]);
      book.notices(0);
    };
    for (const offset of [0, 1, 2]) storeOne(e1, offset);
    expect([0, 1, 2].map((offset) => book.claim("f1", "gw-1", record(offset)))).toEqual(["again", "repeat", "repeat"]);
    book.release("f1", "gw-1", record(0));
    for (const offset of [0, 1]) storeOne(e2, offset);
    expect(book.claim("f1", "gw-1", record(2))).toBe("again");
    expect(book.claim("f1", "gw-1", record(1, e2))).toBe("repeat");
  });

  test("epochs are forgotten, the one unused for longest first, but never with something on its way or due", () => {
    const name = (n: number) => n.toString(16).padStart(16, "0");
    const book = commitBook(
      Array.from({ length: 5 }, (_, n) => entry(name(n), [[0, 9]])),
      { maxEpochs: 3 },
    );
    expect([0, 1, 2, 3, 4].map((n) => book.claim("f1", "gw-1", record(5, name(n))))).toEqual([
      "new",
      "new",
      "again",
      "again",
      "again",
    ]);
    for (const n of [5, 6, 7]) store(book, name(n), [[0, 0]]);
    expect(book.claim("f1", "gw-1", record(5, name(2)))).toBe("on its way");
    expect(readAll(book).map(({ epoch }) => epoch)).toEqual([5, 6, 7].map(name));
  });
});

test("what the store refused is refused at once for a while, longer each time, but not another record under its offset", () => {
  let nowMs = 0;
  const book = commitBook([], { nowMs: () => nowMs });
  const refuse = () => {
    expect(book.claim("f1", "gw-1", record(7))).toBe("new");
    book.refuse("f1", "gw-1", record(7));
    expect(book.claim("f1", "gw-1", record(7))).toBe("refused");
  };
  const untilTried = () => {
    const fromMs = nowMs;
    while (book.claim("f1", "gw-1", record(7)) === "refused") nowMs += 1000;
    book.release("f1", "gw-1", record(7));
    return nowMs - fromMs;
  };
  const waits = Array.from({ length: 8 }, () => {
    refuse();
    return untilTried();
  });
  expect(waits).toEqual([15, 30, 60, 120, 240, 480, 600, 600].map((s) => s * 1000));
  refuse();
  expect(book.claim("f1", "gw-2", record(7))).toBe("new");
  expect(book.notices(0)).toEqual([]);
  expect(book.claim("f1", "gw-1", record(7, e1, 9999))).toBe("new");
});

describe("a record that the store refuses leaves no hole in the ranges", () => {
  const refusedRanges = (book: CommitBook) => book.refusedRanges().map(({ epoch, ranges }) => [epoch, ranges]);
  const refuse = (book: CommitBook, offset: number) => {
    book.claim("f1", "gw-1", record(offset));
    book.refuse("f1", "gw-1", record(offset), { code: "VALUE_MISFIT", samples: [["b", 1]] });
  };

  test("once its gateway is told: it is to be stored as done, until it is", () => {
    const book = commitBook([]);
    expect(refusedRanges(book)).toEqual([]);
    for (const offset of [0, 1, 3]) refuse(book, offset);
    book.claim("f1", "gw-1", record(4));
    book.refuse("f1", "gw-1", record(4));
    const refused = book.refusedRanges();
    expect(refusedRanges(book)).toEqual([
      [
        e1,
        [
          [0, 1],
          [3, 3],
        ],
      ],
    ]);
    refuse(book, 5);
    book.refusedStored(refused);
    expect(refusedRanges(book)).toEqual([[e1, [[5, 5]]]]);
    book.refusedStored(book.refusedRanges());
    expect(refusedRanges(book)).toEqual([]);
    expect(book.lastStored("f1", "gw-1", e1)).toEqual({ offset: 5, writtenAtMs: undefined });
  });

  test("and is not freed by that, whether it comes again soon, late, or after a restart; nor does it show a set-back", () => {
    let nowMs = 0;
    const setBacks: string[] = [];
    const onSetBack = (...who: string[]) => setBacks.push(who.join("/"));
    const book = commitBook([], { nowMs: () => nowMs, onSetBack });
    refuse(book, 0);
    const noted = book.refusedRanges();
    expect(readAll(book)).toMatchObject([{ ranges: [], refused: [{ offset: 0 }] }]);
    nowMs += 20_000;
    expect(book.claim("f1", "gw-1", record(0))).toBe("new");
    book.refusedStored(noted);
    expect(readAll(book)).toEqual([]);
    expect(book.claim("f1", "gw-1", record(0))).toBe("on its way");
    book.release("f1", "gw-1", record(0));
    expect(book.claim("f1", "gw-1", record(0))).toBe("new");
    const next = commitBook(noted, { onSetBack });
    expect(next.claim("f1", "gw-1", record(0))).toBe("again");
    expect([readAll(next), setBacks]).toEqual([[], []]);
    // Another record under its offset does.
    expect(book.claim("f1", "gw-1", record(0, e1, 9000))).toBe("contested");
    book.release("f1", "gw-1", record(0));
    expect(book.claim("f1", "gw-1", record(0, e1, 9000))).toBe("again");
    expect(setBacks).toHaveLength(2);
  });
});

describe("a gateway is told what the store refuses of a record", () => {
  const told = { code: "VALUE_MISFIT", samples: [["b", 1007] as const] };

  test("once, and again whenever the record comes while it is not tried; ranges go first", () => {
    const book = commitBook([]);
    for (const offset of [7, 8]) book.claim("f1", "gw-1", record(offset));
    book.refuse("f1", "gw-1", record(7), told);
    book.stored([entry(e1, [[8, 8]])]);
    const [ranges, refused, ...others] = readAll(book);
    expect(ranges).toMatchObject({ ranges: [[8, 8]], last: 8 });
    expect(refused).toMatchObject({ epoch: e1, ranges: [], refused: [{ offset: 7, ...told }] });
    expect(others).toEqual([]);
    expect(book.notices(1)).toEqual([]);
    for (let i = 0; i < 2; i += 1) {
      expect(book.claim("f1", "gw-1", record(7))).toBe("refused");
      expect(readAll(book)).toMatchObject([{ refused: [{ offset: 7, ...told }] }]);
    }
  });

  test("in several notices when it is much; the samples of one record stay together", () => {
    const book = commitBook([]);
    const many = (count: number) => Array.from({ length: count }, (_, i) => ["b", i] as const);
    const counts = [300, 300, 900, 1, 1];
    for (const [offset, count] of counts.entries())
      book.refuse("f1", "gw-1", record(offset), { code: "SAMPLE_TOO_LATE", samples: many(count) });
    book.refuse("f1", "gw-1", record(5), { code: "SAMPLE_TOO_LATE" });
    const notices = readAll(book).map(({ refused = [] }) => refused);
    expect(notices.map((each) => each.map(({ offset }) => offset))).toEqual([[0], [1], [2], [3, 4, 5]]);
    expect(notices.flat().map(({ samples }) => samples?.length)).toEqual([...counts, undefined]);
  });

  test("as far as memory for it goes: what was refused longest ago is tried again", () => {
    const book = commitBook([]);
    const samples = Array.from({ length: 100 }, (_, i) => ["b", i] as const);
    for (let offset = 0; offset < 2001; offset += 1)
      book.refuse("f1", "gw-1", record(offset), { code: "VALUE_MISFIT", samples });
    expect(book.claim("f1", "gw-1", record(0))).toBe("new");
    expect(book.claim("f1", "gw-1", record(1))).toBe("refused");
  });
});

test("many ranges are told in several notices, none left out", () => {
  const book = commitBook([]);
  const ranges = Array.from({ length: 1201 }, (_, i): [number, number] => [i * 2, i * 2]);
  store(book, e1, ranges);
  const notices = book.notices(0).map(read);
  expect(notices.map((n) => n.ranges.length)).toEqual([500, 500, 201]);
  expect(notices.flatMap((n) => n.ranges)).toEqual(ranges);
  expect(notices.flatMap((n) => n.writtenAtMs)).toEqual(ranges.map(([offset]) => 1000 + offset));
});

test("many records of one range too", () => {
  const book = commitBook([]);
  store(book, e1, [[7, 5006]]);
  const notices = book.notices(0).map(read);
  expect(notices.map((n) => n.ranges)).toEqual([[[7, 2006]], [[2007, 4006]], [[4007, 5006]]]);
  expect(notices.flatMap((n) => n.writtenAtMs)).toEqual(Array.from({ length: 5000 }, (_, i) => 1007 + i));
});
