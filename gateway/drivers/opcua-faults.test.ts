import { Status } from "@jilian/domain/quality.ts";
import { OPCUAClientBase } from "node-opcua-client";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import { type Network, startNetwork, startTestServer, type TestServer, temporaryFolder } from "../test-opcua.ts";
import { type Collected, collectOpcua, opcuaConfig, quick, show } from "../test-opcua-devices.ts";

/** What servers and networks do to a subscription; every fault ends with living values again, and no gap looks like data. */
const folder = temporaryFolder();
const closers: (() => Promise<unknown>)[] = [];
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ pkiDir: `${folder.path}/server` });
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

const tags = ["name: count, nodeId: NODE(count), type: uint32", "name: quiet, nodeId: NODE(quiet), type: float64"];
const count = (value: number) => server.set("count", { dataType: "UInt32", value });

function collect({ endpointUrl = server.endpointUrl, extra = quick } = {}): Collected {
  const collected = collectOpcua(opcuaConfig(folder.path, [{ endpointUrl, extra, tags }]));
  closers.push(collected.close);
  return collected;
}

async function living(extra?: string): Promise<Collected & { network: Network }> {
  count(1);
  server.set("quiet", { dataType: "Double", value: 7 }, { sourceTimeMs: Date.now() - 3_600_000 });
  const network = await startNetwork(() => server.port);
  const endpointUrl = `opc.tcp://127.0.0.1:${network.port}`;
  closers.push(network.close);
  const collected = collect(extra === undefined ? { endpointUrl } : { endpointUrl, extra });
  await until("the first values", () => collected.of("count").length > 0 && collected.of("quiet").length > 0, 15_000);
  return { ...collected, network };
}

/** The value arrives as good after a sample that is bad. */
async function comesBack({ of }: Collected, value: number, boundMs = 15_000): Promise<void> {
  count(value);
  await until("living values again", () => of("count").at(-1)?.value === value, boundMs);
  const shown = show(of("count"));
  const gap = shown.findIndex((one) => String(one).startsWith("null Bad"));
  expect(gap).toBeGreaterThan(0);
  expect(gap).toBeLessThan(shown.indexOf(value));
  const times = of("count").map((s) => s.sourceTimeMs);
  expect(times).toEqual([...new Set(times)].toSorted((a, b) => a - b));
}

describe("a server", () => {
  it("that restarts on the same port is found again, with the gap marked and nothing left behind", async () => {
    const collected = await living();
    for (let round = 1; round <= 3; round += 1) {
      await server.stop();
      await until("the loss", () => collected.reasons().length >= round, 15_000);
      await server.start();
      await comesBack(collected, 100 + round, 15_000);
    }
    expect(server.sessions()).toHaveLength(1);
    expect(server.subscriptions()).toHaveLength(1);
    expect(collected.of("quiet").at(-1)).toMatchObject({ value: 7, status: Status.Good });
  });

  it("that forgets its sessions over and over leaves no client, socket or listener behind", async () => {
    const collected = await living();
    const sockets = () => process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length;
    const before = { sockets: sockets(), clients: OPCUAClientBase.registry.count() };
    for (let round = 1; round <= 8; round += 1) {
      server.forget();
      await until("a new session", () => (collected.collector.stats()[0]?.connects ?? 0) > round, 15_000);
    }
    await comesBack(collected, 150);
    expect(before.clients).toBe(1);
    expect(OPCUAClientBase.registry.count()).toBe(1);
    expect(sockets()).toBe(before.sockets);
    expect(server.sessions()).toHaveLength(1);
  });

  it("that forgets the session is given a new one, by the collector", async () => {
    const collected = await living();
    server.forget();
    await comesBack(collected, 200);
    expect(collected.reasons()[0]).toContain("OPCUA_SESSION_LOST");
    // The library has one made before it is stopped; that one goes while the next may be there already.
    await until("one session", () => server.sessions().length === 1);
    expect(server.subscriptions()).toHaveLength(1);
  });

  it("that ends the subscription alone is given a new one", async () => {
    const collected = await living();
    for (const subscription of server.subscriptions()) subscription.terminate();
    await comesBack(collected, 300);
    expect(collected.reasons()[0]).toMatch(/OPCUA_(SESSION_LOST|SUBSCRIPTION_DEAD)/);
  });

  it("that answers and no longer publishes is found within the bound", async () => {
    const collected = await living();
    const startedMs = performance.now();
    server.freeze();
    await until("the loss", () => collected.reasons().length > 0, 15_000);
    expect(performance.now() - startedMs).toBeLessThan(2000);
    expect(collected.reasons()[0]).toContain("OPCUA_SUBSCRIPTION_DEAD");
    await comesBack(collected, 400);
  });

  it("that keeps a subscription alive and withholds changes is found by reading", async () => {
    const collected = await living();
    await server.withhold("count");
    count(500);
    await until("the loss", () => collected.reasons().length > 0, 15_000);
    expect(collected.reasons()[0]).toContain("OPCUA_SUBSCRIPTION_DEAD");
    expect(collected.reasons()[0]).toContain("count");
    await until("the value", () => collected.of("count").at(-1)?.value === 500);
    // Once more: it is read from now on, and the device stays.
    await server.withhold("count");
    count(501);
    await until("the value, read", () => collected.of("count").at(-1)?.value === 501, 6000);
    expect(collected.reasons()).toHaveLength(1);
  });
});

