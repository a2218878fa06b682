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

async function start(): Promise<{ port: number; served: () => number; end: () => Promise<void> }> {
  if (process.argv[2] === "guarded") {
    const { broker, end } = await testBroker();
    let served = 0;
    broker.bus.onMessage(() => {
      served += 1;
    });
    return { port: broker.port, served: () => served, end };
  }
  const aedes = await Aedes.createBroker({ drainTimeout: 2000 });
  let served = 0;
  aedes.on("publish", () => {
    served += 1;
  });
  const server = createServer(aedes.handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, served: () => served, end: async () => process.exit(0) };
}

const { port, served, end } = await start();
const subscriber = await stalledSubscriber(port, "ingest-stalled", "ingest", secret);
const publishers = await Promise.all(
  Array.from({ length: 60 }, (_, i) => rawClient(port, `ingest-${i}`, "ingest", secret)),
);
const message = publishPacket("spBv1.0/f1/NCMD/gw-1", Buffer.alloc(1000));
const stops = publishers.map((publisher) => flood(publisher, message));
// The end of a connection is seen only by one who reads: it reads again after the broker's patience is over.
setTimeout(() => subscriber.resume(), 6000);
await once(subscriber, "close");
const before = served();
while (served() < before + 1000) await new Promise((resolve) => setTimeout(resolve, 10));
for (const stop of stops) stop();
for (const publisher of publishers) publisher.destroy();
await end();
process.stdout.write("serves\n");
