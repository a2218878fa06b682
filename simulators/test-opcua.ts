/** Real OPC UA clients for the tests of the simulators. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OPCUACertificateManager } from "node-opcua-certificate-manager";
import {
  AttributeIds,
  ClientMonitoredItemGroup,
  type ClientSession,
  ClientSubscription,
  type DataValue,
  MessageSecurityMode,
  OPCUAClient,
  SecurityPolicy,
  TimestampsToReturn,
  type UserIdentityInfo,
  UserTokenType,
} from "node-opcua-client";
import { fromWire } from "./opcua-address-space.ts";
import type { OpcuaPoint, VariableValue } from "./opcua-map.ts";
import type { OpcuaServer } from "./opcua-server.ts";

export type Seen = {
  readonly point: string;
  readonly raw: VariableValue | null;
  readonly status: string;
  readonly valuesTimeMs: number;
};

export type TestClient = {
  readonly client: OPCUAClient;
  readonly session: ClientSession;
  nodeIdOf(point: OpcuaPoint): string;
  /** All variables, or those named. */
  read(...names: readonly string[]): Promise<Seen[]>;
  /** Subscribes to all variables, or those named, sampled and published as fast as the server can. */
  subscribe(...names: readonly string[]): Promise<{ seen: Seen[]; subscription: ClientSubscription }>;
  close(): Promise<void>;
};

export type Login = {
  /** Unsecured if left out. */
  readonly policy?: "Basic256Sha256" | "Aes128_Sha256_RsaOaep" | "Aes256_Sha256_RsaPss";
  readonly user?: { readonly name: string; readonly password: string };
  readonly timeoutMs?: number;
};

const folder = mkdtempSync(join(tmpdir(), "jilian-test-opcua-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

/** A folder for certificates that lives as long as the test's process: made once, its keys serve all tests of a file. */
export function testPkiDir(name: string): string {
  return join(folder, name);
}

function seenOf(point: OpcuaPoint, { value, statusCode, sourceTimestamp }: DataValue): Seen {
  return {
    point: point.name,
    raw: fromWire(point.type, value.value),
    status: statusCode.name,
    valuesTimeMs: sourceTimestamp?.getTime() ?? Number.NaN,
  };
}

async function connect(server: OpcuaServer, { policy, user, timeoutMs = 10_000 }: Login) {
  const manager = new OPCUACertificateManager({
    rootFolder: testPkiDir("client"),
    automaticallyAcceptUnknownCertificate: true,
    disableFileWatchers: true,
  });
  await manager.initialize();
  const client = OPCUAClient.create({
    applicationName: "Jilian test",
    clientCertificateManager: manager,
    connectionStrategy: { maxRetry: 0, initialDelay: 10 },
    keepSessionAlive: false,
    defaultTransactionTimeout: timeoutMs,
    ...(policy === undefined
      ? {}
      : { securityMode: MessageSecurityMode.SignAndEncrypt, securityPolicy: SecurityPolicy[policy] }),
  });
  const identity: UserIdentityInfo =
    user === undefined
      ? { type: UserTokenType.Anonymous }
      : { type: UserTokenType.UserName, userName: user.name, password: user.password };
  try {
    await client.connect(server.endpointUrl);
    return { client, session: await client.createSession(identity) };
  } catch (error) {
    await client.disconnect();
    throw error;
  }
}

/** Connects and logs in. Rejects with what the client says. */
export async function connectOpcua(server: OpcuaServer, login: Login = {}): Promise<TestClient> {
  const { client, session } = await connect(server, login);
  const namespaces = await session.readNamespaceArray();
  const index = namespaces.indexOf(server.map.namespaceUri);
  const nodeIdOf = (point: OpcuaPoint): string => `ns=${index};s=${point.identifier}`;
  const pick = (names: readonly string[]) =>
    names.length === 0 ? server.map.points : server.map.points.filter(({ name }) => names.includes(name));
  const itemsOf = (points: readonly OpcuaPoint[]) =>
    points.map((point) => ({ nodeId: nodeIdOf(point), attributeId: AttributeIds.Value }));
  return {
    client,
    session,
    nodeIdOf,
    async read(...names) {
      const points = pick(names);
      const values = await session.read(itemsOf(points));
      return points.map((point, i) => seenOf(point, values[i] as DataValue));
    },
    async subscribe(...names) {
      const points = pick(names);
      const subscription = ClientSubscription.create(session, {
        requestedPublishingInterval: 50,
        requestedMaxKeepAliveCount: 2,
        requestedLifetimeCount: 1000,
        publishingEnabled: true,
      });
      const seen: Seen[] = [];
      const parameters = { samplingInterval: 0, queueSize: 1000, discardOldest: true };
      const group = ClientMonitoredItemGroup.create(subscription, itemsOf(points), parameters, TimestampsToReturn.Both);
      group.on("changed", (_item, dataValue: DataValue, i: number) => {
        seen.push(seenOf(points[i] as OpcuaPoint, dataValue));
      });
      await new Promise<void>((resolve, reject) => {
        group.once("initialized", () => resolve());
        group.once("err", (message: string) => reject(new Error(message)));
      });
      return { seen, subscription };
    },
    async close() {
      await client.disconnect();
    },
  };
}
