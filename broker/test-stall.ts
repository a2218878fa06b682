/**
 * A process of the broker's tests: 60 publishers flood a broker while a subscriber stalls, until the broker ends that subscriber; then
 * says whether the broker still serves. Usage: node test-stall.ts bare|guarded, for Aedes as it comes or the broker of this product.
 */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { Aedes } from "aedes";
import { secrets, testBroker } from "./test-broker.ts";
import { flood, publishPacket, rawClient, stalledSubscriber } from "./test-wire.ts";

const secret = secrets.ingest;

type Flooded = { port: number; served: () => number; isGivenUp: () => boolean; end: () => Promise<void> };

async function start(): Promise<Flooded> {
  if (process.argv[2] === "guarded") {
    const { broker, end } = await testBroker();
    let served = 0;
    broker.bus.onMessage(() => {
      served += 1;
    });
    const isGivenUp = () => broker.stats().ended.slow > 0;
    return { port: broker.port, served: () => served, isGivenUp, end };
  }
  const aedes = await Aedes.createBroker({ drainTimeout: 2000 });
  let served = 0;
  aedes.on("publish", () => {
    served += 1;
  });
  let isGivenUp = false;
  aedes.on("clientError", (_client, { message }) => {
    isGivenUp ||= message === "drain timeout";
  });
  const server = createServer(aedes.handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { port, served: () => served, isGivenUp: () => isGivenUp, end: async () => process.exit(0) };
}

const { port, served, isGivenUp, end } = await start();
const pause = () => new Promise((resolve) => setTimeout(resolve, 10));
const subscriber = await stalledSubscriber(port, "ingest-stalled", "ingest", secret);
const publishers = await Promise.all(
  Array.from({ length: 60 }, (_, i) => rawClient(port, `ingest-${i}`, "ingest", secret)),
);
const message = publishPacket("spBv1.0/f1/NCMD/gw-1", Buffer.alloc(1000));
const stops = publishers.map((publisher) => flood(publisher, message));
// The end of a connection is seen only by one who reads: it reads again once the broker's patience is over.
while (!isGivenUp()) await pause();
const closed = once(subscriber, "close");
subscriber.resume();
await closed;
const before = served();
while (served() < before + 1000) await pause();
for (const stop of stops) stop();
for (const publisher of publishers) publisher.destroy();
await end();
process.stdout.write("serves\n");
