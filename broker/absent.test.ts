import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { Aedes } from "aedes";
import { connectAsync } from "mqtt";
import { afterEach, expect, it } from "vitest";
import { queueForNobody } from "./absent.ts";
import { until } from "./test-broker.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Aedes alone, without the gate that lets in clean sessions only. */
async function broker(forNobody: boolean) {
  const aedes = await Aedes.createBroker();
  if (forNobody) queueForNobody(aedes);
  const server = createServer(aedes.handle);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(async () => {
    await new Promise<void>((resolve) => aedes.close(resolve));
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const connect = async (clientId: string, clean = true) => {
    const heard: string[] = [];
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { clientId, clean, reconnectPeriod: 0 }, false);
    client.on("message", (_topic, payload) => heard.push(String(payload)));
    closers.push(() => client.endAsync(true));
    return { client, heard };
  };
  return { aedes, connect };
}
const names = Array.from({ length: 50 }, (_, i) => `message ${i}`);

// The first case holds what the name of a method of the library is relied on for: were it another, nothing would be told.
it.each([
  ["Aedes by itself keeps messages for", false, 51],
  ["nothing is kept, however much is sent, for", true, 1],
])("%s a session that is away", async (_what, forNobody, expected) => {
  const { aedes, connect } = await broker(forNobody);
  const away = await connect("away", false);
  await away.client.subscribeAsync("a/#", { qos: 1 });
  await away.client.endAsync();
  await until(() => aedes.connectedClients === 0, "it is away");
  const { client } = await connect("teller");
  for (const name of names) await client.publishAsync("a/b", name, { qos: 1 });
  const back = await connect("away", false);
  await client.publishAsync("a/b", "after", { qos: 0 });
  await until(() => back.heard.includes("after") && back.heard.length >= expected, "what is to come");
  expect(back.heard).toHaveLength(expected);
});

it("changes nothing for those who are there: all that is told comes, once, with QoS 0 and 1", async () => {
  const { connect } = await broker(true);
  const [teller, first, second] = await Promise.all(["teller", "first", "second"].map((id) => connect(id)));
  if (!teller || !first || !second) throw new Error("not connected");
  await first.client.subscribeAsync({ "a/#": { qos: 1 }, "a/b": { qos: 1 } });
  await second.client.subscribeAsync("a/b", { qos: 0 });
  await Promise.all(names.map((name, i) => teller.client.publishAsync("a/b", name, { qos: i % 2 ? 1 : 0 })));
  await until(() => first.heard.length >= names.length && second.heard.length >= names.length, "all");
  // Order is kept within a QoS (MQTT 3.1.1, 4.6), not between them.
  expect([first.heard.toSorted(), second.heard.toSorted()]).toEqual([names.toSorted(), names.toSorted()]);
  await first.client.unsubscribeAsync(["a/#", "a/b"]);
  await teller.client.publishAsync("a/b", "later", { qos: 1 });
  await until(() => second.heard.includes("later"), "the one that is still subscribed");
  expect(first.heard).toHaveLength(names.length);
});
