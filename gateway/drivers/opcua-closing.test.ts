import { OPCUAClientBase } from "node-opcua-client";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import { type Network, startNetwork, startTestServer, type TestServer, temporaryFolder } from "../test-opcua.ts";
import { collectOpcua, opcuaConfig, show } from "../test-opcua-devices.ts";

/** A gateway that ends while it begins: whatever the library does then must not end the process by an exception that nobody catches. */
const folder = temporaryFolder();
const uncaught: unknown[] = [];
const note = (thrown: unknown) => uncaught.push(thrown);
const events = ["uncaughtException", "unhandledRejection"] as const;
const others = new Map<string, ((thrown: unknown) => void)[]>();
let server: TestServer;
let network: Network;

beforeAll(async () => {
  server = await startTestServer({ pkiDir: `${folder.path}/server` });
  server.set("count", { dataType: "UInt32", value: 1 });
  server.structure("recipe");
  network = await startNetwork(() => server.port);
  for (const event of events) {
    others.set(event, process.rawListeners(event) as ((thrown: unknown) => void)[]);
    process.removeAllListeners(event);
    process.on(event, note);
  }
});
afterAll(async () => {
  for (const event of events) {
    process.off(event, note);
    for (const listener of others.get(event) ?? []) process.on(event, listener);
  }
  await network.close();
  await server.stop();
  folder.remove();
});

type Client = OPCUAClientBase & { on: (event: string, listener: (message: object) => void) => void };
const registry = OPCUAClientBase.registry as unknown as { _yieldAliveObjects: () => Iterable<[string, Client]> };
const clients = () => [...registry._yieldAliveObjects()].map(([, client]) => client);

/** Closes at the moment at which a message of this kind is sent by a client or comes to it. */
async function closeAt(kind: string, close: () => Promise<void> | void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const hooked = new Set<Client>();
  const onMessage = ({ constructor: { name } }: object) => {
    if (name === kind) resolve(close());
  };
  const look = setInterval(() => {
    for (const client of clients()) {
      if (hooked.has(client)) continue;
      hooked.add(client);
      for (const event of ["send_request", "receive_response"]) client.on(event, onMessage);
    }
  }, 1);
  await promise;
  clearInterval(look);
}

const tags = ["name: count, nodeId: NODE(count), type: uint32", "name: recipe, nodeId: NODE(recipe), type: uint32"];
const collect = (endpointUrl = server.endpointUrl) => collectOpcua(opcuaConfig(folder.path, [{ endpointUrl, tags }]));

it.each([
  ["CreateSessionResponse"],
  ["ActivateSessionResponse"],
  ["CreateSubscriptionRequest"],
  ["CreateSubscriptionResponse"],
  ["CreateMonitoredItemsRequest"],
  ["CreateMonitoredItemsResponse"],
  ["PublishRequest"],
  ["PublishResponse"],
])("ends at a %s", async (kind) => {
  await closeAt(kind, collect().close);
  // Not that the server has none: on a busy machine a gateway leaves without waiting for that.
  await until("no client", () => OPCUAClientBase.registry.count() === 0, 10_000);
  expect(uncaught.splice(0)).toEqual([]);
});

it.each(["CreateSubscriptionResponse", "CreateMonitoredItemsRequest"])(
  "goes on when its session or its connection is gone at a %s",
  async (kind) => {
    for (const end of [server.forget, network.cut]) {
      const collected = collect(`opc.tcp://127.0.0.1:${network.port}`);
      await closeAt(kind, end);
      await until("values", () => collected.of("count").some(({ value }) => value === 1), 10_000);
      await collected.close();
      await until("no client", () => OPCUAClientBase.registry.count() === 0, 10_000);
    }
    expect(uncaught.splice(0)).toEqual([]);
  },
);

it("takes a structure for what it is without asking the server for its types", async () => {
  const collected = collect();
  await until("first values", () => collected.of("recipe").length > 0 && collected.of("count").length > 0, 10_000);
  expect(show(collected.of("recipe"))[0]).toBe("null BadTypeMismatch");
  expect(show(collected.of("count"))[0]).toBe(1);
  server.forget();
  await until("a new session", () => collected.collector.stats()[0]?.connects === 2, 10_000);
  expect(uncaught.splice(0)).toEqual([]);
  await collected.close();
});
