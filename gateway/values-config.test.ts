import { describe, expect, it } from "vitest";
import { readGatewayConfig } from "./config.ts";
import { faultsWith } from "./test-values.ts";

const energy = "unit: kWh, role: energy.import";

describe("faults of what a tag's value is", () => {
  it.each([
    // BCD
    ["type: uint16, sign: nibble", "/sign", "no sign, unless of a BCD value"],
    [`type: bcd32, sign: bit, ${energy}`, "/sign", "no sign on a counter"],
    ["type: bcd16, sign: trailing", "/sign", "one of"],
    [`type: bcd32, ${energy}, modulusCounts: 100000001`, "/modulusCounts", "at most 100000000 for bcd32"],
    ["type: bcd32, table: coil, address: 0", "/type", '"bool" in table coil'],
    // Texts
    ["type: string", "/lengthRegisters", "the registers that the string takes"],
    ["type: string, lengthRegisters: 126", "/lengthRegisters", "<= 125"],
    ["type: string, lengthRegisters: 0", "/lengthRegisters", ">= 1"],
    ["type: uint16, lengthRegisters: 1", "/lengthRegisters", "no length, unless of a string"],
    ["type: uint16, encoding: gbk", "/encoding", "no encoding, unless of a string"],
    ["type: string, lengthRegisters: 4, encoding: utf-16", "/encoding", "one of"],
    ["type: string, lengthRegisters: 4, order: CDAB", "/order", "ABCD or BADC"],
    ["type: string, lengthRegisters: 4, table: holding, address: 65533", "/address", "at most 65532 for string"],
    ["type: string, lengthRegisters: 4, deadband: 1", "/deadband", "no deadband on a string"],
    ["type: string, lengthRegisters: 4, deadbandPercent: 1", "/deadbandPercent", "a deadband only on a number"],
    ["type: string, lengthRegisters: 4, role: temperature, unit: °C", "/role", "a role only on a number"],
    // Offset and ranges
    [`type: uint32, ${energy}, scale: { offset: 5 }`, "/scale/offset", "no offset on a counter"],
    ["type: bool, bit: 0, scale: { offset: 1 }", "/scale/offset", "an offset only on a number"],
    ["type: uint16, scale: { offset: 1e3x }", "/scale/offset", "decimal added after the factor"],
    ["type: uint16, scale: { offset: '1e3' }", "/scale/offset", "decimal added after the factor"],
    ["type: uint16, rawRange: { min: 0, max: 10 }", "/euRange", "both or neither"],
    ["type: uint16, euRange: { min: 0, max: 10 }", "/rawRange", "both or neither"],
    ["type: uint16, rawRange: { min: 0 }, euRange: { min: 0, max: 1 }", "/rawRange/max", "number"],
    ["type: uint16, rawRange: { min: 10, max: 0 }, euRange: { min: 0, max: 1 }", "/rawRange", "min below max"],
    ["type: uint16, rawRange: { min: 0, max: 10 }, euRange: { min: 1, max: 1 }", "/euRange", "two different ends"],
    [
      "type: int16, rawRange: { min: 0, max: 65535 }, euRange: { min: 0, max: 1 }",
      "/rawRange",
      "within -32768 to 32767",
    ],
    [
      "type: uint16, rawRange: { min: 0, max: 9 }, euRange: { min: 0, max: 1 }, scale: { denominator: 10 }",
      "/scale",
      "not both",
    ],
    [
      `type: uint32, ${energy}, rawRange: { min: 0, max: 9 }, euRange: { min: 0, max: 1 }`,
      "/rawRange",
      "no raw range on a counter",
    ],
    [
      "type: bool, bit: 0, rawRange: { min: 0, max: 1 }, euRange: { min: 0, max: 100 }",
      "/rawRange",
      "a raw range only on a number",
    ],
    // Sentinels
    ["type: int16, sentinels: [0x8000]", "/sentinels/0", "a value that int16 can have"],
    ["type: int16, sentinels: ['0x7FFFFFFF']", "/sentinels/0", "a value that int16 can have"],
    ["type: int16, sentinels: ['0x7FF']", "/sentinels/0", "bits in quotes"],
    ["type: uint16, sentinels: [1.5]", "/sentinels/0", "a value that uint16 can have"],
    ["type: bcd16, sentinels: [10000]", "/sentinels/0", "a value that bcd16 can have"],
    ["type: string, lengthRegisters: 1, sentinels: [0]", "/sentinels", "no sentinels on a string"],
    ["type: bool, bit: 1, sentinels: ['0x0001']", "/sentinels", "no sentinels on a bool"],
    // Enumeration
    ["type: float32, enumeration: { 0: off }", "/enumeration", "no enumeration on a float32"],
    ["type: bool, bit: 0, enumeration: { 0: off }", "/enumeration", "no enumeration on a bool"],
    ["type: uint16, enumeration: {}", "/enumeration", "one entry or more"],
    ["type: uint16, enumeration: { 0: off, 1: 1 }", "/enumeration", "all of them texts"],
    ["type: uint16, enumeration: { -1: off }", "/enumeration/-1", "a whole number that uint16 can hold"],
    ["type: uint16, enumeration: { '007': off }", "/enumeration/007", "a whole number that uint16 can hold"],
    ["type: uint16, enumeration: { a/b: off }", "/enumeration/a~1b", "a whole number that uint16 can hold"],
    ["type: uint16, enumeration: { 0: 1.5 }", "/enumeration/0", "integer"],
    ["type: uint16, enumeration: { 0: 1 }, scale: { denominator: 2 }", "/scale", "no scale on an enumeration"],
    ["type: uint16, enumeration: { 0: 1 }, deadband: 2", "/deadband", "no deadband on an enumeration"],
    ["type: uint16, enumeration: { 0: 1 }, range: { max: 2 }", "/range", "no range on an enumeration"],
    [`type: uint32, enumeration: { 0: 1 }, ${energy}`, "/role", "machine.state, or no role"],
    // How seldom it is told
    ["type: uint16, deadbandPercent: 1", "/deadbandPercent", "a span to take the percent of"],
    ["type: uint16, deadbandPercent: 1, range: { max: 10 }", "/deadbandPercent", "a span to take the percent of"],
    ["type: uint16, deadbandPercent: 1, deadband: 1, range: { min: 0, max: 10 }", "/deadbandPercent", "not both"],
    ["type: uint16, deadbandPercent: 0, range: { min: 0, max: 10 }", "/deadbandPercent", "> 0"],
    [
      `type: uint32, deadbandPercent: 1, ${energy}, range: { min: 0, max: 10 }`,
      "/deadbandPercent",
      "no percent on a counter",
    ],
    ["type: uint16, minIntervalMs: 20000", "/minIntervalMs", "<= heartbeatMs (10000)"],
    ["type: uint16, minIntervalMs: 1000", "/minIntervalMs", "> pollIntervalMs (1000)"],
    ["type: uint16, minIntervalMs: 5000, role: machine.state, unit: '1'", "/minIntervalMs", "a short stop counts"],
  ])("%s", (tag, path, expected) => {
    const found = faultsWith([tag]);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`/tags/0${path}: `);
    expect(found[0]).toContain(expected);
    expect(found[0]).toMatch(/ \| .{5}/);
  });

  it.each([
    "type: bcd16, sign: nibble, sentinels: ['0xFFFF', -999], order: DCBA",
    `type: bcd64, ${energy}, modulusCounts: '10000000000000000'`,
    "type: string, lengthRegisters: 125, encoding: gbk, order: BADC, minIntervalMs: 5000",
    "type: float32, rawRange: { min: 4, max: 20 }, euRange: { min: 100, max: -100 }, deadbandPercent: 0.5",
    "type: uint16, enumeration: { 0: off, 1: running }, role: machine.state, unit: '1', sentinels: [65535]",
    "type: int16, scale: { denominator: 10, offset: '-273.15' }, role: temperature, unit: °C",
  ])("accepts %s", (tag) => {
    expect(faultsWith([tag])).toEqual([]);
  });

  it("a text longer than a read may be is refused: it is never cut", () => {
    expect(faultsWith(["type: string, lengthRegisters: 33"], "maxRegistersPerRead: 32")).toEqual([
      "/tags/0/lengthRegisters: a length of at most 32 registers (maxRegistersPerRead) | raise maxRegistersPerRead: a value is never read in two halves",
    ]);
  });

  it("a number among a device's sentinels that none of its tags can have", () => {
    expect(faultsWith(["type: int16", "type: uint16, sentinels: []"], "sentinels: ['0x7FFFFFFF', 0x8000]")).toEqual([
      expect.stringMatching(/^\/sentinels\/1: a value that a tag without sentinels of its own can have \| .*in quotes/),
    ]);
  });
});

