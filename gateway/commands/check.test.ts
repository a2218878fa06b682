import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readGatewayConfig } from "../config.ts";
import { programs } from "../test-program.ts";
import { historyWarnings } from "./check-history.ts";
import { commissioningWarnings } from "./check-warnings.ts";
import { configText } from "./test-io.ts";

const device = (tags: string[], extra = "") =>
  `- { id: meter, driver: modbus-tcp, host: 10.0.0.1, unitId: 1${extra}, tags: [${tags.map((tag) => `{ ${tag} }`).join(", ")}] }`;

function warningsOf(...devices: string[]): string[] {
  const read = readGatewayConfig(configText(...devices), "gateway.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return commissioningWarnings(read.value);
}
const level = "name: level, table: holding, address: 0, type: int16";
/** Tags too far apart for one read. */
const apart = (count: number) =>
  Array.from({ length: count }, (_, i) => `name: t${i}, table: holding, address: ${i * 100}, type: int16`);

describe("warns of", () => {
  test.each([
    [
      "values in the same registers",
      [level, "name: energy, table: holding, address: 0, type: uint32"],
      /level \(holding 0, int16\) and energy \(holding 0, uint32\) share registers/,
    ],
    [
      "values that overlap by half",
      ["name: a, table: input, address: 10, type: float32", "name: b, table: input, address: 11, type: float32"],
      /a \(input 10, float32\) and b \(input 11, float32\)/,
    ],
    [
      "the same value in two byte orders",
      [
        "name: a, table: input, address: 10, type: float32",
        "name: b, table: input, address: 10, type: float32, order: CDAB",
      ],
      /share registers/,
    ],
    [
      "energy without a role",
      ["name: e, table: holding, address: 0, type: uint32, unit: kWh"],
      /tag e: unit kWh without a role.*energy\.import \(in kWh\)/,
    ],
    [
      "a carrier that is not the role's",
      ["name: e, table: holding, address: 0, type: uint32, unit: m3, role: gas.import, carrier: water"],
      /role gas\.import with carrier water, whose meters have role water\.import/,
    ],
    [
      "a counter in a float32",
      ["name: e, table: holding, address: 0, type: float32, unit: kWh, role: energy.import"],
      /7 digits/,
    ],
    ["whole kW", ["name: p, table: holding, address: 0, type: int16, unit: kW, role: power.active"], /counts whole kW/],
    [
      "parts of pieces",
      [
        "name: n, table: holding, address: 0, type: uint32, unit: pcs, role: production.total, scale: { numerator: 1, denominator: 10 }",
      ],
      /scale of 1\/10/,
    ],
    [
      "addresses as a manual counts them",
      ["name: a, table: holding, address: 40101, type: int16", "name: b, table: holding, address: 40001, type: int16"],
      /holding addresses \(40101\) as the manual counts them\? if they are, write 100 for 40101/,
    ],
  ])("%s", (_what, tags, expected) => {
    expect(warningsOf(device(tags))).toEqual([expect.stringMatching(expected)]);
  });

  test("what looks like an IP address, and of addresses as in a manual only where all are so", () => {
    expect(warningsOf(device([level]).replace("10.0.0.1", "192.168.1.300"))).toEqual([
      expect.stringMatching(/^192\.168\.1\.300 is no IP address/),
    ]);
    // The C library takes it for 192.168.1.8.
    expect(warningsOf(device([level], ", backup: { host: 192.168.001.010 }"))).toEqual([
      expect.stringMatching(/^192\.168\.001\.010 is no IP address: .*without zeros before them/),
    ]);
    expect(warningsOf(device([level]).replace("10.0.0.1", '"fe80::1"'))).toEqual([]);
    expect(warningsOf(device([level, "name: b, table: holding, address: 40001, type: int16"]))).toEqual([]);
  });

  test("a value in another character set: m³ as an editor in GBK leaves it", () => {
    const unit = Buffer.from([0x6d, 0xb3]).toString("utf8");
    expect(warningsOf(device([`${level}, unit: "${unit}"`]))).toEqual([
      expect.stringMatching(/^\/devices\/0\/tags\/0\/unit: .*save the file as UTF-8/),
    ]);
  });

  test("polls that take longer than their interval, and says what it assumes", () => {
    expect(warningsOf(device(apart(60)))).toEqual([
      expect.stringMatching(
        /^device meter: 60 reads of 20 ms \(assumed\) take about 120 % of the time: the intervals cannot be met, polls will be left out; raise/,
      ),
    ]);
    expect(warningsOf(device(apart(60), ", maxReadsInFlight: 2"))).toEqual([]);
    expect(warningsOf(device(apart(60), ", simulated: true"))).toEqual([]);
  });

  test("units behind one address whose polls no serial line can carry", () => {
    const wide =
      "name: t, table: holding, address: 0, type: int16 }, { name: u, table: holding, address: 99, type: int16";
    const unit = (i: number, intervalMs: number) =>
      device([wide], `, pollIntervalMs: ${intervalMs}, maxGapRegisters: 124`)
        .replace("id: meter", `id: meter-${i}`)
        .replace("unitId: 1", `unitId: ${i}`);
    // 213 characters of 11 bits at 9600 baud, 20 ms and the time of 3.5 characters: 268 ms for each unit.
    expect(warningsOf(unit(1, 1000), unit(2, 1000), unit(3, 1000), unit(4, 1000))).toEqual([
      expect.stringMatching(
        /^10\.0\.0\.1:502, if it is a serial line: reading its 4 devices takes about 107 % of its time \(most of them meter-1: 27 %\), with 9600 baud/,
      ),
    ]);
    expect(warningsOf(unit(1, 2000), unit(2, 2000), unit(3, 2000), unit(4, 2000))).toEqual([]);
    const five = [1, 2, 3, 4, 5].map((i) => unit(i, 5000));
    expect(warningsOf(...five)).toEqual([]);
    const own = (text: string) => text.replace("maxGapRegisters", "connection: own, maxGapRegisters");
    expect(warningsOf(...five.map(own))).toEqual([
      expect.stringMatching(/^10\.0\.0\.1: 5 connections, of which 0 are shared/),
    ]);
    expect(warningsOf(five[0] as string, ...five.slice(1).map(own))).toEqual([
      expect.stringMatching(/^10\.0\.0\.1: 5 connections, of which 1 are shared/),
    ]);
  });

  test("several units that change between two addresses: two masters where both are converters on one line", () => {
    const unit = (i: number, more = "") =>
      `- { id: m${i}, driver: modbus-tcp, host: 10.0.0.1, backup: { host: 10.0.0.2 }, unitId: ${i}, pollIntervalMs: 5000,${more}
      tags: [{ name: a, table: input, address: 0, type: int16 }] }`;
    expect(warningsOf(unit(1))).toEqual([]);
    const pair = "10.0.0.1:502 and 10.0.0.2:502 stand in for each other for units 1, 2";
    expect(warningsOf(unit(1), unit(2))).toEqual([
      `${pair}: as converters on one line they are two masters; this gateway asks at one of them at a time, another program must not ask at either`,
    ]);
    expect(warningsOf(unit(1), unit(2, " connection: own,"))).toEqual([
      expect.stringContaining("with connections of their own m2 may be asked at both at once"),
    ]);
  });

  test("a line that whoever dials is given", () => {
    const unit = `- { id: m, driver: modbus-rtu, line: bus, unitId: 1, tags: [{ name: a, table: input, address: 0, type: int16 }] }`;
    const warningsWith = (more: string) => {
      const text = `${configText(unit)}lines: [{ id: bus, kind: listen, port: 9000${more} }]\n`;
      const read = readGatewayConfig(text, "gateway.yaml");
      return read.ok ? commissioningWarnings(read.value) : read.faults.map(({ path }) => path);
    };
    expect(warningsWith("")).toEqual([
      expect.stringMatching(/^line bus: whoever dials port 9000 is taken for its box/),
    ]);
    expect(warningsWith(", allow: [10.8.0.0/16]")).toEqual([]);
    expect(warningsWith(', registration: "1"')).toEqual([]);
  });

  test("a time-out that the longest answer on a line cannot keep, whatever is spoken there", () => {
    const warned = (line: string, devices: string) => {
      const read = readGatewayConfig(`${configText(devices)}lines: [{ id: bus, ${line} }]\n`, "gateway.yaml");
      if (!read.ok) throw new Error(JSON.stringify(read.faults));
      return commissioningWarnings(read.value).filter((text) => text.includes("timeoutMs"));
    };
    const wide =
      "{ name: t, table: holding, address: 0, type: int16 }, { name: u, table: holding, address: 99, type: int16 }";
    const unit = (timeoutMs: number) =>
      `- { id: m, driver: modbus-rtu, line: bus, unitId: 1, maxGapRegisters: 124, pollIntervalMs: 60000, heartbeatMs: 60000, timeoutMs: ${timeoutMs}, tags: [${wide}] }`;
    const serial = (baudRate: number) => `kind: serial, path: /dev/ttyS0, baudRate: ${baudRate}, parity: even`;
    // 205 characters of 11 bits at 2400 baud: 940 ms, and 20 ms before them.
    expect(warned(serial(2400), unit(959))).toEqual([
      expect.stringMatching(/^device m: its longest answer, 205 bytes, takes about 960 ms with 2400 baud/),
    ]);
    expect(warned(serial(2400), unit(960))).toEqual([]);
    expect(warned("kind: tcp, host: h, port: 8899", unit(200))).toEqual([expect.stringContaining("9600 baud")]);
    const energy = "tags: [{ name: e, dataId: '00010000' }]";
    const meter = `- { id: e, driver: dlt645, line: bus, meterAddress: "000000000001", pollIntervalMs: 60000, heartbeatMs: 60000, timeoutMs: 300, ${energy} }`;
    expect(warned(serial(600), meter)).toEqual([expect.stringMatching(/^device e: its longest answer, 24 bytes/)]);
    expect(warned(serial(2400), meter)).toEqual([]);
  });

  test("energy that is polled as if it were motion", () => {
    const energy = "name: e, table: holding, address: 0, type: uint32, unit: kWh, role: energy.import";
    const state = "name: s, table: holding, address: 4, type: uint16, unit: '1', role: machine.state";
    expect(warningsOf(device([energy], ", pollIntervalMs: 100"))).toEqual([expect.stringContaining("every 100 ms")]);
    expect(warningsOf(device([energy, state], ", pollIntervalMs: 100"))).toEqual([]);
  });

  test("a mistake in every tag, ten times", () => {
    const tags = Array.from(
      { length: 30 },
      (_, i) => `name: e${i}, table: holding, address: ${2 * i}, type: uint32, unit: kWh`,
    );
    const found = warningsOf(device(tags));
    expect([found.length, found.at(-1)]).toEqual([11, "and 20 more of this kind"]);
  });
});

test("says nothing of a register beside its bits, nor of what is right", () => {
  const bits = ["0", "3"].map((bit) => `name: b${bit}, table: holding, address: 0, type: bool, bit: ${bit}`);
  const power =
    "name: p, table: input, address: 0, type: int32, unit: kW, role: power.active, scale: { numerator: 1, denominator: 1000 }";
  expect(warningsOf(device([level, ...bits, power]))).toEqual([]);
});

describe("a history", () => {
  const of = (more: string, tags: readonly string[]) => {
    const read = readGatewayConfig(`${configText(device([...tags]))}${more}\n`, "gateway.yaml");
    if (!read.ok) throw new Error(JSON.stringify(read.faults));
    return historyWarnings(read.value);
  };
  const words = (count: number) =>
    Array.from({ length: count }, (_, i) => `name: t${i}, table: holding, address: ${i}, type: int16`);
  const small = (mebibytes: number) => `history: { maxBytes: ${mebibytes * 1024 ** 2} }`;

  test("that will not reach back six months is told, with what to write; one that will is not", () => {
    expect(of("", words(5))).toEqual([]);
    expect(of(small(4), words(3))).toEqual([]);
    expect(of(small(4), words(5))).toEqual([
      "history.maxBytes holds some 124 days of 5 tags, less than the 184 days of six months; raise history.maxBytes from 4194304 to 6291456 or more, on a medium that has room for it (history.path)",
    ]);
    expect(of(small(6), words(5))).toEqual([]);
    expect(of("history: { keepDays: 90 }", words(1))).toEqual([
      "history.keepDays is 90, less than the 184 days of six months; raise it to 184 or more",
    ]);
    expect(of("history: false", words(5))).toEqual([]);
  });

  test("counts each kind by its size", () => {
    // Bits are states, whose codes take more: 3 tags x 76 bytes x 96.
    const bits = [0, 1, 2].map((i) => `name: b${i}, table: coil, address: ${i}, type: bool`);
    expect(of(small(4), bits)).toEqual([]);
    expect(of(small(4), [...bits, ...words(1)])).toEqual([expect.stringContaining("some 146 days of 4 tags")]);
  });
});

describe("the program", () => {
  let bench: ReturnType<typeof programs>;
  beforeEach(() => {
    bench = programs();
  });
  afterEach(() => bench.end());

  test("tells warnings beside the result and ends with code 0, with --config or without; --print stays clean", async () => {
    const file = join(bench.folder, "gateway.yaml");
    const text = configText(
      device(["name: e, table: holding, address: 0, type: uint32, unit: kWh"]),
      "- { id: press, driver: opcua, endpointUrl: opc.tcp://h:4840, security: { mode: Sign, policy: Basic256Sha256 }, tags: [{ name: a, nodeId: i=1, type: bool }] }",
    );
    const certificates = join(bench.folder, "outbox.db.pki/own/certs");
    mkdirSync(certificates, { recursive: true });
    writeFileSync(join(certificates, "gateway.pem"), "none");
    writeFileSync(file, `${text}history: { keepDays: 30 }\n`);
    const runs = [
      ["check", file],
      ["check", "--config", file],
      ["check", file, "--print"],
      ["check"],
      ["check", file, file],
    ];
    const ended = await Promise.all(
      runs.map(async (args) => {
        const { ended, output } = bench.start(args);
        return { code: await ended, ...output };
      }),
    );
    const [plain, named, printed, none, two] = ended;
    expect(plain).toEqual({
      code: 0,
      out: `${file}: no fault. 2 devices.\n`,
      err: expect.stringMatching(
        /^warning: device meter, tag e: unit kWh without a role.*\nwarning: history\.keepDays is 30, less than.*\nwarning: OPCUA_CERTIFICATE_INVALID: the gateway's own certificate/,
      ),
    });
    expect(named).toEqual(plain);
    expect(printed).toMatchObject({ code: 0, out: expect.stringMatching(/^group: factory-1\n/), err: plain?.err });
    expect(printed?.out).not.toContain("warning");
    expect(none).toMatchObject({ code: 2, err: expect.stringContaining("--config is missing") });
    expect(two).toMatchObject({ code: 2, err: expect.stringContaining("unknown") });
  });
});
