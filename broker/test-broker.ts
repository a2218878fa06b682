/** What the broker's tests share: a broker on port 0 with a real ledger, and clients that are who they say. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ledger, Principal } from "@jilian/store/ledger.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";
import { pino } from "pino";
import { Value } from "typebox/value";
import { type BrokerConfig, brokerSchema } from "./config.ts";
import type { BrokerFault } from "./gate.ts";
import { type Broker, type BrokerDeps, startBroker } from "./start.ts";

export const secrets = {
  "f1/gw-1": "secret of gw-1",
  "f1/gw-2": "secret of gw-2",
  ingest: "secret of ingest",
  "wall@ea": "secret of a viewer of ea",
  "wall@eb": "secret of a viewer of eb",
  "operator:ops": "secret of ops",
  /** Of another enterprise. */
  "f3/gw-1": "secret of f3",
} as const;
const owners: Readonly<Record<string, string>> = { f1: "ea", f2: "ea", f3: "eb" };
/** Whose the factories of the tests are. */
export const enterpriseOf = (factory: string): string | undefined => owners[factory];
export type Name = keyof typeof secrets;

export type TestBroker = {
  broker: Broker;
  ledger: Ledger;
  faults: BrokerFault[];
  logLines: string[];
  /** Connects; the options given replace the ones that would be let in. */
  connect: (name: Name, over?: IClientOptions) => Promise<MqttClient>;
  end: () => Promise<void>;
};

/** NDEATH of a gateway, as the will that the broker asks for. */
export function willOf(name: string): NonNullable<IClientOptions["will"]> {
  const [group, node] = name.split("/");
  return { topic: `spBv1.0/${group}/NDEATH/${node}`, payload: Buffer.from("death"), qos: 1, retain: false };
}

function principals(): [Principal, string][] {
  const gateways = (["f1/gw-1", "f1/gw-2", "f3/gw-1"] as const).map((name): [Principal, string] => {
    const [group = "", node = ""] = name.split("/");
    return [{ kind: "gateway", name, group, node }, secrets[name]];
  });
  return [
    ...gateways,
    [{ kind: "host", name: "ingest" }, secrets.ingest],
    [{ kind: "api", name: "wall" }, "secret of wall"],
    [{ kind: "viewer", name: "wall@ea", enterprise: "ea" }, secrets["wall@ea"]],
    [{ kind: "viewer", name: "wall@eb", enterprise: "eb" }, secrets["wall@eb"]],
    [{ kind: "operator", name: "ops" }, secrets["operator:ops"]],
  ];
}

export async function testBroker(
  over: Partial<Omit<BrokerConfig, "limits">> & { limits?: Partial<BrokerConfig["limits"]> } = {},
  deps: Pick<BrokerDeps, "tlsPollMs" | "endWrites" | "authority" | "revocationPollMs" | "now"> = {},
): Promise<TestBroker> {
  const folder = mkdtempSync(join(tmpdir(), "broker-"));
  const logLines: string[] = [];
  const log = pino({ level: "debug" }, { write: (line) => logLines.push(line) });
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log });
  for (const [principal, secret] of principals()) ledger.setCredential(principal, secret);
  const faults: BrokerFault[] = [];
  const base = Value.Create(brokerSchema);
  const config = { ...base, port: 0, ...over, limits: { ...base.limits, ...over.limits } };
  const tidy = () => {
    ledger.close();
    rmSync(folder, { recursive: true });
  };
  const starting = startBroker(config, { ...deps, ledger, log, enterpriseOf, onFault: (fault) => faults.push(fault) });
  starting.catch(tidy);
  const broker = await starting;
  const clients: MqttClient[] = [];
  return {
    broker,
    ledger,
    faults,
    logLines,
    connect: async (name, overOptions = {}) => {
      const options: IClientOptions = {
        username: name,
        password: secrets[name],
        clientId: name,
        keepalive: 60,
        reconnectPeriod: 0,
        ...(name.includes("/") ? { will: willOf(name) } : {}),
        ...overOptions,
      };
      const { protocol = "mqtt", host = "127.0.0.1", port = broker.port } = options;
      const client = await connectAsync(`${protocol}://${host}:${port}${options.path ?? ""}`, options, false);
      client.on("error", () => {});
      clients.push(client);
      return client;
    },
    end: async () => {
      await Promise.all(clients.map((client) => client.endAsync(true)));
      await broker.close();
      tidy();
    },
  };
}

/** Waits until something holds, for a bounded time; for conditions that no event announces. */
export async function until(holds: () => boolean, what: string, withinMs = 5000): Promise<void> {
  const from = performance.now();
  while (!holds()) {
    if (performance.now() - from > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
