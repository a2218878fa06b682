import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OPCUACertificateManager } from "node-opcua-certificate-manager";
import {
  coerceNodeId,
  MessageSecurityMode,
  ServiceCounterDataType,
  StatusCodes,
  Variant,
  type VariantOptions,
} from "node-opcua-client";
import { OPCUAServer, type ServerSession, type Subscription } from "node-opcua-server";

type AddressSpace = NonNullable<OPCUAServer["engine"]["addressSpace"]>;
type UAVariable = ReturnType<ReturnType<AddressSpace["getOwnNamespace"]>["addVariable"]>;

/** A small OPC UA server whose every value, status, time and failing a test decides; and a network before it that fails. */
export type TestServer = {
  readonly endpointUrl: string;
  readonly port: number;
  /** Sets a value with its status and source time; the node is made when it is not there. */
  readonly set: (name: string, value: VariantOptions, how?: { status?: string; sourceTimeMs?: number | null }) => void;
  /** Adds a variable whose value is a structure of a type that the machine's maker has defined. */
  readonly structure: (name: string) => void;
  readonly remove: (name: string) => void;
  readonly start: () => Promise<void>;
  readonly stop: () => Promise<void>;
  readonly sessions: () => ServerSession[];
  readonly subscriptions: () => Subscription[];
  /** The server loses its sessions without a word. */
  readonly forget: () => void;
  /** Subscriptions stay and neither publish nor keep alive. */
  readonly freeze: () => void;
  /** Keep-alives go on, changes of this node are not told. */
  readonly withhold: (name: string) => Promise<void>;
  readonly trusted: OPCUACertificateManager;
};

export type TestServerOptions = {
  readonly pkiDir: string;
  readonly user?: { name: string; password: string };
  readonly productUri?: string;
  /** Namespaces registered before the server's own, so that its index differs from start to start. */
  readonly namespacesBefore?: () => number;
  readonly maxSessions?: number;
  readonly allowAnonymous?: boolean;
  /** False leaves the endpoint without security alone. */
  readonly secured?: boolean;
};

export const testNamespace = "urn:test:machine";

/** Any structure, sent as one of a type in a namespace of its own. */
class MakersType extends ServiceCounterDataType {
  override get schema() {
    return Object.assign(Object.create(super.schema), { encodingDefaultBinary: coerceNodeId("ns=2;i=5000") });
  }
}

type Held = { value: VariantOptions; status: string; sourceTimeMs: number | null };

