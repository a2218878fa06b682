import { roles } from "@jilian/domain/roles.ts";
import { describe, expect, it } from "vitest";
import { type DeviceConfig, type GatewayConfig, readGatewayConfig } from "./config.ts";
import { brokerAddress } from "./edge-link.ts";
import { birthWarnings } from "./ops-setting.ts";

const minimal = `group: hengda
node: line-1
broker: { host: broker.local }
outbox: { path: outbox.db }
devices:
  - id: meter
    driver: modbus-tcp
    host: 192.168.1.5
    unitId: 1
    tags:
      - { name: energy, table: holding, address: 0, type: uint32 }
`;

function valid(text: string): GatewayConfig {
  const read = readGatewayConfig(text, "gateway.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults, null, 1));
  return read.value;
}

/** Faults as `line path: expected`. */
function faults(text: string): string[] {
  const read = readGatewayConfig(text, "gateway.yaml");
  return read.ok ? [] : read.faults.map((f) => `${f.line} ${f.path}: ${f.expected}`);
}

/** The minimal configuration with other tags, one YAML flow mapping each; the first stands on line 11. */
const withTags = (...tags: string[]) =>
  minimal.replace(/ {6}- \{ name.*\n/, tags.map((tag) => `      - { ${tag} }\n`).join(""));
const withTag = (tag: string) => withTags(`name: t, table: holding, address: 0, ${tag}`);
/** The minimal configuration with more lines in its device. */
const withDevice = (lines: string) => minimal.replace("    unitId: 1\n", `    unitId: 1\n    ${lines}\n`);

describe("a valid configuration", () => {
  it("gets every default", () => {
    const { broker, outbox, devices, primaryHost } = valid(minimal);
    expect(broker).toEqual({
      host: "broker.local",
      keepaliveMs: 15_000,
      reconnectMinMs: 500,
      reconnectMaxMs: 30_000,
      maxPayloadBytes: 900_000,
    });
    expect(brokerAddress(broker)).toBe("broker.local:1883");
    expect(brokerAddress({ ...broker, tls: {} })).toBe("broker.local:8883");
    expect(outbox).toEqual({
      path: "outbox.db",
      durability: "power-cut",
      maxAgeMs: 7_776_000_000,
      maxBytes: 1_073_741_824,
      fsyncMs: 500,
      backlogRecordsPerSecond: 500,
      backlogBytesPerSecond: 2_097_152,
      commitTimeoutMs: 10_000,
      maxInFlightRecords: 2000,
    });
    expect(primaryHost).toBeUndefined();
    expect(devices[0]).toEqual({
      id: "meter",
      driver: "modbus-tcp",
      host: "192.168.1.5",
      port: 502,
      unitId: 1,
      simulated: false,
      pollIntervalMs: 1000,
      heartbeatMs: 10_000,
      timeoutMs: 1000,
      order: "ABCD",
      maxRegistersPerRead: 125,
      maxGapRegisters: 8,
      maxReadsInFlight: 1,
      retryMinMs: 500,
      retryMaxMs: 30_000,
      tags: [
        {
          name: "energy",
          table: "holding",
          address: 0,
          type: "uint32",
          scale: { numerator: 1, denominator: 1 },
          deadband: 0,
        },
      ],
    });
  });

  it.each([
    "type: uint64, scale: { denominator: 1000 }, unit: kWh, role: energy.import, carrier: electricity",
    "type: uint32, modulusCounts: 1000000, unit: pcs, role: production.total, product: gear-12",
    "type: uint64, modulusCounts: '18446744073709551616', unit: pcs, role: production.good",
    "type: float32, unit: kWh, role: energy.import",
    `type: int16, scale: { numerator: 5, denominator: 9 }, unit: ${roles.temperature.unit}, role: temperature`,
    "type: int16, range: { min: -40, max: 400 }, deadband: 0.5, order: CDAB",
    "type: bool, bit: 15",
  ])("accepts a tag with %s", (tag) => {
    expect(faults(withTag(tag))).toEqual([]);
  });

  it("accepts metric names with slashes and inner blanks, and the last addresses", () => {
    const last = "name: Line 1/Oven.2-a, table: input, address: 65532, type: float64";
    expect(faults(withTags(last, "name: c, table: coil, address: 65535, type: bool"))).toEqual([]);
  });
});

describe("faults of a tag", () => {
  it.each([
    ["type: uint33", "/type", "one of"],
    ["type: uint16, adress: 4", "/adress", "one of the keys"],
    ["type: bool", "/bit", "bit 0-15"],
    ["type: uint16, bit: 3", "/bit", "no bit"],
    ["type: bool, bit: 16", "/bit", "<= 15"],
    ["type: bool, bit: 0, scale: { denominator: 10 }", "/scale", "no scale on a bool"],
    ["type: bool, bit: 0, deadband: 1", "/deadband", "no deadband"],
    ["type: bool, bit: 0, range: { max: 1 }", "/range", "no range"],
    ["type: uint16, scale: { numerator: 0 }", "/scale/numerator", "not 0"],
    ["type: uint16, scale: { denominator: 0 }", "/scale/denominator", ">= 1"],
    ["type: uint16, scale: { numerator: 0.1 }", "/scale/numerator", "integer"],
    ["type: uint16, deadband: -1", "/deadband", ">= 0"],
    ["type: uint16, heartbeatMs: 500", "/heartbeatMs", ">= pollIntervalMs (1000)"],
    ["type: uint16, range: { min: 2, max: 1 }", "/range", "min not above max"],
    ["type: uint32, role: energy.import, unit: Wh", "/unit", '"kWh"'],
    ["type: uint32, role: energy.import", "/unit", '"kWh"'],
    ["type: uint32, role: energy.export, unit: kWh", "/role", "one of"],
    ["type: uint32, carrier: petrol", "/carrier", "one of"],
    ["type: bool, bit: 0, role: production.total, unit: pcs", "/role", "a counter in an integer"],
    ["type: uint32, role: production.total, unit: pcs, scale: { numerator: -1 }", "/scale/numerator", "> 0"],
    ["type: uint32, role: energy.import, unit: kWh, scale: { denominator: 3 }", "/scale", "finite decimal"],
    ["type: uint32, modulusCounts: 1000", "/modulusCounts", "only with a counter role"],
    ["type: uint16, role: production.total, unit: pcs, modulusCounts: 65537", "/modulusCounts", "at most 65536"],
    ["type: int16, role: production.total, unit: pcs, modulusCounts: 65536", "/modulusCounts", "at most 32768"],
    ["type: float32, role: production.total, unit: pcs, modulusCounts: 100", "/modulusCounts", "only on an integer"],
    ["type: uint32, role: production.total, unit: pcs, modulusCounts: '1e6'", "/modulusCounts", "integer"],
  ])("%s", (tag, path, expected) => {
    const found = faults(withTag(tag));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`11 /devices/0/tags/0${path}: `);
    expect(found[0]).toContain(expected);
  });

  it.each(["name: a+b", "name: a#", "name: ' a'", "name: ''", "name: /a", "name: 温度"])(
    "refuses the name in %s",
    (name) => {
      expect(faults(withTags(`${name}, table: input, address: 0, type: int16`))[0]).toContain(
        "11 /devices/0/tags/0/name: ",
      );
    },
  );

  it("finds values that reach beyond the last register, bits of the wrong type and types too long to read", () => {
    expect(faults(withTags("name: t, table: holding, address: 65533, type: float64"))).toEqual([
      "11 /devices/0/tags/0/address: at most 65532 for float64",
    ]);
    expect(faults(withTags("name: t, table: coil, address: 0, type: uint16"))).toEqual([
      '11 /devices/0/tags/0/type: "bool" in table coil',
    ]);
    expect(faults(withDevice("maxRegistersPerRead: 1"))).toEqual([
      "12 /devices/0/tags/0/type: a type of at most 1 registers (maxRegistersPerRead)",
    ]);
  });

  it("keeps the names of the gateway's own metrics for itself", () => {
    for (const name of ["Jilian/Account", "jilian/x"])
      expect(faults(withTags(`name: ${name}, table: input, address: 0, type: int16`))).toEqual([
        '11 /devices/0/tags/0/name: a name that does not begin with "Jilian/": the gateway\'s own metrics do',
      ]);
  });

  it("refuses names of Sparkplug's own, which a host may not take for readings", () => {
    for (const name of ["bdSeq", "BDSEQ", "Node Control/Speed", "node control/rebirth"])
      expect(faults(withTags(`name: ${name}, table: input, address: 0, type: int16`))).toEqual([
        '11 /devices/0/tags/0/name: a name that is not "bdSeq" and does not begin with "Node Control/": Sparkplug\'s own metrics',
      ]);
    for (const name of ["bdSeq2", "Node Controller/Speed"])
      expect(faults(withTags(`name: ${name}, table: input, address: 0, type: int16`))).toEqual([]);
  });

  it("takes names that differ by case for one", () => {
    const tag = "table: input, address: 0, type: int16";
    expect(faults(withTags(`name: Power, ${tag}`, `name: power, ${tag}`))).toEqual([
      "12 /devices/0/tags/1/name: a tag name (upper and lower case are the same) used once (already at /devices/0/tags/0)",
    ]);
  });
});

describe("faults of devices and of the whole", () => {
  it.each([
    ["heartbeatMs: 999", "/devices/0/heartbeatMs"],
    ["retryMinMs: 40000", "/devices/0/retryMinMs"],
    ["pollIntervalMs: 5", "/devices/0/pollIntervalMs"],
    ["maxReadsInFlight: 9", "/devices/0/maxReadsInFlight"],
    ["maxRegistersPerRead: 126", "/devices/0/maxRegistersPerRead"],
    ["order: ABDC", "/devices/0/order"],
  ])("%s", (line, path) => {
    expect(faults(withDevice(line)).map((fault) => fault.split(" ").slice(0, 2).join(" "))).toContain(`10 ${path}:`);
  });

  it("finds a device id used twice and a unit read twice, whatever the case of its host name", () => {
    const device = (id: string, host: string) =>
      `  - { id: ${id}, driver: modbus-tcp, host: ${host}, unitId: 1, tags: [{ name: t, table: input, address: 0, type: int16 }] }\n`;
    const text = minimal.replace(
      /devices:[\s\S]*/,
      `devices:\n${device("a", "PLC")}${device("a", "other")}${device("c", "plc")}`,
    );
    expect(faults(text)).toEqual([
      "7 /devices/1/id: a device id used once (already at /devices/0)",
      "8 /devices/2/unitId: a unit of one host and port used once (already at /devices/0)",
    ]);
  });

  it("with so many devices that their node's birth is larger than a message may be", () => {
    const device = minimal.slice(minimal.indexOf("  - id: meter"));
    const devices = Array.from({ length: 140 }, (_, i) =>
      device.replace("id: meter", `id: meter-${i}`).replace("unitId: 1", `unitId: ${i + 1}`),
    );
    const broker = (maxPayloadBytes: number) =>
      minimal
        .replace(device, devices.join(""))
        .replace("broker.local }", `broker.local, maxPayloadBytes: ${maxPayloadBytes} }`);
    expect(faults(broker(16_384))).toEqual([expect.stringMatching(/\/devices: devices whose NBIRTH fits .*16384/)]);
    expect(faults(broker(20_000))).toEqual([]);
  });

  it("wants one source of the password, with a user name, and never shows it", () => {
    const both = minimal.replace("broker.local }", "broker.local, password: s3cret, passwordFile: /run/p }");
    const read = readGatewayConfig(both, "gateway.yaml");
    const found = read.ok ? [] : read.faults;
    expect(found.map((fault) => fault.path)).toEqual(["/broker/passwordFile", "/broker/username"]);
    expect(JSON.stringify(found)).not.toContain("s3cret");
    expect(faults(minimal.replace("broker.local }", "broker.local, username: g, passwordFile: /run/p }"))).toEqual([]);
  });

  it("wants a file for the history that is not the outbox", () => {
    const found = faults(minimal.replace("devices:", "history: { path: outbox.db }\ndevices:"));
    expect(found.map((fault) => fault.split(":")[0])).toEqual([expect.stringContaining("/history/path")]);
    expect(faults(minimal.replace("devices:", "history: { path: history.db }\ndevices:"))).toEqual([]);
  });

  it("reports all faults at once", () => {
    const text = withTags("name: t, table: holding, type: uint33")
      .replace("hengda", "Heng Da")
      .replace("path: outbox.db", "maxBytes: 5");
    expect(faults(text).map((fault) => fault.split(":")[0])).toEqual([
      "1 /group",
      "4 /outbox/path",
      "4 /outbox/maxBytes",
      "11 /devices/0/tags/0/address",
      "11 /devices/0/tags/0/type",
    ]);
  });
});

it("a device whose birth is larger than a message may be is told of, before it runs", () => {
  const config = valid(minimal);
  expect(birthWarnings(config)).toEqual([]);
  const [device] = config.devices as [DeviceConfig];
  const tags = Array.from({ length: 400 }, (_, i) => ({ ...device.tags[0], name: `tag-${i}` }));
  const large = { ...config, broker: { ...config.broker, maxPayloadBytes: 16_384 }, devices: [{ ...device, tags }] };
  expect(birthWarnings(large as GatewayConfig)).toEqual([expect.stringMatching(/400 tags.*16384.*divide its tags/)]);
});
