/** What a gateway was once allowed to is remembered (gate.ts): it opens nothing else. */
import { Value } from "typebox/value";
import { afterEach, expect, it } from "vitest";
import { brokerSchema } from "./config.ts";
import { secrets, type TestBroker, testBroker, until, willOf } from "./test-broker.ts";

let test: TestBroker;
afterEach(() => test.end());

const own = "spBv1.0/f1/DDATA/gw-1/press";

async function passed() {
  test = await testBroker();
  const heard: string[] = [];
  test.broker.bus.onMessage((topic) => heard.push(topic));
  const client = await test.connect("f1/gw-1", { will: willOf("f1/gw-1"), password: secrets["f1/gw-1"] });
  for (let i = 0; i < 3; i += 1) client.publish(own, "value", { qos: 0 });
  client.publish(own, "value", { qos: 1 });
  await until(() => heard.length === 4, "its messages are heard");
  return { client, heard };
}

it.each([
  ["retained", own, { qos: 0, retain: true }],
  ["with QoS 2", own, { qos: 2, retain: false }],
  ["of another gateway", "spBv1.0/f1/DDATA/gw-2/press", { qos: 0, retain: false }],
] as const)("not a message %s", async (_what, topic, flags) => {
  const { client, heard } = await passed();
  const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
  client.publish(topic, "value", flags, () => undefined);
  await closed;
  expect(test.faults.at(-1)?.code).toBe("BROKER_PUBLISH_REFUSED");
  expect(heard.filter((each) => each === topic).length).toBe(topic === own ? 4 : 0);
});

it("not a topic beyond limits that came later", async () => {
  const { client, heard } = await passed();
  const config = Value.Create(brokerSchema);
  test.broker.reload({ ...config, limits: { ...config.limits, topicBytes: own.length - 1 } });
  const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
  client.publish(own, "value");
  await closed;
  expect(test.faults.at(-1)?.code).toBe("BROKER_TOPIC_TOO_LONG");
  expect(heard.filter((topic) => topic === own)).toHaveLength(4);
});
