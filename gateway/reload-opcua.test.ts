import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { startScriptedServer, until } from "./cases/scripted-server.ts";
import { readGatewayConfig } from "./config.ts";
import { startGateway } from "./run.ts";
import { startHost } from "./test-host.ts";
import { startTestServer, temporaryFolder } from "./test-opcua.ts";

const closers: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

test("what OPC UA devices share changes for them all, while a device of another protocol is read on", async () => {
  const folder = temporaryFolder();
  closers.push(folder.remove);
  const server = await startTestServer({ pkiDir: join(folder.path, "server"), productUri: "urn:test" });
  closers.push(server.stop);
  for (const name of ["a", "b"]) server.set(name, { dataType: "Double", value: 1 });
  const plc = await startScriptedServer({ rules: [{ when: "03", send: ["addresses"] }] });
  closers.push(plc.close);
  const host = await startHost();
  closers.push(host.close);
  const mill = (
    id: string,
    node: string,
  ) => `  - { id: ${id}, driver: opcua, endpointUrl: "${server.endpointUrl}", pollIntervalMs: 50,
      tags: [{ name: level, nodeId: "nsu=urn:test:machine;s=${node}", type: float64 }] }\n`;
  const config = (name: string) => {
    const checked = readGatewayConfig(
      `group: factory-1\nnode: gateway-1\nbroker: { host: 127.0.0.1, port: ${host.port} }
outbox: { path: ${join(folder.path, "outbox.db")} }
opcua: { applicationUri: "urn:test:${name}", pkiDir: ${join(folder.path, name)} }
devices:
${mill("mill", "a")}${mill("lathe", "b")}  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: ${plc.port}, unitId: 1, pollIntervalMs: 20,
      tags: [{ name: level, table: holding, address: 7, type: int16 }] }\n`,
      "gateway.yaml",
    );
    if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
    return checked.value;
  };
  const gateway = startGateway(config("one"), { log: pino({ level: "silent" }), clock: systemClock });
  closers.push(gateway.close);
  const uris = () => server.sessions().map((session) => session.clientDescription?.applicationUri);
  const statsOf = (id: string) => gateway.stats().devices.find(({ device }) => device === id);
  const allRead = () => gateway.stats().devices.every(({ connected }) => connected);
  await until("all are read", allRead, 30_000);
  expect(uris()).toEqual(["urn:test:one"]);

  const polls = statsOf("press")?.polls ?? 0;
  const found = await gateway.reload(config("two"));
  expect(found).toMatchObject({ whole: [], opcua: true, changed: ["mill", "lathe"] });
  await until("all are read again", allRead, 30_000);
  expect(uris()).toEqual(["urn:test:two"]);
  await until("read on", () => (statsOf("press")?.polls ?? 0) > polls);
  expect(statsOf("press")).toMatchObject({ connects: 1, failures: 0 });
  expect(plc.counts.connections).toBeLessThanOrEqual(2);
});
