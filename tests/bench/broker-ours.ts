/**
 * For bench:broker, as a process of its own: our broker with the accounts of a ledger (`broker-ours.ts FOLDER`). Tells its ports. Answers
 * "heard"; "deaf"; and the port of publishers, for whom it then hears from nought on as ingest does in this process.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { brokerSchema } from "@jilian/broker/config.ts";
import { startBroker } from "@jilian/broker/start.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { Value } from "typebox/value";
import { creditor, group, keepaliveS } from "./broker-setting.ts";

const [folder] = process.argv.slice(2) as [string];
const log = pino({ level: "warn" }, pino.destination(2));
const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log });
const [certFile, keyFile] = ["broker.pem", "broker.key"].map((name) => join(folder, "ca", name)) as [string, string];
const tls = existsSync(certFile) ? { tls: { port: 0, certFile, keyFile, minVersion: "TLSv1.2" as const } } : {};
const base = Value.Create(brokerSchema);
const most = { messagesPerSecond: 1_000_000, bytesPerSecond: 1024 * 2 ** 20, connectsPerMinute: 6000 };
const { client, enterprise } = base.limits;
const config = {
  ...base,
  ...tls,
  port: 0,
  maxConnections: 5000,
  keepaliveMaxMs: keepaliveS * 1000,
  limits: {
    ...base.limits,
    connectionsPerAddress: 5000,
    client: { ...client, ...most },
    enterprise: { ...enterprise, ...most, connections: 5000 },
  },
};
const enterpriseOf = (factory: string) => (factory === group ? "enterprise" : undefined);
const broker = await startBroker(config, { ledger, log, enterpriseOf });
let heard = 0;
let detach = (): unknown => undefined;
async function listen(port: number): Promise<void> {
  const credit = await creditor(port);
  heard = 0;
  detach = broker.bus.onMessage(() => {
    heard += 1;
    credit(heard);
  });
}
process.on("message", async (asked) => {
  if (asked === "deaf") detach();
  else if (asked !== "heard") await listen(Number(asked));
  process.send?.(heard);
});
process.on("disconnect", () => process.exit(0));
process.send?.({ port: broker.port, tlsPort: broker.tlsPort });
