/**
 * Two MQTT clients in a process of their own, so that their times are the broker's and not those of the loop that they would share with it:
 * a host that publishes to a gateway, and that gateway. Told to measure, it tells how long each message took, ms.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { connectAsync } from "mqtt";
import { gatewayOf, type Measure, secret, topic } from "./kpi-broker-setting.ts";

/** Time after the last message in which it may still come. */
const lateMs = 2000;

const { group, node, name } = gatewayOf;
const at = { host: "127.0.0.1", port: Number(process.argv[2]), password: secret, reconnectPeriod: 0 };
const will = {
  topic: `spBv1.0/${group}/NDEATH/${node}`,
  payload: Buffer.from("death"),
  qos: 1,
  retain: false,
} as const;
const gateway = await connectAsync({ ...at, username: name, clientId: name, will });
const host = await connectAsync({ ...at, username: "bench", clientId: "bench-1" });
await gateway.subscribeAsync(topic);

let tookMs: number[] = [];
gateway.on("message", (_, payload) => {
  tookMs.push(performance.now() - payload.readDoubleBE(0));
});

async function measure({ messages, everyMs }: Measure): Promise<void> {
  tookMs = [];
  for (let i = 0; i < messages; i += 1) {
    const payload = Buffer.alloc(64);
    payload.writeDoubleBE(performance.now(), 0);
    host.publish(topic, payload, { qos: 0 });
    await sleep(everyMs);
  }
  const endMs = performance.now() + lateMs;
  while (tookMs.length < messages && performance.now() < endMs) await sleep(everyMs);
  process.send?.(tookMs);
}

process.on("message", (asked: Measure | "end") => {
  if (asked !== "end") void measure(asked);
  else void Promise.all([gateway.endAsync(), host.endAsync()]).then(() => process.disconnect());
});
process.send?.("ready");
