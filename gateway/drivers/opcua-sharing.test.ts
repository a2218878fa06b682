import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { statusName } from "@jilian/domain/quality.ts";
import { ClientSecureChannelLayer } from "node-opcua-client";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import { startTestServer, type TestServer, temporaryFolder } from "../test-opcua.ts";
import { type Collected, collectOpcua, type DeviceText, opcuaConfig, show } from "../test-opcua-devices.ts";

/** Several devices behind one server, and what a server says of itself. */
const folder = temporaryFolder();
const closers: (() => Promise<unknown>)[] = [];
let namespacesBefore = 0;
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({
    pkiDir: `${folder.path}/server`,
    productUri: "urn:jilian:simulator:opcua",
    namespacesBefore: () => namespacesBefore,
  });
  for (const name of ["a", "b", "c"]) server.set(name, { dataType: "Double", value: 1 });
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

/** Longer than a server keeps a session of which it hears nothing (opcua-connection.ts). */
const sessionMs = 40_000;

const device = (id: string, node: string): DeviceText => ({
  id,
  endpointUrl: server.endpointUrl,
  tags: [`name: ${node}, nodeId: NODE(${node}), type: float64`],
});

function collect(...devices: DeviceText[]): Collected {
  const collected = collectOpcua(opcuaConfig(folder.path, devices));
  closers.push(collected.close);
  return collected;
}

it("devices with the same endpoint, security and user share one session, each with its own subscription", async () => {
  const collected = collect(device("one", "a"), device("two", "b"), device("three", "c"));
  const { of } = collected;
  await until("all", () =>
    ["a/one", "b/two", "c/three"].every((at) => of(...(at.split("/") as [string, string])).length > 0),
  );
  // One that was given up on a busy machine keeps its place until its time-out.
  const count = (sessions: number) =>
    until(`${sessions} sessions`, () => server.sessions().length === sessions, sessionMs);
  await count(1);
  expect(server.subscriptions()).toHaveLength(3);

  // One subscription ends: its device alone starts again, on the session that the others use.
  const [session] = server.sessions();
  const lossesOf = (id: string) => collected.reasons(id).length;
  const atFirst = new Map(["one", "two", "three"].map((id) => [id, lossesOf(id)]));
  const ended = server.subscriptions().find((s) => s.monitoredItemCount > 0);
  ended?.terminate();
  const losses = () => [...atFirst].map(([id, before]) => lossesOf(id) - before).toSorted();
  await until("one loss", () => losses().some((lost) => lost > 0));
  await until("all connected", () => collected.collector.stats().every(({ connected }) => connected));
  await until("three again", () => server.subscriptions().length === 3);
  expect(server.sessions()).toEqual([session]);
  expect(losses()).toEqual([0, 0, 1]);

  // The session ends: all lose it, and share the next.
  const before = collected.collector.stats().map(({ failures }) => failures);
  server.forget();
  await until("every loss", () => collected.collector.stats().every(({ failures }, i) => failures > Number(before[i])));
  await until("all connected", () => collected.collector.stats().every(({ connected }) => connected));
  // The library has one made before it is stopped; that one goes while the next may be there already.
  await count(1);
  await collected.close();
  await count(0);
}, 120_000);

it("a server that calls itself a simulator marks its devices", async () => {
  const { seen } = collect(device("machine", "a"));
  await until("the mark", () => seen.some((one) => "simulated" in one && one.simulated));
  expect(seen.flatMap((one) => ("simulated" in one ? [one.simulated] : []))).toEqual([false, true]);
});

it("namespaces are resolved by URI at each connect: another index after a restart is no other node", async () => {
  const byIndex = {
    ...device("machine", "a"),
    tags: [...device("machine", "a").tags, 'name: x, nodeId: "ns=2;s=a", type: float64'],
  };
  const collected = collect(byIndex);
  await until("both", () => collected.of("a").length > 0 && collected.of("x").length > 0);
  expect(show(collected.of("x"))[0]).toBe(1);
  await server.stop();
  namespacesBefore = 3;
  server.set("a", { dataType: "Double", value: 2 });
  await server.start();
  await until("again", () => collected.of("a").at(-1)?.value === 2, 8000);
  // The index is now that of another namespace, where there is no such node.
  await until("the index", () => statusName(collected.of("x").at(-1)?.status ?? 0) === "BadNodeIdUnknown");
});

/** A network on which what the server sends is kept back while it has a session; from the first on, until it is let go. */
async function holdingNetwork() {
  const sockets = new Set<Socket>();
  let held: (() => void)[] | undefined = [];
  const proxy = createServer((near) => {
    const far = connect({ host: "127.0.0.1", port: server.port });
    for (const one of [near, far]) {
      sockets.add(one.on("error", () => undefined));
      one.on("close", () => sockets.delete(one));
    }
    near.on("data", (chunk) => far.write(chunk)).on("close", () => far.end());
    far.on("close", () => near.destroy());
    far.on("data", (chunk: Buffer) => {
      if (held !== undefined && server.sessions().length > 0) held.push(() => near.write(chunk));
      else near.write(chunk);
    });
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  closers.push(async () => {
    for (const one of sockets) one.destroy();
    proxy.close();
  });
  const release = () => {
    for (const send of held ?? []) send();
    held = undefined;
  };
  /** Has every connection end, and holds from then on. */
  const cut = () => {
    held = [];
    for (const one of sockets) one.destroy();
  };
  return { port: (proxy.address() as { port: number }).port, release, cut };
}

it("a session whose server tells of it after the time-out ends then, also one that the library has asked for to repair a cut", async () => {
  await until("no session of those before", () => server.sessions().length === 0);
  // The library waits at least so long, whatever it is told.
  const { minTransactionTimeout } = ClientSecureChannelLayer;
  ClientSecureChannelLayer.minTransactionTimeout = 100;
  try {
    const { port, release, cut } = await holdingNetwork();
    const behind = { ...device("one", "a"), endpointUrl: `opc.tcp://127.0.0.1:${port}` };
    const collected = collect(behind);
    await until("its time-out", () => collected.reasons("one").some((reason) => reason.includes("OPCUA_TIMEOUT")));
    await collected.close();
    expect(server.sessions()).toHaveLength(1);
    release();
    await until("no session", () => server.sessions().length === 0);

    const living = collect(behind);
    await until("a value", () => living.of("a", "one").length > 0);
    cut();
    server.forget();
    await until("another session", () => server.sessions().length > 0);
    await until("given up", () => living.collector.stats()[0]?.failures !== 0);
    await living.close();
    expect(server.sessions()).toHaveLength(1);
    release();
    await until("no session again", () => server.sessions().length === 0);
  } finally {
    ClientSecureChannelLayer.minTransactionTimeout = minTransactionTimeout;
  }
});

it("a session that is given up while the server makes it keeps no place there", async () => {
  await until("no session of those before", () => server.sessions().length === 0);
  for (let round = 0; round < 5; round += 1) {
    const collected = collect(device("one", "a"));
    // At the moment at which the server has it and the gateway has not heard of it.
    while (server.sessions().length === 0) await new Promise((resolve) => setImmediate(resolve));
    await collected.close();
    await until("no session", () => server.sessions().length === 0);
  }
});
