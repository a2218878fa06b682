/** An independent peer of the whole gateway: pymodbus serves Modbus TCP, and Python alone puts the bytes of every value in order. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import { statusName } from "@jilian/domain/quality.ts";
import { readGatewayConfig } from "@jilian/gateway/config.ts";
import { hasPymodbus, noPymodbus, skipped, startPeer } from "@jilian/gateway/drivers/test-peer.ts";
import { freePort } from "@jilian/gateway/drivers/test-ports.ts";
import { startGateway } from "@jilian/gateway/run.ts";
import { startHost } from "@jilian/gateway/test-host.ts";
import { pino } from "pino";
import { afterEach, expect, it } from "vitest";

const SCRIPT = `
import asyncio, json, struct, sys
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
port, points = int(sys.argv[1]), json.loads(sys.argv[2])
formats = {"uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "uint64": ">Q", "int64": ">q", "float32": ">f", "float64": ">d"}
def words_of(point):
    kind, value, order = point["type"], point["value"], point["order"]
    if kind == "string":
        raw = value.encode(point["encoding"]).ljust(2 * point["lengthRegisters"], b"\\0")
    else:
        raw = struct.pack(formats[kind], float(value) if "float" in kind else int(value))
    words = [raw[i:i + 2] for i in range(0, len(raw), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]
tables = {"holding": [], "input": []}
for point in points:
    tables[point["table"]].append(SimData(point["address"], values=words_of(point), datatype=DataType.REGISTERS))
coils = [SimData(0, values=[True, False, False, True] * 10, datatype=DataType.BITS)]
discretes = [SimData(0, values=[False, True, True, True] * 10, datatype=DataType.BITS)]
device = SimDevice(7, simdata=(coils, discretes, tables["holding"], tables["input"]))
async def main():
    server = ModbusTcpServer([device], address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
`;

type Point = {
  readonly table: "holding" | "input";
  readonly address: number;
  readonly type: string;
  readonly order: string;
  /** Whole numbers as text: 64 bits do not fit into a number of JSON. */
  readonly value: string | number;
  readonly lengthRegisters?: number;
  readonly encoding?: string;
};

/** What each type is read as, its ends among them; those of float32 are exact in it. */
const values: Readonly<Record<string, { registers: number; of: readonly (string | number)[] }>> = {
  int16: { registers: 1, of: ["-32768", "-2", "32767"] },
  uint16: { registers: 1, of: ["258", "65535"] },
  int32: { registers: 2, of: ["-2147483648", "16909060", "-3"] },
  uint32: { registers: 2, of: ["16909060", "4294967295"] },
  int64: { registers: 4, of: ["-9223372036854775808", "72623859790382856", "-5"] },
  uint64: { registers: 4, of: ["72623859790382856", "9223372036854775807"] },
  float32: { registers: 2, of: [-0.15625, 1234.5, 3.0517578125e-5] },
  float64: { registers: 4, of: [-6.02214076e23, 1.7e300, 0.1] },
};
const ordersOf = (registers: number) => (registers === 1 ? ["ABCD", "BADC"] : ["ABCD", "CDAB", "BADC", "DCBA"]);

/** Every value of every type in every order, in both tables, with a hole behind each so that blocks are joined over what is not there. */
function pointsOf(table: Point["table"]): Point[] {
  let address = 100;
  const points: Point[] = [];
  for (const [type, { registers, of }] of Object.entries(values)) {
    for (const order of ordersOf(registers)) {
      for (const value of of) {
        points.push({ table, address, type, order, value });
        address += registers;
      }
    }
    address += 3;
  }
  return points;
}

const texts: Point[] = [
  {
    table: "holding",
    address: 600,
    type: "string",
    order: "ABCD",
    value: "Pump-7",
    lengthRegisters: 5,
    encoding: "ascii",
  },
  {
    table: "holding",
    address: 605,
    type: "string",
    order: "BADC",
    value: "SN 0042",
    lengthRegisters: 4,
    encoding: "ascii",
  },
  { table: "input", address: 610, type: "string", order: "ABCD", value: "空压机", lengthRegisters: 4, encoding: "gbk" },
  {
    table: "input",
    address: 620,
    type: "string",
    order: "ABCD",
    value: "Düse µ",
    lengthRegisters: 4,
    encoding: "utf-8",
  },
];
const word: Point = { table: "holding", address: 700, type: "uint16", order: "ABCD", value: "32773" };

