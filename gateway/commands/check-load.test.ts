import { describe, expect, test } from "vitest";
import { readGatewayConfig } from "../config.ts";
import { commissioningWarnings } from "./check-warnings.ts";
import { configText } from "./test-io.ts";

function warningsOf(devices: string[], lines = ""): string[] {
  const read = readGatewayConfig(`${configText(...devices)}${lines}`, "gateway.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return commissioningWarnings(read.value);
}
const serial = (more: string) => `lines: [{ id: bus, kind: serial, path: /dev/ttyS0, ${more} }]\n`;
/** 100 registers in one read: 8 characters asked, 5 + 200 answered. */
const wide = (from: number, more = "") =>
  [from, from + 99].map((at) => `{ name: t${at}, table: holding, address: ${at}, type: int16${more} }`);
const unit = (i: number, tags: string[], more = "") =>
  `- { id: m-${i}, driver: modbus-rtu, line: bus, unitId: ${i}, timeoutMs: 5000, maxGapRegisters: 124${more}, tags: [${tags.join(", ")}] }`;
const units = (count: number) => Array.from({ length: count }, (_, i) => unit(i + 1, wide(0)));
const meter = (pollIntervalMs: number, ...dataIds: string[]) => {
  const tags = dataIds.map((dataId, i) => `{ name: d${i}, dataId: "${dataId}" }`);
  return `- { id: meter, driver: dlt645, line: bus, meterAddress: "000000000001", timeoutMs: 9000, pollIntervalMs: ${pollIntervalMs}, tags: [${tags.join(", ")}] }`;
};

describe("a line", () => {
  // 213 characters of 10 bits at 9600 baud are 221.9 ms; with 20 ms before the answer and 3.6 ms (3.5 characters) after it 245.5 ms.
  const at9600 = serial("baudRate: 9600");

  test("has room for the reads of all its devices, or not", () => {
    expect(warningsOf(units(3), at9600)).toEqual([]);
    expect(warningsOf(units(4), at9600)).toEqual([
      "line bus: reading its 4 devices takes about 98 % of its time (most of them m-1: 25 %), with 9600 baud 8N1 and 20 ms before each answer (assumed): a retry or a time-out leaves polls out; raise pollIntervalMs, put tags that change seldom into a group, raise the baud rate of all devices, or divide them among two lines",
    ]);
    expect(warningsOf(units(5), at9600)).toEqual([
      expect.stringMatching(/takes about 123 % .*: the intervals cannot be met, polls will be left out; raise/),
    ]);
  });

  test("is reckoned at its speed, with the bits of its characters", () => {
    // 10 bits: 1775 + 20 + 29.2 ms. 12 bits (8E2): 2130 + 20 + 35 ms.
    const slow = (more: string) => warningsOf(units(1), serial(`baudRate: 1200, ${more}`));
    expect(slow("parity: none")).toEqual([
      expect.stringMatching(/^line bus: reading device m-1 takes about 182 % of its time, with 1200 baud 8N1/),
    ]);
    expect(slow("parity: even, stopBits: 2")).toEqual([expect.stringMatching(/about 219 % .*1200 baud 8E2/)]);
  });

  test("is quiet between frames for as long as the slowest rule says", () => {
    // 221.9 + 20 + 50 ms, three times.
    expect(warningsOf(units(3), serial("baudRate: 9600, turnaroundMs: 50"))).toEqual([
      expect.stringMatching(/about 88 %/),
    ]);
    expect(warningsOf(units(3), serial("baudRate: 9600, turnaroundMs: 2"))).toEqual([]);
    expect(warningsOf(units(3), serial("baudRate: 9600, quietMs: 60"))).toEqual([expect.stringMatching(/about 91 %/)]);
  });

  test("behind a converter has an assumed speed, and the pause of networks", () => {
    // 213 characters of 11 bits: 244.1 + 20 + 20 ms, three times.
    expect(warningsOf(units(3), "lines: [{ id: bus, kind: tcp, host: 10.0.0.9, port: 8899 }]\n")).toEqual([
      expect.stringMatching(/about 85 % .* with 9600 baud and 20 ms before each answer \(assumed\)/),
    ]);
  });

  test("reads each group at the group's interval", () => {
    const both = (more: string) => [1, 2].map((i) => unit(i, [...wide(0), ...wide(1000, more)], groups(more)));
    const groups = (more: string) => (more === "" ? "" : ", groups: { slow: { pollIntervalMs: 60000 } }");
    // Two reads of 245.5 ms each second for each of two units; or one each second and one each minute.
    expect(warningsOf(both(""), at9600)).toEqual([expect.stringMatching(/about 98 %/)]);
    expect(warningsOf(both(", group: slow"), at9600)).toEqual([]);
    // 2 * (245.5 / 1000 + 245.5 / 2000) = 74 %, and with a third 110 %.
    const often = [1, 2, 3].map((i) =>
      unit(i, [...wide(0), ...wide(1000, ", group: g")], ", groups: { g: { pollIntervalMs: 2000 } }"),
    );
    expect(warningsOf(often.slice(0, 2), at9600)).toEqual([]);
    expect(warningsOf(often, at9600)).toEqual([expect.stringMatching(/about 110 %/)]);
  });

  test("does not reckon with devices that are simulated", () => {
    const simulated = units(5).map((text) => text.replace("maxGap", "simulated: true, maxGap"));
    expect(warningsOf(simulated, at9600)).toEqual([]);
  });
});

describe("a line of DL/T 645", () => {
  // 8E1 at 2400 baud: 4.583 ms a character; 100 ms before the answer and 16.0 ms after it.
  const at2400 = serial("baudRate: 2400, parity: even");
  const dataIds = [
    // One block of three voltages, 2 bytes each: 20 characters asked, 26 answered: 326.9 ms.
    ...["02010100", "02010200", "02010300"],
    // One block of an energy and its tariffs, at least 5 of 4 bytes: 20 + 40 characters: 391.0 ms.
    ...["00010000", "00010100"],
    // Alone, 2 bytes: 20 + 22 characters: 308.5 ms.
    "02800002",
  ];

  test("asks for a block or a value with each question, in frames as long as the standard makes them", () => {
    expect(warningsOf([meter(1000, ...dataIds)], at2400)).toEqual([
      expect.stringMatching(
        /^line bus: reading device meter takes about 103 % of its time, with 2400 baud 8E1 and 100 ms \(DL\/T 645\) before each answer \(assumed\): the intervals cannot/,
      ),
    ]);
    expect(warningsOf([meter(2000, ...dataIds)], at2400)).toEqual([]);
  });

  test("needs a second frame for what does not fit into one", () => {
    // 64 energies of 4 bytes are 256: 20 + 216 characters, then 21 + 81: 338 * 4.583 + 2 * 116.0 = 1781 ms.
    expect(warningsOf([meter(2000, "00010000", "00013F00")], at2400)).toEqual([expect.stringMatching(/about 89 %/)]);
  });

  test("is shared with Modbus, and both are added up", () => {
    // 1026.5 ms of the meter and 213 * 4.583 + 20 + 16.0 = 1012.3 ms of the unit, each in 2 s.
    const shared = [meter(2000, ...dataIds), unit(1, wide(0), ", pollIntervalMs: 2000")];
    expect(warningsOf(shared, at2400)).toEqual([
      expect.stringMatching(
        /^line bus: reading its 2 devices takes about 102 % of its time \(most of them meter: 51 %\), with 2400 baud 8E1 and 20 ms and 100 ms \(DL\/T 645\) before/,
      ),
    ]);
  });

  test("behind a converter is assumed to be slow", () => {
    // 4.583 ms a character, 20 ms between: 3 * 120 ms and 148 characters.
    const converter = "lines: [{ id: bus, kind: listen, port: 8899, registration: 'box' }]\n";
    expect(warningsOf([meter(1000, ...dataIds)], converter)).toEqual([
      expect.stringMatching(/about 104 % .*2400 baud and/),
    ]);
  });
});

describe("a device with its own Ethernet", () => {
  const tag = (i: number, more: string) => `{ name: t${i}, table: holding, address: ${i * 100}, type: int16${more} }`;
  const device = (fast: number, slow: number) => {
    const tags = [
      ...Array.from({ length: fast }, (_, i) => tag(i, "")),
      ...Array.from({ length: slow }, (_, i) => tag(fast + i, ", group: slow")),
    ];
    return `- { id: plc, driver: modbus-tcp, host: 10.0.0.1, unitId: 1, groups: { ${slow > 0 ? "slow: { pollIntervalMs: 60000 }" : ""} }, tags: [${tags.join(", ")}] }`;
  };

  test("has reads of 20 ms each, those of a group at its interval", () => {
    // 45 * 20 ms each second; 30 * 20 ms each second and 30 each minute.
    expect(warningsOf([device(45, 0)])).toEqual([
      expect.stringMatching(/^device plc: 45 reads of 20 ms \(assumed\) take about 90 % of the time: a retry or/),
    ]);
    expect(warningsOf([device(30, 30)])).toEqual([]);
  });
});
