import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readGatewayConfig } from "./config.ts";

/** One fault of a large device is one line, whatever the other drivers would say of its tags. */
const head = "group: factory-1\nnode: gateway-1\nbroker: { host: h }\noutbox: { path: o }\ndevices:\n";
const ends = "\n    timeoutMs: 500\n    tags:\n";

function device(id: string, driver: string, tag: (i: number) => string, tags = 1000): string {
  const lines = Array.from({ length: tags }, (_, i) => `      - { name: t${i}, ${tag(i)} }\n`);
  return `  - id: ${id}\n    ${driver}${ends}${lines.join("")}`;
}

function faultsOf(...devices: string[]) {
  const read = readGatewayConfig(head + devices.join(""), "g.yaml");
  return read.ok ? [] : read.faults;
}

const tcp = (id: string, unit: number) => [id, `driver: modbus-tcp\n    host: h\n    unitId: ${unit}`] as const;
const register = (i: number, type = "uint16") => `table: holding, address: ${i}, type: ${type}`;

it("tells one wrong value among a thousand tags once, with place, value, what is allowed and what to do", () => {
  const faults = faultsOf(device(...tcp("a", 1), (i) => register(i, i === 700 ? "int17" : "uint16")));
  expect(faults).toEqual([
    {
      file: "g.yaml",
      line: 12 + 700,
      path: "/devices/0/tags/700/type",
      found: '"int17"',
      expected: expect.stringContaining('one of "int16", "uint16"'),
      remedy: "change the value to what is allowed",
    },
  ]);
});

it("tells every fault of several large devices, each by its own driver, and none twice", () => {
  const faults = faultsOf(
    device(...tcp("a", 1), (i) => (i === 999 ? `${register(i)}, dataId: "00010000"` : register(i))),
    device(
      "b",
      'driver: opcua\n    endpointUrl: "opc.tcp://h:4840"',
      (i) => `nodeId: "ns=1;s=t${i}", ${i === 3 ? "" : "type: int32"}`,
    ),
    device("c", "driver: opc\n    host: h", register),
    device(...tcp("d", 2), (i) => register(i === 998 ? -1 : i)),
    "  - meter\n",
  );
  expect(faults.map(({ path, remedy }) => `${path}: ${remedy}`).sort()).toEqual([
    '/devices/0/tags/999/dataId: remove "dataId"',
    '/devices/1/tags/3/type: add "type"',
    "/devices/2/driver: change the value to what is allowed",
    "/devices/3/tags/998/address: change the value to what is allowed",
    "/devices/4: change the value to what is allowed",
  ]);
});

it("tells all of the example that is not filled in", () => {
  const example = readFileSync(join(import.meta.dirname, "../deploy/gateway/files/gateway.yaml"), "utf8");
  const faults = (text: string) => {
    const read = readGatewayConfig(text, "g.yaml");
    return read.ok ? [] : read.faults.map(({ path, remedy }) => `${path}: ${remedy}`);
  };
  const filled = example.replace("【必填】工厂编号 ", "factory-1 ").replace("【必填】网关编号 ", "gateway-1 ");
  expect(faults(example).map((fault) => fault.split(":")[0])).toEqual([
    "/group",
    "/node",
    "/broker/host",
    "/broker/username",
  ]);
  const given = "write what the lead unit has given in place of these words";
  expect(faults(filled)).toEqual([`/broker/host: ${given}`, `/broker/username: ${given}`]);
  // Whatever else is wrong: here the devices are at the wrong place.
  expect(faults(filled.replace("\ndevices:", "\ndevices:\nothers:"))).toEqual(
    expect.arrayContaining([`/broker/host: ${given}`, `/broker/username: ${given}`]),
  );
});
