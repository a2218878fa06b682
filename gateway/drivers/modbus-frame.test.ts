import { describe, expect, it } from "vitest";
import { answerFault, buildFrame, crc16, createFrameReader, type Frame } from "./modbus-frame.ts";

const bytes = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const frame = (pdu: string, unitId = 1): Frame => ({ transactionId: 5, unitId, pdu: bytes(pdu) });

describe("createFrameReader", () => {
  const stream = bytes("0001 0000 0005 01 03 02 002A 0002 0000 0003 01 83 02 FFFF 0000 0004 11 01 01 05");

  it.each([1, 2, 3, 7, 11, 100])("finds the same frames in pieces of %i bytes", (size) => {
    const read = createFrameReader();
    const frames: Frame[] = [];
    for (let at = 0; at < stream.length; at += size) frames.push(...(read(stream.subarray(at, at + size)) as Frame[]));
    expect(frames.map((f) => [f.transactionId, f.unitId, f.pdu.toString("hex")])).toEqual([
      [1, 1, "0302002a"],
      [2, 1, "8302"],
      [65_535, 17, "010105"],
    ]);
  });

  it.each([
    ["0001 0001 0005", "protocol id 1"],
    ["0001 0000 0002 01 03", "frame length 2"],
    ["0001 0000 00FF", "frame length 255"],
  ])("gives up on %s", (text, reason) => {
    expect(createFrameReader()(bytes(text))).toContain(reason);
  });
});

it("writes the frame of the specification's layout", () => {
  expect(buildFrame(frame("03 006B 0003", 0x11)).toString("hex")).toBe("000500000006" + "11" + "03006b0003");
});

describe("answerFault", () => {
  const registers = frame("03 0000 0002");
  it.each([
    ["03 04 0001 0002", undefined],
    ["83 02", undefined],
    ["03 02 0001", "2 bytes of data"],
    ["03 04 0001 0002 0003", "6 bytes of data"],
    ["03 05 0001 0002", "byte count 5"],
    ["04 04 0001 0002", "function 4"],
    ["84 02", "function 132"],
  ])("registers: %s", (pdu, fault) => {
    if (fault === undefined) expect(answerFault(registers, frame(pdu))).toBeUndefined();
    else expect(answerFault(registers, frame(pdu))).toContain(fault);
  });

  it("wants as many bytes as the bits need", () => {
    expect(answerFault(frame("01 0000 0009"), frame("01 02 FF01"))).toBeUndefined();
    expect(answerFault(frame("02 0000 0008"), frame("02 02 FF01"))).toContain("for 1");
  });

  it("wants the unit that was asked, also of an exception", () => {
    expect(answerFault(registers, frame("83 02", 2))).toContain("unit 2");
  });

  it("knows an identification from another answer of function 43", () => {
    const request = frame("2B 0E 01 00");
    expect(answerFault(request, frame("2B 0E 01 81 00 00 00"))).toBeUndefined();
    expect(answerFault(request, frame("2B 0D 01 81 00 00 00"))).toContain("none");
    expect(answerFault(request, frame("2B 0E 01"))).toContain("none");
  });
});

it("computes the CRC of the specification's example (V1.02, 6.2.2: 02 07 gives 41 12)", () => {
  expect(crc16(bytes("02 07"))).toBe(0x1241);
});
