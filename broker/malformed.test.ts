import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { afterEach, expect, it } from "vitest";
import { secrets, type TestBroker, testBroker, until } from "./test-broker.ts";
import { fuzz } from "./test-fuzz.ts";
import { connectPacket, header, rawClient } from "./test-wire.ts";

let test: TestBroker;
afterEach(() => test.end());

const text = (bytes: Buffer | string) => {
  const body = Buffer.from(bytes as string);
  return Buffer.concat([Buffer.from([body.length >> 8, body.length & 0xff]), body]);
};
const packet = (first: number, ...parts: Buffer[]) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([header(first, body.length), body]);
};
const id = Buffer.from([0, 1]);
const command = "spBv1.0/f1/NCMD/gw-1";

/** What MQTT 3.1.1 forbids an accepted client to send, with the statement. */
const forbidden: Record<string, Buffer> = {
  "a second CONNECT (3.1.0-2)": connectPacket("ingest", "ingest", secrets.ingest),
  "QoS 3 (3.3.1-4)": packet(0x36, text(command), id),
  "a topic with a wildcard (3.3.2-2)": packet(0x30, text("spBv1.0/+/NCMD/gw-1")),
  "an empty topic (4.7.3-1)": packet(0x30, text("")),
  "a topic with U+0000 (1.5.3-2)": packet(0x30, text("spBv1.0/f1/NCMD/gw-1\0")),
  "a topic that is not UTF-8 (1.5.3-1)": packet(0x30, text(Buffer.from("spBv1.0/f1/NCMD/\xff\xfe", "latin1"))),
  "a surrogate in a topic (1.5.3-1)": packet(0x30, text(Buffer.from("spBv1.0/f1/NCMD/\xed\xa0\x80", "latin1"))),
  "a topic longer than its packet": Buffer.concat([header(0x30, 4), Buffer.from([0xff, 0xff, 0x61, 0x62])]),
  "a length of 5 bytes (2.2.3)": Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x7f]),
  "a filter that is not UTF-8 (1.5.3-1)": packet(
    0x82,
    id,
    text(Buffer.from("spBv1.0/\xc0\x80", "latin1")),
    Buffer.from([0]),
  ),
  "SUBSCRIBE with wrong flags (3.8.1-1)": packet(0x80, id, text(command), Buffer.from([0])),
  "SUBSCRIBE without a filter (3.8.3-3)": packet(0x82, id),
  "SUBSCRIBE for QoS 3 (3.8.3-4)": packet(0x82, id, text(command), Buffer.from([3])),
  "a filter with # in its middle (4.7.1-2)": packet(0x82, id, text("spBv1.0/#/x"), Buffer.from([0])),
  "UNSUBSCRIBE without a filter (3.10.3-2)": packet(0xa2, id),
  "PUBREL with wrong flags (3.6.1-1)": packet(0x60, id),
  CONNACK: Buffer.from([0x20, 2, 0, 0]),
  SUBACK: packet(0x90, id, Buffer.from([0])),
  PINGRESP: Buffer.from([0xd0, 0]),
  "type 0": Buffer.from([0x00, 0]),
  "type 15": Buffer.from([0xf0, 0]),
};

it("what MQTT forbids ends that connection: of a client that was let in, and of one that was not", async () => {
  test = await testBroker();
  const { broker } = test;
  let heard = 0;
  broker.bus.onMessage(() => {
    heard += 1;
  });
  const good = await test.connect("f1/gw-1");
  for (const [i, name] of Object.keys(forbidden).entries()) {
    const accepted = await rawClient(broker.port, `ingest-${i}`, "ingest", secrets.ingest);
    const stranger = connectTcp(broker.port, "127.0.0.1");
    stranger.on("error", () => {});
    // A CONNECT that is the first is not the second.
    const ends = (name.startsWith("a second") ? [accepted] : [accepted, stranger]).map(async (socket) => {
      socket.write(forbidden[name] as Buffer);
      await once(socket, "close", { signal: AbortSignal.timeout(5000) });
    });
    await Promise.all(ends).catch((cause) => expect.fail(`${name} did not end it: ${cause}`));
    stranger.destroy();
    await good.publishAsync("spBv1.0/f1/NDATA/gw-1", "goes on", { qos: 1 });
    await until(() => heard === i + 1, `the good client goes on after ${name}`);
  }
  expect(broker.stats().clients).toBe(1);
});

it("broken packets of every kind end their connection and nothing else (seed 11)", async () => {
  test = await testBroker();
  const { stats, exchanged } = await fuzz(test, { seed: 11, cases: 480 });
  expect(exchanged).toBe(30);
  expect(stats).toMatchObject({ clients: 2, connections: 2 });
  // It reaches what it is meant for: the parser, the limits and the rules.
  expect(stats.ended.malformed).toBeGreaterThan(50);
  expect(stats.ended.oversize).toBeGreaterThan(20);
  for (const code of ["BROKER_BAD_CREDENTIALS", "BROKER_SUBSCRIBE_REFUSED", "BROKER_PUBLISH_REFUSED", "BROKER_WILL"])
    expect(stats.refusedByCode.get(code), code).toBeGreaterThan(0);
});
