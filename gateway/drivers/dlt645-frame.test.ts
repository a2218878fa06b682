import { readFileSync } from "node:fs";
import { join } from "node:path";
import { formatScaled } from "@jilian/domain/decimal.ts";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { decodeNumber, type NumberFormat, parseFormat } from "./dlt645-decode.ts";
import { type Asked, answerIn, checksum, findAnswer, requestFrame } from "./dlt645-frame.ts";
import { knownData } from "./dlt645-ids.ts";

type Published = {
  source: string;
  meterAddress: string;
  frames: { dataId: string; request?: string; answer: string; values?: (string | null)[]; refused?: number }[];
};

const folder = join(import.meta.dirname, "../fixtures");
const published = parse(readFileSync(join(folder, "dlt645-frames.yaml"), "utf8")) as Published[];
const bytesOf = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");
const preamble = "FE FE FE FE";

/** The format of an identifier, of a block that of its values. */
function formatOf(dataId: string): NumberFormat {
  const known = knownData(dataId.replace(/^(....)FF/, "$101"));
  const format = known === undefined ? undefined : parseFormat(known.format, known.signed);
  if (format === undefined) throw new Error(`${dataId} is not known`);
  return format;
}

function decimals(data: Buffer, dataId: string): (string | null)[] {
  const format = formatOf(dataId);
  const bytes = format.digits / 2;
  return Array.from({ length: data.length / bytes }, (_, i) => {
    const { value } = decodeNumber(data.subarray(i * bytes, (i + 1) * bytes), format);
    return value === null ? null : formatScaled(BigInt(value), format.places);
  });
}

describe.each(published)("published: $source", ({ meterAddress, frames }) => {
  it.each(frames)("$dataId", ({ dataId, request, answer, values, refused }) => {
    const asked: Asked = { meterAddress, dataId };
    if (request !== undefined) expect(requestFrame(asked)).toEqual(bytesOf(preamble + request.replace(preamble, "")));
    const frame = findAnswer(bytesOf(answer), asked);
    expect(frame).toEqual(bytesOf(answer.replace(preamble, "")));
    const read = answerIn(frame as Buffer, asked);
    if (refused !== undefined) expect(read).toEqual({ kind: "refused", error: refused });
    else {
      expect(read).toMatchObject({ kind: "data", more: false });
      expect(decimals((read as { data: Buffer }).data, dataId)).toEqual(values);
    }
  });
});

const asked: Asked = { meterAddress: "000000000161", dataId: "02010100" };
const right = bytesOf("68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16");

function answerFrame(control: number, data: string, address = "610100000000"): Buffer {
  const coded = bytesOf(data).map((byte) => byte + 0x33);
  const body = Buffer.concat([bytesOf(`68 ${address} 68`), Buffer.from([control, coded.length]), coded]);
  return Buffer.concat([body, Buffer.from([checksum(body), 0x16])]);
}

describe("findAnswer", () => {
  it.each([
    ["an echo of the request", requestFrame(asked)],
    ["another meter's answer", answerFrame(0x91, "00010102 0110", "620100000000")],
    ["a late answer to another identifier", answerFrame(0x91, "00020102 0110")],
    ["an answer to another question", answerFrame(0x93, "610100000000")],
    ["a following frame", answerFrame(0x92, "00010102 0110 01")],
    ["a refusal to write", answerFrame(0xd4, "04")],
    ["a refusal of more than its byte", answerFrame(0xd1, "0204")],
    ["a wrong checksum", Buffer.from(right).fill(0x11, 16, 17)],
    ["no end", Buffer.from(right).fill(0x17, 17)],
    ["a length beyond the standard's", bytesOf("68 61 01 00 00 00 00 68 91 C9")],
    ["what begins like a frame, twice", bytesOf("00 68 68 00 FF 68 11 22 33 44 55 66 68 01 08")],
    ["the first half of the answer", right.subarray(0, 9)],
  ])("passes over %s", (_, foreign) => {
    expect(findAnswer(foreign, asked)).toBeUndefined();
    expect(findAnswer(Buffer.concat([foreign, bytesOf(preamble), right]), asked)).toEqual(right);
  });

  it("gives nothing until the last byte has come, however the answer is cut", () => {
    for (let i = 0; i < right.length; i += 1) expect(findAnswer(right.subarray(0, i), asked)).toBeUndefined();
    expect(findAnswer(Buffer.concat([right, bytesOf("68 99")]), asked)).toEqual(right);
  });

  it("takes a following frame of the number asked for, and says whether another follows", () => {
    const next = { ...asked, sequence: 2 };
    expect(findAnswer(answerFrame(0x92, "00010102 0110 01"), next)).toBeUndefined();
    expect(findAnswer(answerFrame(0x92, "00010102"), next)).toBeUndefined();
    const more = findAnswer(answerFrame(0xb2, "00010102 0110 02"), next) as Buffer;
    expect(answerIn(more, next)).toEqual({ kind: "data", data: bytesOf("0110"), more: true });
    expect(answerIn(answerFrame(0xd2, "02"), next)).toEqual({ kind: "refused", error: 2 });
  });

  it("takes no refusal of what another master has asked of the meter, before us or behind our request", () => {
    const [own, foreign] = [requestFrame(asked), requestFrame({ ...asked, dataId: "04000501" })];
    const refusal = answerFrame(0xd1, "02");
    for (const answer of [right, refusal]) {
      const behind = Buffer.concat([own, requestFrame({ ...asked, meterAddress: "000000000162" }), refusal]);
      expect(findAnswer(behind, asked, foreign)).toBeUndefined();
      expect(findAnswer(Buffer.concat([behind, answer]), asked, foreign)).toEqual(answer);
      expect(findAnswer(Buffer.concat([own, foreign, refusal, answer]), asked)).toEqual(answer);
      // It has had its refusal before we asked.
      expect(findAnswer(Buffer.concat([own, answer]), asked, Buffer.concat([foreign, refusal]))).toEqual(answer);
    }
    expect(findAnswer(Buffer.concat([own, refusal]), asked)).toEqual(refusal);
  });

  it("stays within its bytes on any input", () => {
    const noise = Buffer.alloc(4096, 0x68);
    expect(findAnswer(noise, asked)).toBeUndefined();
    expect(findAnswer(Buffer.concat([noise, right]), asked)).toEqual(right);
  });
});

describe("requestFrame", () => {
  it("has read data and read following data, and no other control code", () => {
    const controls = [undefined, 0, 1, 255].map((sequence) =>
      requestFrame(sequence === undefined ? asked : { ...asked, sequence }).readUInt8(4 + 8),
    );
    expect(controls).toEqual([0x11, 0x12, 0x12, 0x12]);
  });

  it.each(["999999999999", "AAAAAAAAAAAA", "12345", ""])("asks no %s", (meterAddress) => {
    expect(() => requestFrame({ ...asked, meterAddress })).toThrow(RangeError);
  });
});
