import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readGatewayConfig } from "./config.ts";
import { readPasswords, withPasswords } from "./secrets.ts";

const dir = mkdtempSync(join(tmpdir(), "jilian-secrets-"));
afterAll(() => rmSync(dir, { recursive: true }));

const text = (extra = "") => `group: f
node: g
broker: { host: b, username: g, passwordFile: broker.secret }
outbox: { path: o }
devices:
  - { id: m, driver: modbus-tcp, host: h, unitId: 1, tags: [{ name: t, table: input, address: 0, type: int16 }] }
  - { id: a, driver: opcua, endpointUrl: "opc.tcp://h", user: { name: u, passwordFile: opcua.secret },${extra} tags: [{ name: t, nodeId: i=1, type: int8 }] }
`;

it("puts the first line of each file in its place", () => {
  writeFileSync(join(dir, "broker.secret"), "one\nrest\n");
  writeFileSync(join(dir, "opcua.secret"), " two \r\n");
  const checked = readGatewayConfig(text(), "g.yaml");
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  const { passwords, faults } = readPasswords(checked.value, dir);
  expect(faults).toEqual([]);
  const { broker, devices } = withPasswords(checked.value, passwords);
  expect(broker.password).toBe("one");
  expect(devices[1]).toMatchObject({ user: { name: "u", password: "two" } });
  expect(devices[0]).toEqual(checked.value.devices[0]);
});

it("finds the files of a configuration that has faults too, and tells each that cannot be read", () => {
  writeFileSync(join(dir, "broker.secret"), "\n");
  rmSync(join(dir, "opcua.secret"));
  const checked = readGatewayConfig(text(" queueSize: 0,"), "g.yaml");
  const { passwords, faults } = readPasswords(checked.ok ? undefined : checked.partial, dir);
  expect(passwords.size).toBe(0);
  expect(faults.map(({ path, found }) => `${path}: ${found}`)).toEqual([
    "/broker/passwordFile: an empty first line",
    expect.stringMatching(/^\/devices\/1\/user\/passwordFile: ENOENT/),
  ]);
});
