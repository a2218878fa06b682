import { describe, expect, it } from "vitest";
import { readGatewayConfig } from "./config.ts";

/** Devices behind OPC UA servers, as they are configured. */
const head = "group: hengda\nnode: line-1\nbroker: { host: b }\noutbox: { path: outbox.db }\ndevices:\n";
const good = 'name: energy, nodeId: "nsu=urn:x;s=a.b", type: uint64, unit: kWh, role: energy.import';
type Device = { id?: string; url?: string; extra?: string; tags?: readonly string[] };

/** One device a line from line 6 on. */
function textOf(...devices: Device[]): string {
  const lines = devices.map(({ id = "press", url = "opc.tcp://plc:4840/UA", extra = "", tags = [good] }) => {
    const list = tags.map((tag) => `{ ${tag} }`).join(", ");
    return `  - { id: ${id}, driver: opcua, endpointUrl: "${url}", ${extra} tags: [${list}] }\n`;
  });
  return head + lines.join("");
}

/** Faults as `path: expected`. */
function faults(...devices: Device[]): string[] {
  const read = readGatewayConfig(textOf(...devices), "gateway.yaml");
  return read.ok ? [] : read.faults.map((f) => `${f.path}: ${f.expected}`);
}

it("gets every default", () => {
  const read = readGatewayConfig(textOf({}), "gateway.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  expect(read.value.opcua).toEqual({ acceptUnknownCertificates: false });
  expect(read.value.devices[0]).toEqual({
    id: "press",
    driver: "opcua",
    endpointUrl: "opc.tcp://plc:4840/UA",
    security: { mode: "None" },
    simulated: false,
    pollIntervalMs: 1000,
    heartbeatMs: 10_000,
    timeoutMs: 5000,
    retryMinMs: 500,
    retryMaxMs: 30_000,
    samplingIntervalMs: 500,
    publishingIntervalMs: 500,
    queueSize: 100,
    tags: [
      {
        name: "energy",
        nodeId: "nsu=urn:x;s=a.b",
        type: "uint64",
        unit: "kWh",
        role: "energy.import",
        scale: { numerator: 1, denominator: 1 },
        deadband: 0,
      },
    ],
  });
});

it.each([
  "i=2258",
  "ns=2;i=4294967295",
  "s=a b;c=d 温度",
  "ns=65535;g=09087E75-8E5E-499B-954F-F2A9603DB28A",
  "b=M/RbKBsRVkePCePcx24oRA==",
  "nsu=http://x.y/z%3B;i=1",
])("accepts the node id %s", (nodeId) => {
  expect(faults({ tags: [`name: t, nodeId: "${nodeId}", type: int32`] })).toEqual([]);
});

it.each(["2:energy", "ns=2", "ns=2;x=1", "ns=70000;i=1", "i=4294967296", "nsu=;s=a", "g=123", ""])(
  "refuses the node id %s",
  (nodeId) => {
    const found = faults({ tags: [`name: t, nodeId: "${nodeId}", type: int32`] });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^\/devices\/0\/tags\/0\/nodeId: /);
  },
);

describe("faults of a device", () => {
  it.each([
    ["security: { mode: SignAndEncrypt },", "/security/policy", "a policy with mode SignAndEncrypt"],
    ["security: { policy: Basic256Sha256 },", "/security/policy", "no policy with mode None"],
    ["security: { mode: Sign, policy: Basic128Rsa15 },", "/security/policy", "one of"],
    ["user: { name: u },", "/user/passwordFile", "one of them"],
    ["user: { name: u, password: p, passwordFile: f },", "/user/passwordFile", "one of them"],
    ["publishingIntervalMs: 5000,", "/publishingIntervalMs", "<= 3333"],
    ["samplingIntervalMs: -1,", "/samplingIntervalMs", ">= 0"],
    ["queueSize: 0,", "/queueSize", ">= 1"],
    ["unitId: 1,", "/unitId", "one of the keys"],
  ])("%s", (extra, path, expected) => {
    const found = faults({ extra });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`/devices/0${path}: `);
    expect(found[0]).toContain(expected);
  });

  it.each(["http://plc", "opc.tcp://", "opc.tcp://plc:70000", "opc.tcp://u:p@plc:4840", "opc.tcp://plc 1"])(
    "the endpoint %s",
    (url) => {
      expect(faults({ url })[0]).toMatch(/^\/devices\/0\/endpointUrl: /);
    },
  );

  it.each([
    ["type: string, deadband: 1", "/deadband", "no deadband on a string"],
    ["type: datetime, scale: { denominator: 10 }", "/scale", "no scale on a datetime"],
    ["type: string, role: power.active, unit: kW", "/role", "a role only on a number or a bool"],
    ["type: int8, role: production.total, unit: pcs, modulusCounts: 129", "/modulusCounts", "at most 128 for int8"],
  ])("a tag with %s", (tag, path, expected) => {
    const found = faults({ tags: [`name: t, nodeId: i=1, ${tag}`] });
    expect(found).toEqual([expect.stringContaining(`/devices/0/tags/0${path}: `)]);
    expect(found[0]).toContain(expected);
  });
});

describe("devices of one server", () => {
  it("share a session, and so its time-out", () => {
    expect(faults({}, { id: "b", extra: "timeoutMs: 100,", tags: ["name: t, nodeId: i=1, type: int8"] })).toEqual([
      "/devices/1/timeoutMs: 5000, as at /devices/0: they share one session",
    ]);
    const user = "user: { name: u, passwordFile: f }, timeoutMs: 100,";
    expect(faults({}, { id: "b", extra: user, tags: ["name: t, nodeId: i=1, type: int8"] })).toEqual([]);
  });

  it("count no counter twice", () => {
    expect(faults({}, { id: "b" })).toEqual([
      "/devices/1/tags/0/nodeId: a counter's node used once (already at /devices/0/tags/0)",
    ]);
    expect(faults({}, { id: "b", url: "opc.tcp://other" })).toEqual([]);
  });
});

it("stand beside Modbus devices, and a driver that does not exist is one fault", () => {
  const modbus =
    "  - { id: m, driver: modbus-tcp, host: h, unitId: 1, tags: [{ name: t, table: input, address: 0, type: int16 }] }\n";
  expect(readGatewayConfig(textOf({}) + modbus, "g").ok).toBe(true);
  const read = readGatewayConfig(textOf({}) + modbus.replace("modbus-tcp", "s7"), "g");
  expect(read.ok ? [] : read.faults.map((f) => `${f.line} ${f.path}: ${f.expected}`)).toEqual([
    '7 /devices/1/driver: one of "modbus-tcp", "modbus-rtu", "opcua", "dlt645"',
  ]);
});

it("never shows a password", () => {
  const read = readGatewayConfig(
    textOf({ extra: "user: { name: u, password: s3cret, passwordFile: f, pasword: s3cret }," }),
    "g",
  );
  expect(read.ok).toBe(false);
  expect(JSON.stringify(read.ok ? "" : read.faults)).not.toContain("s3cret");
});
