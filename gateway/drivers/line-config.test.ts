import { expect, it } from "vitest";
import { readGatewayConfig } from "../config.ts";
import { difference } from "../reload.ts";

const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\n";
const device = (id: string, line: string, unitId = 1) =>
  `  - { id: ${id}, driver: modbus-rtu, line: ${line}, unitId: ${unitId}, tags: [{ name: t, table: input, address: 0, type: int16 }] }\n`;
const textOf = (lines: string[], devices: string[]) =>
  `${head}${lines.length === 0 ? "" : `lines:\n${lines.map((line) => `  - { ${line} }\n`).join("")}`}devices:\n${devices.join("")}`;

function faultsOf(lines: string[], devices: string[]): string[] {
  const read = readGatewayConfig(textOf(lines, devices), "g");
  return read.ok ? [] : read.faults.map((fault) => `${fault.path}: ${fault.expected}`);
}

it("fills in 9600 8N1, and takes every kind of line", () => {
  const lines = [
    "id: a, kind: serial, path: /dev/ttyS0",
    "id: b, kind: tcp, host: converter, port: 8899",
    'id: c, kind: listen, port: 9000, registration: "860000000000001", heartbeat: "hex:FE"',
    "id: d, kind: listen, port: 9000, registration: other",
    "id: e, kind: listen, port: 9001",
  ];
  const devices = ["a", "b", "c", "d", "e"].map((line) => device(`on-${line}`, line));
  const read = readGatewayConfig(textOf(lines, devices), "g");
  expect(read).toMatchObject({ ok: true });
  const serial = { baudRate: 9600, dataBits: 8, parity: "none", stopBits: 1, turnaroundMs: 0 };
  expect(read.ok && read.value.lines?.[0]).toEqual({ id: "a", kind: "serial", path: "/dev/ttyS0", ...serial });
});

const serial = "id: a, kind: serial, path: /dev/ttyS0";
it.each([
  [[], [device("m", "a")], "/devices/0/line: the id of a line; there are none"],
  [[serial], [device("m", "a"), device("n", "b")], "/devices/1/line: one of a"],
  [
    [serial],
    [device("m", "a", 7), device("n", "a", 7)],
    "/devices/1/unitId: a unit of one line used once (already at /devices/0)",
  ],
  [
    [serial, "id: a, kind: serial, path: /dev/ttyS1"],
    [device("m", "a")],
    "/lines/1/id: a line id used once (already at /lines/0)",
  ],
  [
    [serial, "id: b, kind: serial, path: /dev/ttyS0"],
    [device("m", "a"), device("n", "b")],
    "/lines/1/path: a line of its own (the same is already at /lines/0)",
  ],
  [
    ["id: a, kind: tcp, host: H, port: 1", "id: b, kind: tcp, host: h, port: 1"],
    [device("m", "a"), device("n", "b")],
    "/lines/1/port: a line of its own (the same is already at /lines/0)",
  ],
  [
    ["id: a, kind: listen, port: 1, allow: [10.0.0.1, box]"],
    [device("m", "a")],
    "/lines/0/allow/1: an address, or a network as 10.8.0.0/16 or fd00::/8",
  ],
  [
    ["id: a, kind: listen, port: 1, registration: x1", 'id: b, kind: listen, port: 1, registration: "hex:7831"'],
    [device("m", "a"), device("n", "b")],
    "/lines/1/registration: a line of its own (the same is already at /lines/0)",
  ],
  [
    ["id: a, kind: listen, port: 1, registration: x", "id: b, kind: listen, port: 1"],
    [device("m", "a"), device("n", "b")],
    "/lines/1/registration: a registration: /lines/0 listens on port 1 as well",
  ],
  [
    ["id: a, kind: listen, port: 1, registration: box-1", "id: b, kind: listen, port: 1, registration: box-12"],
    [device("m", "a"), device("n", "b")],
    "/lines/1/registration: a registration that does not begin with that of /lines/0",
  ],
  [
    ["id: a, kind: listen, port: 1, registration: x", "id: b, kind: listen, host: h, port: 1, registration: y"],
    [device("m", "a"), device("n", "b")],
    "/lines/1/host: the same host as /lines/0, which listens on the same port",
  ],
  [[serial, "id: b, kind: serial, path: /dev/ttyS1"], [device("m", "a")], "/lines/1/id: a line that a device uses"],
] as const)("finds one fault in %j", (lines, devices, fault) => {
  expect(faultsOf([...lines], [...devices])).toEqual([fault]);
});

it.each([
  ["id: a, kind: serial, path: COM1", "/lines/0/path"],
  ["id: a, kind: serial, path: /dev/ttyS0, baudRate: 9601", "/lines/0/baudRate"],
  ["id: a, kind: serial, path: /dev/ttyS0, parity: mark", "/lines/0/parity"],
  ["id: a, kind: serial, path: /dev/ttyS0, host: h", "/lines/0/host"],
  ["id: a, kind: listen, port: 1, registration: 12", "/lines/0/registration"],
  ["id: a, kind: listen, port: 1, registration: 'hex:0'", "/lines/0/registration"],
  ["id: a, kind: usb", "/lines/0/kind"],
])("refuses %s", (line, path) => {
  const read = readGatewayConfig(textOf([line], [device("m", "a")]), "g");
  expect(read.ok ? [] : read.faults.map((fault) => fault.path)).toEqual([path]);
});

it.each([0, 248])("refuses unit %i, which no device on a line has", (unitId) => {
  const read = readGatewayConfig(textOf([serial], [device("m", "a", unitId)]), "g");
  expect(read.ok ? [] : read.faults.map((fault) => fault.path)).toEqual(["/devices/0/unitId"]);
});

it("begins the devices of a line anew where that is another, and a device alone where only that is", () => {
  const of = (line: string, unitId: number) => {
    const read = readGatewayConfig(textOf([line], [device("m", "a", unitId)]), "g");
    if (!read.ok) throw new Error(JSON.stringify(read.faults));
    return read.value;
  };
  expect(difference(of(serial, 1), of(`${serial}, parity: even`, 1))).toMatchObject({ lines: ["a"], changed: ["m"] });
  expect(difference(of(serial, 1), of(serial, 2))).toMatchObject({ lines: [], changed: ["m"] });
});

it("refuses a device behind Modbus TCP at the port of a line, also as its second address", () => {
  const tcp = (place: string) =>
    `  - { id: t, driver: modbus-tcp, ${place}, unitId: 1, tags: [{ name: t, table: input, address: 0, type: int16 }] }\n`;
  const line = ["id: a, kind: tcp, host: Conv, port: 502"];
  const expected = "a port that is no line (the same is /lines/0)";
  expect(faultsOf(line, [device("m", "a"), tcp("host: conv")])).toEqual([`/devices/1/port: ${expected}`]);
  expect(faultsOf(line, [device("m", "a"), tcp("host: h, backup: { host: conv, port: 502 }")])).toEqual([
    `/devices/1/backup/port: ${expected}`,
  ]);
  expect(faultsOf(line, [device("m", "a"), tcp("host: conv, port: 503")])).toEqual([]);
});
