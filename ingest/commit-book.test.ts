import { decodeNotice } from "@jilian/domain/commit.ts";
import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { expect, test } from "vitest";
import { commitBook } from "./commit-book.ts";

const e1 = "00000000000000e1";
const e2 = "00000000000000e2";
const entry = (epoch: string, ranges: [number, number][], node = "gw-1") => ({ group: "f1", node, epoch, ranges });

function read(notice: { topic: string; payload: Uint8Array } | undefined) {
  const metric = notice && decodePayload(notice.payload).metrics[0];
  if (!notice || metric?.wire.case !== "stringValue") throw new Error("no notice");
  return { topic: notice.topic, name: metric.name, ...decodeNotice(metric.wire.value) };
}

test("a record is claimed once, until it is stored or released", () => {
  const book = commitBook([]);
  expect(book.claim("f1", "gw-1", { epoch: e1, offset: 4 })).toBe(true);
  expect(book.claim("f1", "gw-1", { epoch: e1, offset: 4 })).toBe(false);
  expect(book.claim("f1", "gw-1", { epoch: e2, offset: 4 })).toBe(true);
  expect(book.claim("f1", "gw-2", { epoch: e1, offset: 4 })).toBe(true);
  book.release("f1", "gw-1", { epoch: e1, offset: 4 });
  expect(book.claim("f1", "gw-1", { epoch: e1, offset: 4 })).toBe(true);
  expect(book.notices(0)).toEqual([]);
});

test("what is stored becomes due once, as ranges, to the node that sent it", () => {
  const book = commitBook([]);
  book.stored([
    entry(e1, [
      [3, 5],
      [9, 9],
    ]),
    entry(e2, [[0, 0]], "gw-2"),
  ]);
  book.stored([entry(e1, [[6, 6]])]);
  expect(book.notices(77).map(read)).toEqual([
    {
      topic: "spBv1.0/f1/NCMD/gw-1",
      name: "Jilian/Commit",
      epoch: e1,
      ranges: [
        [3, 6],
        [9, 9],
      ],
      atMs: 77,
    },
    { topic: "spBv1.0/f1/NCMD/gw-2", name: "Jilian/Commit", epoch: e2, ranges: [[0, 0]], atMs: 77 },
  ]);
  expect(book.notices(78)).toEqual([]);
});

test("a repeat of what is stored is answered again, of that record alone", () => {
  const book = commitBook([entry(e1, [[0, 99]])]);
  expect(book.notices(0)).toEqual([]);
  expect(book.claim("f1", "gw-1", { epoch: e1, offset: 42 })).toBe(false);
  expect(read(book.notices(1)[0]).ranges).toEqual([[42, 42]]);
  expect(book.claim("f1", "gw-1", { epoch: e1, offset: 100 })).toBe(true);
});

test("many ranges are told in several notices, none left out", () => {
  const book = commitBook([]);
  const ranges = Array.from({ length: 1201 }, (_, i): [number, number] => [i * 2, i * 2]);
  book.stored([entry(e1, ranges)]);
  const notices = book.notices(0).map(read);
  expect(notices.map((n) => n.ranges.length)).toEqual([500, 500, 201]);
  expect(notices.flatMap((n) => n.ranges)).toEqual(ranges);
});
