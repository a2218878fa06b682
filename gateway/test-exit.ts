/**
 * A process of the tests: runs a gateway with its ops address inside this process, closes it, and then has to end by itself; a timer or
 * socket left behind would keep it. Usage: node test-exit.ts folder brokerPort
 */
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { readGatewayConfig } from "./config.ts";
import { openOps } from "./ops-start.ts";
import { startGateway } from "./run.ts";

const [, , folder = "", brokerPort = ""] = process.argv;
const text = `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${brokerPort} }
outbox: { path: ${JSON.stringify(join(folder, "outbox.db"))} }
ops: { port: 0 }
devices:
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: 9, unitId: 1, tags: [{ name: a, table: holding, address: 0, type: int16 }] }
`;
const checked = readGatewayConfig(text, "test");
if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
const config = checked.value;
const log = pino({ level: "silent" });
const gateway = startGateway(config, { log, clock: systemClock });
const ops = await openOps({ ...config, ops: { host: "127.0.0.1", port: 0 } }, { gateway, clock: systemClock, log });
while (!gateway.stats().edge.born || gateway.stats().devices[0]?.failures === 0) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
await fetch(`http://127.0.0.1:${ops.port}/metrics`).then((answer) => answer.text());
await Promise.all([gateway.close(), ops.close()]);
process.stdout.write("closed\n");