describe("faults of derived tags", () => {
  const tags = [
    "type: uint32, unit: kWh, scale: { denominator: 10 }",
    "type: uint32, unit: kWh, scale: { denominator: 10 }",
    "type: float32, unit: kW",
    "type: string, lengthRegisters: 2",
    `type: uint32, ${energy}, scale: { denominator: 10 }, carrier: electricity`,
    "type: uint16, enumeration: { 0: 1 }",
    "type: uint32, unit: kWh, scale: { denominator: 10 }, modulusCounts: 1000000",
    "type: int16",
  ];
  const derivedFault = (derived: string) =>
    faultsWith(
      tags.map((tag) => (tag.includes("modulusCounts") && !/t6/.test(derived) ? tag.replace(/, modulus.*/, "") : tag)),
      `derived: [{ name: d, ${derived} }]`,
    );
  const counter = `operation: sum, ${energy}`;

  it.each([
    ["operation: sum, of: []", "/of", "entries >= 1"],
    ["operation: product, of: [{ tag: t0 }]", "/operation", "one of"],
    ["operation: sum, of: [{ tag: T0 }]", "/of/0/tag", "the name of a tag of this device"],
    ["operation: sum, of: [{ tag: d }]", "/of/0/tag", "the name of a tag of this device"],
    ["operation: sum, of: [{ tag: t0 }, { tag: t0 }]", "/of/1/tag", "a tag named once"],
    ["operation: sum, of: [{ tag: t0, weight: 0 }]", "/of/0/weight", "not 0"],
    ["operation: sum, of: [{ tag: t3 }]", "/of/0/tag", "a tag that is a number"],
    ["operation: sum, of: [{ tag: t5 }]", "/of/0/tag", "a tag that is a number"],
    ["operation: ratio, of: [{ tag: t0 }]", "/of", "two tags for a ratio"],
    ["operation: difference, of: [{ tag: t0 }]", "/of", "two tags or more"],
    ["operation: sum, of: [{ tag: t0 }, { tag: t2 }], unit: kWh", "/of/1/tag", 'unit "kWh"'],
    ["operation: sum, of: [{ tag: t2 }], unit: W, role: power.active", "/unit", '"kW"'],
    ["operation: sum, of: [{ tag: t7 }], unit: '1', role: machine.state", "/role", "no state"],
    ["operation: sum, of: [{ tag: t2 }], heartbeatMs: 100", "/heartbeatMs", ">= pollIntervalMs"],
    ["operation: sum, of: [{ tag: t2 }], range: { min: 2, max: 1 }", "/range", "min not above max"],
    ["operation: sum, of: [{ tag: t2 }], deadbandPercent: 1", "/deadbandPercent", "a span"],
    ["operation: sum, of: [{ tag: t2 }], minIntervalMs: 60000", "/minIntervalMs", "<= heartbeatMs"],
    ["operation: sum, of: [{ tag: t2 }], scale: { denominator: 2 }", "/scale", "one of the keys"],
    // Counters
    [`operation: difference, ${energy}, of: [{ tag: t0 }, { tag: t1 }]`, "/operation", '"sum" for a counter'],
    [`${counter}, of: [{ tag: t0 }, { tag: t1, weight: 2 }]`, "/of/1/weight", "1 in a counter"],
    [`${counter}, of: [{ tag: t0 }, { tag: t6 }]`, "/of/1/tag", "the modulus of t0"],
    [`${counter}, carrier: electricity, of: [{ tag: t0 }, { tag: t4 }]`, "/of/1/tag", "it would be counted twice"],
  ])("%s", (derived, path, expected) => {
    const found = derivedFault(derived);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`/derived/0${path}: `);
    expect(found[0]).toContain(expected);
    expect(found[0]).toMatch(/ \| .{5}/);
  });

  it("a counter takes no float, no offset, no other unit and no other scale", () => {
    const of = (tag: string) =>
      faultsWith([tags[0] as string, tag], `derived: [{ name: d, ${counter}, of: [{ tag: t0 }, { tag: t1 }] }]`);
    expect(of("type: float32, unit: kWh")[0]).toContain("an integer that counts up");
    expect(of("type: uint32, unit: kWh, scale: { denominator: 10, offset: 1 }")[0]).toContain(
      "an integer that counts up",
    );
    expect(of("type: uint32, unit: kWh, scale: { denominator: 100 }")[0]).toContain("scale and unit of t0");
    expect(of("type: uint32, unit: MWh, scale: { denominator: 10 }")[0]).toContain("scale and unit of t0");
    expect(of("type: int32, unit: kWh, scale: { denominator: 10 }")[0]).toContain("the modulus of t0");
    expect(of("type: uint32, unit: kWh, scale: { numerator: 2, denominator: 20 }")).toEqual([]);
    expect(of("type: uint32, unit: kWh, scale: { denominator: 10 }, modulusCounts: '4294967296'")).toEqual([]);
  });

  it("names are those of the device's tags", () => {
    const named = (...names: string[]) => {
      const list = names.map((name) => `{ name: ${name}, operation: sum, of: [{ tag: t2 }] }`);
      return faultsWith(tags.slice(0, 3), `derived: [${list.join(", ")}]`);
    };
    expect(named("T0")).toEqual([expect.stringContaining("/derived/0/name: a name that no other tag")]);
    expect(named("a", "A")).toEqual([expect.stringContaining("/derived/1/name: a name that no other tag")]);
    expect(named("Jilian/x")[0]).toContain('does not begin with "Jilian/"');
    expect(named("a", "b")).toEqual([]);
  });
});

it("behind OPC UA there are no BCD and no lengths; all else is as behind Modbus", () => {
  const faults = (tag: string) => {
    const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
    const device = `  - { id: d, driver: opcua, endpointUrl: "opc.tcp://h", tags: [{ name: t, nodeId: i=1, ${tag} }], derived: [{ name: d, operation: sum, of: [{ tag: t }] }] }\n`;
    const read = readGatewayConfig(head + device, "test.yaml");
    return read.ok ? [] : read.faults.map(({ path, expected }) => `${path}: ${expected}`);
  };
  expect(
    faults("type: int16, sentinels: ['0x8000'], rawRange: { min: 0, max: 9 }, euRange: { min: 0, max: 1 }"),
  ).toEqual([]);
  expect(faults("type: int16, minIntervalMs: 200")).toEqual([]);
  expect(faults("type: bcd16")[0]).toMatch(/\/tags\/0\/type: one of (?!.*bcd)/);
  expect(faults("type: int16, lengthRegisters: 1")[0]).toContain("/tags/0/lengthRegisters: one of the keys");
  expect(faults("type: string")[0]).toContain("/derived/0/of/0/tag: a tag that is a number");
});
