/**
 * For bench:broker, as a process of its own: twenty gateways that publish as fast as the hearer hears (`broker-publish.ts BROKER PORT
 * PAYLOAD-BYTES QOS`). Their packets are made beforehand: what they cost is the writing. Answers "credit" with the port for the hearer,
 * "start", "stop", and "sent" with the messages sent.
 */
import { createServer, type Socket } from "node:net";
import {
  accepted,
  answer,
  type BrokerName,
  batchBytes,
  batchesUnderWay,
  batchMessages,
  gatewayConnect,
  publishers,
} from "./broker-setting.ts";

const [broker, port, payloadBytes, asked] = process.argv.slice(2) as [BrokerName, string, string, string];
const qos = asked === "1" ? 1 : 0;
/** More than are under way to the hearer: a message id is free again with its acknowledgement. */
const slots = 2 * batchesUnderWay;
const pubackBytes = 4;

type Gateway = { socket: Socket; batches: Buffer[]; sent: number; ackBytes: number };

async function gateway(node: string): Promise<Gateway> {
  const batches = Array.from({ length: qos === 1 ? slots : 1 }, (_, i) =>
    batchBytes(node, Number(payloadBytes), qos, 1 + i * batchMessages),
  );
  const socket = await accepted(Number(port), gatewayConnect(node, broker));
  const made: Gateway = { socket, batches, sent: 0, ackBytes: 0 };
  socket.on("data", (chunk: Buffer) => {
    made.ackBytes += chunk.length;
    pump();
  });
  socket.on("drain", pump);
  socket.on("close", () => {
    if (on) throw new Error(`the broker has ended ${node}`);
  });
  return made;
}

let on = false;
let credits = batchesUnderWay * publishers.length;
let turn = 0;
const gateways: Gateway[] = [];

function maySend({ socket, sent, ackBytes }: Gateway): boolean {
  const isAcked = qos === 0 || sent - Math.floor(ackBytes / (pubackBytes * batchMessages)) < slots;
  return isAcked && !socket.writableNeedDrain;
}

/** Each gateway in its turn; one that cannot send is passed over. */
function pump(): void {
  let passed = 0;
  while (on && credits > 0 && passed < gateways.length) {
    turn = (turn + 1) % gateways.length;
    const each = gateways[turn] as Gateway;
    if (!maySend(each)) {
      passed += 1;
      continue;
    }
    passed = 0;
    credits -= 1;
    each.socket.write(each.batches[each.sent % each.batches.length] as Buffer);
    each.sent += 1;
  }
}

for (const node of publishers) gateways.push(await gateway(node));
const server = createServer((hearer) => {
  hearer.on("error", () => undefined);
  hearer.on("data", (chunk: Buffer) => {
    credits += chunk.length;
    pump();
  });
});
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
const address = server.address();
const turnOn = (isOn: boolean) => () => {
  on = isOn;
  pump();
  return isOn;
};
answer({
  credit: () => (typeof address === "object" && address ? address.port : 0),
  start: turnOn(true),
  stop: turnOn(false),
  sent: () => gateways.reduce((sum, { sent }) => sum + sent * batchMessages, 0),
});
process.send?.("ready");