type Expected = { readonly tag: string; readonly value: unknown };
const points = [...pointsOf("holding"), ...pointsOf("input"), ...texts];
const nameOf = ({ table, address, type, order }: Point) => `${table}-${address}-${type}-${order}`;

const expected: readonly Expected[] = [
  ...points.map((point) => ({
    tag: `name: ${nameOf(point)}, table: ${point.table}, address: ${point.address}, type: ${point.type}, order: ${point.order}${
      point.type === "string" ? `, lengthRegisters: ${point.lengthRegisters}, encoding: ${point.encoding}` : ""
    }`,
    value: point.value,
  })),
  // 32773 is 8005H: its bits 0, 2 and 15.
  ...[0, 1, 2, 14, 15].map((bit) => ({
    tag: `name: bit-${bit}, table: holding, address: 700, type: bool, bit: ${bit}`,
    value: [0, 2, 15].includes(bit),
  })),
  ...[0, 1, 2, 3, 39].map((at) => ({
    tag: `name: coil-${at}, table: coil, address: ${at}, type: bool`,
    value: at % 4 === 0 || at % 4 === 3,
  })),
  ...[0, 1, 39].map((at) => ({
    tag: `name: discrete-${at}, table: discrete, address: ${at}, type: bool`,
    value: at % 4 !== 0,
  })),
  // What pymodbus does not have, alone and inside a block.
  { tag: "name: none-far, table: holding, address: 5000, type: int16", value: "BadNodeIdUnknown" },
  { tag: "name: none-near, table: holding, address: 701, type: uint32", value: "BadNodeIdUnknown" },
  { tag: "name: none-coil, table: coil, address: 100, type: bool", value: "BadNodeIdUnknown" },
];
const tagName = (tag: string) => /name: ([^,]+)/.exec(tag)?.[1] as string;
const shown = (value: Value | undefined) => (typeof value === "bigint" ? String(value) : value);
const isWhole = (value: unknown) => typeof value === "string" && /^-?\d+$/.test(value);

const closers: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

it.skipIf(!hasPymodbus)(
  `a gateway sends what pymodbus holds, every value of every type${skipped(hasPymodbus, noPymodbus)}`,
  async () => {
    const port = await freePort();
    closers.push((await startPeer(SCRIPT, String(port), JSON.stringify([...points, word]))).close);
    const host = await startHost();
    closers.push(host.close);
    const folder = mkdtempSync(join(tmpdir(), "jilian-peer-"));
    closers.push(() => rmSync(folder, { recursive: true }));
    const checked = readGatewayConfig(
      `group: factory\nnode: gateway\nbroker: { host: 127.0.0.1, port: ${host.port} }\noutbox: { path: ${join(folder, "outbox.db")} }\ndevices:
  - { id: peer, driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: 7, timeoutMs: 5000, pollIntervalMs: 200, heartbeatMs: 200,
      tags: [${expected.map(({ tag }) => `{ ${tag} }`).join(",\n        ")}] }\n`,
      "gateway.yaml",
    );
    if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
    const gateway = startGateway(checked.value, { log: pino({ level: "silent" }), clock: systemClock });
    closers.push(gateway.close);
    const names = expected.map(({ tag }) => tagName(tag));
    const sent = new Map<string, Value>();
    await host.until(
      "each tag",
      () => {
        for (const { values: of } of host.ofType("DDATA", "peer"))
          for (const [name, value] of Object.entries(of)) sent.set(name, value);
        return names.every((name) => sent.has(name));
      },
      20_000,
    );

    // What went over the wire, and what the gateway says of itself.
    const wanted = expected.map(({ tag, value }) => [tagName(tag), value] as const);
    const numbers = (value: Value | undefined, like: unknown) => (isWhole(like) ? String(value) : shown(value));
    const found = wanted.map(([name, like]) => [
      name,
      sent.get(name) === null ? "BadNodeIdUnknown" : numbers(sent.get(name), like),
    ]);
    expect(found).toEqual(wanted);
    const [device] = gateway.values();
    const own = (device?.values ?? []).map(({ tag, seen }, i) => [
      tag.name,
      seen?.value === null ? statusName(seen.status) : numbers(seen?.value, wanted[i]?.[1]),
    ]);
    expect(own).toEqual(wanted);
    expect(gateway.stats().devices).toMatchObject([{ connected: true, failures: 0 }]);
  },
);