describe("a tag that is withheld", () => {
  it("ends the subscription although another tag changes all the time, and again when it has lived meanwhile", {
    timeout: 60_000,
  }, async () => {
    const collected = await living();
    let other = 0;
    const busy = setInterval(() => {
      other += 1;
      server.set("quiet", { dataType: "Double", value: other });
    }, 20);
    closers.push(async () => clearInterval(busy));
    for (const [round, value] of [500, 600].entries()) {
      await server.withhold("count");
      count(value);
      await until("the loss", () => collected.reasons().length > round, 15_000);
      await until("the value", () => collected.of("count").at(-1)?.value === value, 15_000);
      for (const next of [value + 1, value + 2]) {
        count(next);
        await until("it lives", () => collected.of("count").at(-1)?.value === next, 15_000);
      }
    }
  });
});

describe("what was told", () => {
  it("before the end of a session is delivered, however rare the polls", { timeout: 60_000 }, async () => {
    count(1);
    const rare = quick
      .replace("pollIntervalMs: 50", "pollIntervalMs: 4000")
      .replace("heartbeatMs: 400", "heartbeatMs: 8000");
    const collected = await living(rare);
    // Another client shows what the server has sent by now: some of its heartbeats later, both have it.
    const witness = await living();
    const polls = () => collected.collector.stats()[0]?.polls ?? 0;
    const before = polls();
    await until("a poll", () => polls() > before, 15_000);
    count(701);
    const last = () => witness.of("count").at(-1);
    await until("701 sent", () => last()?.value === 701, 15_000);
    const told = witness.of("count").length;
    await until("heartbeats of it", () => witness.of("count").length >= told + 3, 15_000);
    server.forget();
    await until("the loss", () => collected.reasons().length > 0, 15_000);
    expect(show(collected.of("count"))).toContain(701);
  });
});

describe("a network", () => {
  it("that is cut for a moment costs nothing: every change of the meantime arrives, once, with its own time", async () => {
    const collected = await living(quick.replace("timeoutMs: 500", "timeoutMs: 8000"));
    count(600);
    await until("600", () => collected.of("count").at(-1)?.value === 600);
    collected.network.cut();
    const sent = Array.from({ length: 20 }, (_, i) => 601 + i);
    const times = sent.map((value) => {
      const sourceTimeMs = Date.now() + (value - 600);
      server.set("count", { dataType: "UInt32", value }, { sourceTimeMs });
      return sourceTimeMs;
    });
    await until("the last", () => collected.of("count").at(-1)?.value === 620, 15_000);
    const after = collected.of("count").slice(collected.of("count").findIndex(({ value }) => value === 601));
    expect(show(after)).toEqual(sent);
    expect(after.map((s) => s.sourceTimeMs)).toEqual(times);
    expect(collected.reasons()).toEqual([]);
    expect(collected.network.connections()).toBe(2);
    expect(server.sessions()).toHaveLength(1);
  });

  it("that swallows everything is noticed within the bound, and one connection is made when it works again", async () => {
    const collected = await living();
    collected.network.swallow(true);
    const startedMs = performance.now();
    await until("the loss", () => collected.reasons().length > 0, 15_000);
    expect(performance.now() - startedMs).toBeLessThan(2500);
    expect(collected.reasons()[0]).toMatch(/OPCUA_(CONNECTION_LOST|SUBSCRIPTION_DEAD|TIMEOUT)/);
    const heartbeats = collected.of("quiet").length;
    await until("attempts", () => (collected.collector.stats()[0]?.failures ?? 0) >= 2, 15_000);
    expect(collected.of("quiet")).toHaveLength(heartbeats);
    collected.network.cut();
    collected.network.swallow(false);
    await comesBack(collected, 700);
  });
});
