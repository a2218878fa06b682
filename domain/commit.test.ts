import { describe, expect, it } from "vitest";
import { decodeHeader, decodeNotice, encodeHeader, encodeNotice } from "./commit.ts";

const header = { epoch: "00ff00000000abcd", offset: 2 ** 40 + 3, writtenAtMs: 1_750_000_000_123 };

describe("record header", () => {
  it("is version, epoch, offset and time, big-endian", () => {
    const bytes = encodeHeader(header);
    expect(Buffer.from(bytes).toString("hex")).toBe("0100ff00000000abcd0000010000000003000001977420dc7b");
    expect(decodeHeader(bytes)).toEqual(header);
  });

  it("is read from a view into a larger buffer", () => {
    const large = new Uint8Array(100);
    large.set(encodeHeader(header), 50);
    expect(decodeHeader(large.subarray(50, 75))).toEqual(header);
  });

  it("of another length or version, or beyond 2^53, is none", () => {
    const bytes = encodeHeader(header);
    expect(decodeHeader(bytes.subarray(1))).toBeUndefined();
    expect(decodeHeader(new Uint8Array([...bytes, 0]))).toBeUndefined();
    expect(decodeHeader(new Uint8Array())).toBeUndefined();
    expect(decodeHeader(bytes.with(0, 2))).toBeUndefined();
    expect(decodeHeader(bytes.with(9, 0xff))).toBeUndefined();
    expect(decodeHeader(bytes.with(17, 0xff))).toBeUndefined();
  });
});

describe("commit notice", () => {
  const notice = {
    epoch: "0123456789abcdef",
    ranges: [
      [0, 4],
      [6, 6],
    ] as [number, number][],
    atMs: 1_750_000_000_000,
  };

  it("is read back as written", () => expect(decodeNotice(encodeNotice(notice))).toEqual(notice));

  it("says what the platform has last, and that the gateway was set back, only where it knows", () => {
    const told = { ...notice, ranges: [], last: 7, setBack: true as const };
    expect(decodeNotice(encodeNotice(told))).toEqual(told);
    expect(Object.keys(JSON.parse(encodeNotice(notice)) as object)).toEqual(["v", "epoch", "ranges", "atMs"]);
  });

  it("says when each of its records was written, as differences, in any order", () => {
    const writtenAtMs = [1_750_000_000_000, 1_750_000_000_000, 1_750_000_001_000, 1_749_999_999_999, 7, 8];
    const text = encodeNotice({ ...notice, writtenAtMs });
    expect(JSON.parse(text)).toMatchObject({ writtenMs: [1_750_000_000_000, 0, 1000, -1001, -1_749_999_999_992, 1] });
    expect(decodeNotice(text)).toEqual({ ...notice, writtenAtMs });
    expect(decodeNotice(encodeNotice({ ...notice, ranges: [], writtenAtMs: [] }))).toMatchObject({ ranges: [] });
  });

  it("names refused records, with the samples where they are known", () => {
    const refused = [
      {
        offset: 5,
        writtenAtMs: 1_750_000_000_000,
        code: "VALUE_MISFIT",
        samples: [["温度", 1_750_000_000_001] as const],
      },
      { offset: 9, code: "SAMPLE_TOO_LATE" },
    ];
    expect(decodeNotice(encodeNotice({ ...notice, refused }))).toEqual({ ...notice, refused });
    expect(decodeNotice(encodeNotice({ ...notice, refused: [] }))).toEqual(notice);
  });

  it.each([
    { offset: -1, code: "VALUE_MISFIT" },
    { offset: 1 },
    { offset: 1, code: "because of \n" },
    { offset: 1, code: "VALUE_MISFIT", writtenAtMs: 1.5 },
    { offset: 1, code: "VALUE_MISFIT", writtenAtMs: null },
    { offset: 1, code: "VALUE_MISFIT", samples: [] },
    { offset: 1, code: "VALUE_MISFIT", samples: null },
    { offset: 1, code: "VALUE_MISFIT", samples: [["a"]] },
    { offset: 1, code: "VALUE_MISFIT", samples: [["a", 1.5]] },
    { offset: 1, code: "VALUE_MISFIT", samples: [[1, 1]] },
    null,
    7,
  ])("refuses a refused record %j", (refused) => {
    const text = JSON.stringify({ ...notice, v: 1, refused: [{ offset: 1, code: "VALUE_MISFIT" }, refused] });
    expect(() => decodeNotice(text)).toThrow(expect.objectContaining({ code: "COMMIT_NOTICE_INVALID" }));
  });

  it.each([
    "",
    "null",
    "7",
    "[]",
    "{",
    JSON.stringify({ ...notice }),
    JSON.stringify({ ...notice, v: 2 }),
    JSON.stringify({ ...notice, v: 1, epoch: "0123456789ABCDEF" }),
    JSON.stringify({ ...notice, v: 1, epoch: "123" }),
    JSON.stringify({ ...notice, v: 1, ranges: [[4, 0]] }),
    JSON.stringify({ ...notice, v: 1, ranges: [[-1, 0]] }),
    JSON.stringify({ ...notice, v: 1, ranges: [[0, 1.5]] }),
    JSON.stringify({ ...notice, v: 1, ranges: [[0]] }),
    JSON.stringify({ ...notice, v: 1, ranges: [["0", "1"]] }),
    JSON.stringify({ ...notice, v: 1, ranges: { 0: [0, 1] } }),
    JSON.stringify({ ...notice, v: 1, ranges: [[0, 2 ** 53 - 1]], writtenMs: [1] }),
    ...[null, 7, [], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1, "1"], [1, 1, 1, 1, 1, null], [0.5, 1, 1, 1, 1, 1]].map(
      (writtenMs) => JSON.stringify({ ...notice, v: 1, writtenMs }),
    ),
    JSON.stringify({ ...notice, v: 1, writtenMs: [2 ** 53 - 1, 1, 1, 1, 1, 1] }),
    JSON.stringify({ ...notice, v: 1, atMs: "now" }),
    JSON.stringify({ ...notice, v: 1, atMs: 1e19 }),
    JSON.stringify({ ...notice, v: 1 }).replace("1750000000000", "1e999"),
    JSON.stringify({ ...notice, v: 1, last: -1 }),
    JSON.stringify({ ...notice, v: 1, last: 2 ** 53 }),
    JSON.stringify({ ...notice, v: 1, last: null }),
    JSON.stringify({ ...notice, v: 1, setBack: false }),
    JSON.stringify({ ...notice, v: 1, setBack: 1 }),
  ])("refuses %s", (text) => {
    expect(() => decodeNotice(text)).toThrow(expect.objectContaining({ code: "COMMIT_NOTICE_INVALID" }));
  });
});