export async function startTestServer(options: TestServerOptions): Promise<TestServer> {
  const { pkiDir, user } = options;
  const held = new Map<string, Held>();
  let server: OPCUAServer | undefined;
  let variables = new Map<string, UAVariable>();
  let port = 0;
  let trusted: OPCUACertificateManager | undefined;

  function show(name: string, { value, status, sourceTimeMs }: Held): void {
    const code = (StatusCodes as unknown as Record<string, typeof StatusCodes.Good>)[status] ?? StatusCodes.Bad;
    const time = sourceTimeMs === null ? undefined : new Date(sourceTimeMs);
    variables.get(name)?.setValueFromSource(new Variant(value), code, time);
  }

  function add(name: string, one: Held): void {
    const addressSpace = server?.engine.addressSpace as AddressSpace;
    const variable = addressSpace.getNamespace(testNamespace).addVariable({
      organizedBy: addressSpace.rootFolder.objects,
      browseName: name,
      nodeId: `s=${name}`,
      // BaseDataType, so that a server may send what it likes; for a Boolean the library insists.
      dataType: coerceNodeId(new Variant(one.value).dataType === 1 ? 1 : 24),
      valueRank: -2,
      minimumSamplingInterval: 0,
    });
    variables.set(name, variable);
    show(name, one);
  }

  async function start(): Promise<void> {
    trusted = new OPCUACertificateManager({
      rootFolder: pkiDir,
      automaticallyAcceptUnknownCertificate: true,
      disableFileWatchers: true,
    });
    await trusted.initialize();
    server = new OPCUAServer({
      port,
      host: "127.0.0.1",
      hostname: "127.0.0.1",
      serverCertificateManager: trusted,
      userCertificateManager: trusted,
      allowAnonymous: options.allowAnonymous ?? true,
      ...(options.secured === false ? { securityModes: [MessageSecurityMode.None] } : {}),
      buildInfo: { productUri: options.productUri ?? "urn:test" },
      serverInfo: { applicationUri: "urn:test:server", productUri: options.productUri ?? "urn:test" },
      serverCapabilities: { minSupportedSampleRate: 0, maxSessions: options.maxSessions ?? 20 },
      isAuditing: false,
      disableDiscovery: true,
      userManager: {
        isValidUser: (name: string, password: string) => name === user?.name && password === user.password,
      },
    });
    await server.initialize();
    const before = options.namespacesBefore?.() ?? 0;
    for (let i = 0; i < before; i += 1) server.engine.addressSpace?.registerNamespace(`urn:test:other:${i}`);
    server.engine.addressSpace?.registerNamespace(testNamespace);
    variables = new Map();
    for (const [name, one] of held) add(name, one);
    await server.start();
    port = server.endpoints[0]?.port ?? 0;
  }

  const sessions = () => server?.engine.getSessions() ?? [];
  const subscriptions = () => sessions().flatMap((session) => session.publishEngine.subscriptions);
  await start();
  return {
    get endpointUrl() {
      return `opc.tcp://127.0.0.1:${port}`;
    },
    get port() {
      return port;
    },
    get trusted() {
      return trusted as OPCUACertificateManager;
    },
    set(name, value, { status = "Good", sourceTimeMs = Date.now() } = {}) {
      const one = { value, status, sourceTimeMs };
      const isNew = !held.has(name);
      held.set(name, one);
      if (isNew) add(name, one);
      else show(name, one);
    },
    structure(name) {
      add(name, { value: { dataType: "UInt32", value: 1 }, status: "Good", sourceTimeMs: Date.now() });
      // The server's own way to a value would look the type up.
      const { $dataValue } = variables.get(name) as unknown as { $dataValue: { value: Variant } };
      $dataValue.value = new Variant({ dataType: "ExtensionObject", value: new MakersType() });
    },
    remove(name) {
      held.delete(name);
      const variable = variables.get(name);
      variables.delete(name);
      if (variable !== undefined) server?.engine.addressSpace?.deleteNode(variable);
    },
    start,
    async stop() {
      const ending = server;
      server = undefined;
      await ending?.shutdown(0);
    },
    sessions,
    subscriptions,
    forget() {
      for (const session of sessions()) server?.engine.closeSession(session.authenticationToken, true, "Forcing");
    },
    freeze() {
      for (const subscription of subscriptions()) {
        const { timerId } = subscription as unknown as { timerId: NodeJS.Timeout };
        clearInterval(timerId);
        // Data that changes would be published at once, without a tick of the timer.
        (subscription as unknown as { process_subscription: () => void }).process_subscription = () => undefined;
      }
    },
    async withhold(name) {
      const stopped = [...subscriptions()].map((subscription) =>
        subscription.applyOnMonitoredItem(async (item) => {
          if (String(item.node?.browseName.name) === name) item.setMonitoringMode(0);
        }),
      );
      await Promise.all(stopped);
    },
  };
}

export type Network = {
  readonly port: number;
  /** Connections made through it. */
  readonly connections: () => number;
  /** Connections to it that are open now. */
  readonly open: () => number;
  /** Ends the connections there are. */
  readonly cut: () => void;
  /** Swallows whatever comes, old and new connections, without ending any. */
  readonly swallow: (swallows: boolean) => void;
  readonly close: () => Promise<void>;
};

/** A network between a client and a port of this machine. */
export async function startNetwork(targetPort: () => number): Promise<Network> {
  const pairs = new Set<Socket>();
  let swallows = false;
  let connections = 0;
  const server = createServer((near) => {
    connections += 1;
    const far = connect({ host: "127.0.0.1", port: targetPort() });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      pairs.add(from);
      from.on("error", () => undefined);
      from.on("data", (chunk: Buffer) => {
        if (!swallows) to.write(chunk);
      });
      from.on("close", () => {
        pairs.delete(from);
        if (!swallows) to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const cut = () => {
    for (const socket of pairs) socket.destroy();
  };
  return {
    port: (server.address() as { port: number }).port,
    connections: () => connections,
    open: () => pairs.size / 2,
    cut,
    swallow(value) {
      swallows = value;
    },
    async close() {
      cut();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

/** A folder for certificates and files of one test file. */
export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "jilian-opcua-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
