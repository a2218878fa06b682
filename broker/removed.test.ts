/** Gateways that were registered once and are not any more, or whose factory has become another enterprise's. */
import { type EventEmitter, once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Authority, checkRequest, openAuthority } from "@jilian/store/authority.ts";
import { signingRequest } from "@jilian/store/test-requests.ts";
import type { IClientOptions, MqttClient } from "mqtt";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { enterpriseOf, type Name, type TestBroker, testBroker, until } from "./test-broker.ts";

let folder = "";
let authority: Authority;
let files: { certFile: string; keyFile: string };
let test: TestBroker;
const removed = new Set<string>();
let owner = enterpriseOf;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "broker-removed-"));
  authority = await openAuthority(folder);
  const { pem, key } = await authority.issueServer(["localhost"], 30, Date.now());
  files = { certFile: join(folder, "broker.pem"), keyFile: join(folder, "broker.key") };
  writeFileSync(files.certFile, pem);
  writeFileSync(files.keyFile, key);
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(async () => {
  removed.clear();
  owner = enterpriseOf;
  await test.end();
});

async function start(): Promise<void> {
  const tls = { port: 0, minVersion: "TLSv1.2" as const, ...files };
  const registry = {
    isRemoved: (gateway: string) => removed.has(gateway),
    enterpriseOf: (factory: string) => owner(factory),
  };
  test = await testBroker({ tls }, { ...registry, authority: authority.certificate, revocationPollMs: 50 });
}

/** Options of a client that comes by a certificate; one that the ledger does not have is unknown. */
async function certified(node: string, isListed = true): Promise<IClientOptions> {
  const request = await signingRequest();
  const gateway = { group: "f1", node };
  const issued = await authority.issueGateway(gateway, await checkRequest(request.pem), 90, Date.now());
  if (isListed) test.ledger.addCertificate({ ...gateway, ...issued, renews: null });
  const address = { protocol: "mqtts" as const, host: "localhost", port: test.broker.tlsPort as number };
  const nobody = { username: undefined, password: undefined } as unknown as IClientOptions;
  return { ...address, ca: authority.certificate, cert: issued.pem, key: request.keyPem, ...nobody };
}
/** What a client is told that is not let in. */
const answer = (name: Name, options?: IClientOptions) =>
  test.connect(name, options).then(
    () => "connected",
    ({ code, message }: { code?: unknown; message: string }) => `${code} ${message}`,
  );
const closed = (client: MqttClient) =>
  once(client as unknown as EventEmitter, "close", { signal: AbortSignal.timeout(5000) });

it("cuts off gateways that were taken out, and answers them as it answers unknown ones", async () => {
  await start();
  const dead: string[] = [];
  test.broker.bus.onMessage((topic) => dead.push(topic));
  const certificate = await certified("gw-2");
  const [byPassword, byCertificate, other] = await Promise.all([
    test.connect("f1/gw-1"),
    test.connect("f1/gw-2", certificate),
    // Registered or never registered: nobody took it out.
    test.connect("f3/gw-1"),
  ]);
  const ends = [closed(byPassword), closed(byCertificate)];
  for (const name of ["f1/gw-1", "f1/gw-2"]) removed.add(name);
  await Promise.all(ends);
  await until(() => dead.length === 2, "their wills");
  expect(dead.toSorted()).toEqual(["spBv1.0/f1/NDEATH/gw-1", "spBv1.0/f1/NDEATH/gw-2"]);
  expect(test.broker.stats().ended.withdrawn).toBe(2);
  expect(test.faults.map(({ code, subject, detail }) => `${code} ${subject}: ${detail}`).toSorted()).toEqual([
    "BROKER_ACCESS_WITHDRAWN f1/gw-1: it was taken out of the registry",
    "BROKER_ACCESS_WITHDRAWN f1/gw-2: it was taken out of the registry",
  ]);

  const unknown = { username: "f1/gw-8", clientId: "f1/gw-8" };
  expect(await answer("f1/gw-1")).toBe(await answer("f1/gw-1", unknown));
  expect(await answer("f1/gw-2", certificate)).toBe(await answer("f1/gw-2", await certified("gw-2", false)));
  expect(test.broker.stats().refusedByCode.get("BROKER_GATEWAY_REMOVED")).toBe(2);
  expect(test.faults.find(({ code }) => code === "BROKER_GATEWAY_REMOVED")?.subject).toBe("f1/gw-1");
  expect(other.connected).toBe(true);

  removed.clear();
  expect([await answer("f1/gw-1"), await answer("f1/gw-2", certificate)]).toEqual(["connected", "connected"]);
});

it("ends the connection of one whose factory is another enterprise's now, which takes it under its own limits", async () => {
  await start();
  owner = (factory) => (factory === "f1" ? "ea" : undefined);
  const [moved, stays] = await Promise.all([test.connect("f1/gw-1"), test.connect("f3/gw-1")]);
  const end = closed(moved);
  owner = (factory) => (factory === "f1" ? "eb" : enterpriseOf(factory));
  await end;
  expect(test.faults).toMatchObject([{ code: "BROKER_ACCESS_WITHDRAWN", subject: "f1/gw-1" }]);
  expect(await answer("f1/gw-1")).toBe("connected");
  // Neither that a factory is registered for the first time nor that the registry knows it no more ends anything here.
  const again = await test.connect("f1/gw-2");
  let looks = 0;
  owner = (factory) => {
    looks += 1;
    return factory === "f1" ? "eb" : undefined;
  };
  await until(() => looks >= 9, "the registry is looked at three times for each");
  expect([stays.connected, again.connected]).toEqual([true, true]);
  expect(test.broker.stats().ended.withdrawn).toBe(1);
});
