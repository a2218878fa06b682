import type { JilianError } from "@jilian/domain/errors.ts";
import type {
  ClientSession,
  DataValue,
  EndpointDescription,
  NodeId,
  OPCUAClient,
  UserIdentityInfo,
} from "node-opcua-client";
import type { Logger } from "pino";
import type { OpcuaDevice } from "./opcua-config.ts";
import {
  connectionLost,
  notOffered,
  type OpcuaTarget,
  opcuaError,
  orOwnFault,
  sessionLost,
  stopped,
  timedOut,
} from "./opcua-errors.ts";
import { loadLibrary, type OpcuaLibrary } from "./opcua-library.ts";
import { faultNow } from "./opcua-own.ts";
import type { Pki } from "./opcua-pki.ts";
import { knowSessions, leaveStructures } from "./opcua-start.ts";

/** One session on one server. It works until it breaks, and never after; short cuts of the network it survives by itself. */
export type OpcuaConnection = {
  readonly library: OpcuaLibrary;
  readonly session: ClientSession;
  /** The server's NamespaceArray in this session. */
  readonly namespaces: readonly string[];
  /** The server calls itself one of our simulators (CONTRACTS 6). */
  readonly simulated: boolean;
  /** Nodes per request: what the server allows, at most 100. */
  readonly batch: number;
  /** Why it is broken; undefined while it works. */
  readonly broken: () => JilianError | undefined;
  /** True during a cut of the network that the session may survive. */
  readonly isCut: () => boolean;
  /** True during a cut and shortly after it: what the server had sent into it is asked for again and still comes. */
  readonly catchesUp: () => boolean;
  /** Ends it; everyone who uses it gets the error. */
  readonly fail: (error: JilianError) => void;
  /** One request: bounded by the time-out, its faults in our words. A request that is not answered breaks the connection. */
  readonly request: <T>(action: string, send: () => Promise<T>) => Promise<T>;
  /** Reads values without consequences: undefined when they cannot be read. The channel's keep-alive finds a dead one. */
  readonly look: (nodeIds: readonly NodeId[]) => Promise<DataValue[] | undefined>;
  readonly close: () => Promise<void>;
};

/** Well-known nodes (OPC 10000-6, Annex A). */
const nodes = {
  namespaceArray: "i=2255",
  productUri: "i=2262",
  maxNodesPerRead: "i=11705",
  maxMonitoredItemsPerCall: "i=11714",
};
/** AttributeId of a variable's value (OPC 10000-6, Annex A.1). */
const valueAttribute = 13;
const largestBatch = 100;
const simulatorUri = "urn:jilian:simulator";
/** Longer than any cut that is waited for; no longer, since a session that was lost in a black hole keeps its place until then. */
const leastSessionMs = 30_000;
/** What was sent into a cut has come by then. */
const catchUpMs = 2000;
/** A session is given up when its server does not take leave: the collector closes within a second. */
const leaveMs = 500;

type Security = { readonly mode: number; readonly policy: string };

/** The endpoint's security in the words of the configuration. */
function securityText({ opcua }: OpcuaLibrary, { securityMode, securityPolicyUri }: EndpointDescription): string {
  const mode = opcua.MessageSecurityMode[securityMode] ?? securityMode;
  const policy = securityPolicyUri?.split("#")[1] ?? "None";
  return mode === "None" ? "None" : `${mode} ${policy}`;
}

function securityOf({ opcua }: OpcuaLibrary, { security }: OpcuaDevice): Security {
  return { mode: opcua.MessageSecurityMode[security.mode], policy: opcua.SecurityPolicy[security.policy ?? "None"] };
}

/** The endpoint that the device is configured for. @throws JilianError OPCUA_NOT_OFFERED */
function chooseEndpoint(
  library: OpcuaLibrary,
  target: OpcuaTarget,
  device: OpcuaDevice,
  offered: readonly EndpointDescription[],
): EndpointDescription {
  const { mode, policy } = securityOf(library, device);
  const endpoint = offered.find((e) => e.securityMode === mode && (mode === 1 || e.securityPolicyUri === policy));
  if (endpoint === undefined) {
    const { security } = device;
    const wanted = security.mode === "None" ? "security mode None" : `${security.mode} with ${security.policy}`;
    throw notOffered(target, wanted, [...new Set(offered.map((e) => securityText(library, e)))], "security");
  }
  const { UserTokenType } = library.opcua;
  const type = device.user === undefined ? UserTokenType.Anonymous : UserTokenType.UserName;
  const tokens = endpoint.userIdentityTokens ?? [];
  if (!tokens.some(({ tokenType }) => tokenType === type)) {
    const wanted = device.user === undefined ? "anonymous sessions" : "sessions with user name and password";
    throw notOffered(target, wanted, [...new Set(tokens.map((t) => String(UserTokenType[t.tokenType])))], "user");
  }
  return endpoint;
}

/** Whether the password would travel in clear: neither the channel nor the token is encrypted. */
function sendsPasswordInClear({ opcua }: OpcuaLibrary, device: OpcuaDevice, endpoint: EndpointDescription): boolean {
  if (device.user === undefined || device.security.mode === "SignAndEncrypt") return false;
  const { UserTokenType, SecurityPolicy } = opcua;
  const token = (endpoint.userIdentityTokens ?? []).find(({ tokenType }) => tokenType === UserTokenType.UserName);
  return (token?.securityPolicyUri || endpoint.securityPolicyUri) === SecurityPolicy.None;
}

/** Work that is abandoned when it takes too long or the signal aborts; what it brings later is nobody's. */
function bounded<T>(
  target: OpcuaTarget,
  action: string,
  signal: AbortSignal | undefined,
  work: Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      finish();
    };
    const onAbort = () => settle(() => reject(stopped(target)));
    // Looks once more: after a process stood still, timers fire before the sockets are read.
    const timer = setTimeout(
      () => setImmediate(() => settle(() => reject(timedOut(target, action)))),
      target.timeoutMs,
    );
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    work.then(
      (value) => settle(() => resolve(value)),
      (thrown: unknown) => settle(() => reject(opcuaError(target, action, thrown))),
    );
  });
}

/** Takes leave of a server, without waiting longer than a moment for one that does not answer. */
export async function takeLeave(work: Promise<unknown>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, leaveMs);
  await Promise.race([work.catch(() => undefined), late]);
  clearTimeout(timer);
}

type Watched = {
  readonly onRecreated: () => void;
  readonly onCut: (isCut: boolean) => void;
  readonly onClosed: () => void;
};

/** Lets the library repair cuts from here on, and tells of everything that it cannot or must not repair. */
function watch(client: OPCUAClient, session: ClientSession, { onRecreated, onCut, onClosed }: Watched): void {
  client.connectionStrategy.maxRetry = -1;
  client.on("connection_lost", () => onCut(true));
  client.on("connection_reestablished", () => onCut(false));
  client.on("close", onClosed);
  session.on("session_closed", onRecreated);
  // The library's hook between a new session and the subscriptions that it would make anew; an error stops it there.
  const repair = client as OPCUAClient & { beforeSubscriptionRecreate?: () => Promise<Error> };
  repair.beforeSubscriptionRecreate = async () => {
    onRecreated();
    return new Error("sessions are replaced by the collector alone");
  };
}

type Opening = {
  readonly library: OpcuaLibrary;
  readonly target: OpcuaTarget;
  readonly device: OpcuaDevice;
  readonly pki: Pki;
  readonly applicationUri: string;
  readonly signal: AbortSignal;
  readonly log: Logger;
};

function createClient(
  { library, device, pki, target, applicationUri }: Opening,
  secured?: { certificate: Buffer },
): OPCUAClient {
  const { opcua } = library;
  const { mode, policy } =
    secured === undefined ? { mode: 1, policy: opcua.SecurityPolicy.None } : securityOf(library, device);
  return opcua.OPCUAClient.create({
    applicationName: "Jilian gateway",
    applicationUri,
    clientName: device.id,
    clientCertificateManager: pki.manager,
    certificateFile: pki.certificateFile,
    securityMode: mode,
    securityPolicy: policy,
    ...(secured === undefined ? {} : { serverCertificate: secured.certificate }),
    // The name under which a box reaches a server is seldom the one under which the server knows itself.
    endpointMustExist: false,
    // One attempt: it is the collector that tries again.
    connectionStrategy: { initialDelay: 500, maxDelay: 2000, maxRetry: 0 },
    keepSessionAlive: true,
    keepAliveInterval: Math.min(5000, target.timeoutMs),
    requestedSessionTimeout: Math.max(leastSessionMs, 12 * device.publishingIntervalMs + 2 * target.timeoutMs),
    defaultTransactionTimeout: target.timeoutMs,
    transportTimeout: target.timeoutMs,
  });
}

/** Asks without security what the server offers, as every server allows, and leaves again. */
async function discover(opening: Opening): Promise<EndpointDescription[]> {
  const { target, signal } = opening;
  const client = createClient(opening);
  try {
    await bounded(target, "connect", signal, client.connect(target.endpointUrl));
    return await bounded(target, "ask for endpoints", signal, client.getEndpoints());
  } finally {
    await takeLeave(client.disconnect());
  }
}

function identityOf({ opcua }: OpcuaLibrary, { user }: OpcuaDevice): UserIdentityInfo {
  if (user === undefined) return { type: opcua.UserTokenType.Anonymous };
  return { type: opcua.UserTokenType.UserName, userName: user.name, password: user.password ?? "" };
}

async function openClient(opening: Opening): Promise<OPCUAClient> {
  const { library, device, target, pki, signal } = opening;
  if (device.security.mode === "None") return createClient(opening);
  const endpoint = chooseEndpoint(library, target, device, await discover(opening));
  const { serverCertificate: certificate } = endpoint;
  await bounded(target, "verify the server's certificate", signal, pki.verify(target, certificate));
  return createClient(opening, { certificate });
}

/** What a connection needs to know of its server, in one read. */
async function learn(connection: Pick<OpcuaConnection, "request" | "session">) {
  const nodesToRead = Object.values(nodes).map((nodeId) => ({ nodeId, attributeId: valueAttribute }));
  const values = await connection.request("read the server's description", () => connection.session.read(nodesToRead));
  const [namespaces, productUri, perRead, perCall] = values.map(({ value }) => value?.value as unknown);
  const limits = [perRead, perCall].filter((limit): limit is number => typeof limit === "number" && limit > 0);
  return {
    namespaces: Array.isArray(namespaces) ? namespaces.map(String) : [],
    simulated: typeof productUri === "string" && productUri.startsWith(simulatorUri),
    batch: Math.min(largestBatch, ...limits),
  };
}

/**
 * Connects, verifies the server's certificate where there is security, and opens a session.
 *
 * The library repairs the channel after a cut: with the session alive the server's queues deliver what fell into it, nothing is lost. It
 * would as well replace a session that the server has forgotten by a new one, in silence and with a gap; that is prevented, the connection
 * breaks instead, and the collector, which marks gaps, is the only one that opens sessions.
 * @throws JilianError OPCUA_*
 */
export async function openConnection(
  device: OpcuaDevice,
  pki: Pki,
  { signal, log }: { signal: AbortSignal; log: Logger },
): Promise<OpcuaConnection> {
  const { id, endpointUrl, timeoutMs } = device;
  const target: OpcuaTarget = { device: id, endpointUrl, timeoutMs };
  const library = await loadLibrary(log);
  const applicationUri = await pki.certify().catch((thrown: unknown) => {
    throw opcuaError(target, "open the gateway's certificate", thrown);
  });
  const opening: Opening = { library, target, device, pki, applicationUri, signal, log };
  const client = await openClient(opening);
  const untilNoneIsMade = knowSessions(library, client, timeoutMs);
  let broken: JilianError | undefined;
  let cut = false;
  let cutMs = Number.NEGATIVE_INFINITY;
  const catchesUp = () => cut || performance.now() - cutMs < catchUpMs;
  let left: Promise<void> | undefined;
  let created: Promise<ClientSession> | undefined;

  /** A session that was given up while the server was still making it would keep its place there: it ends with the others, once it is known. */
  async function disconnect(): Promise<void> {
    await untilNoneIsMade();
    await created?.catch(() => undefined);
    await client.disconnect();
  }
  const close = (): Promise<void> => {
    left ??= takeLeave(disconnect());
    return left;
  };
  function fail(error: JilianError): void {
    if (broken !== undefined) return;
    broken = error;
    void close();
  }
  async function request<T>(action: string, send: () => Promise<T>): Promise<T> {
    if (broken !== undefined) throw broken;
    try {
      return await bounded(target, action, undefined, send());
    } catch (thrown) {
      const error = opcuaError(target, action, thrown);
      if (error.code === "OPCUA_TIMEOUT" || error.code === "OPCUA_SESSION_LOST") fail(error);
      throw broken ?? error;
    }
  }

  try {
    await bounded(target, "connect", signal, client.connect(endpointUrl));
    if (device.security.mode === "None") {
      const offered = await bounded(target, "ask for endpoints", signal, client.getEndpoints());
      const endpoint = chooseEndpoint(library, target, device, offered);
      if (sendsPasswordInClear(library, device, endpoint)) {
        log.warn({ device: id, address: endpointUrl }, "the password travels in clear: choose SignAndEncrypt");
      }
    }
    created = client.createSession(identityOf(library, device));
    const session = await bounded(target, "open a session", signal, created);
    leaveStructures(library, session);
    watch(client, session, {
      onRecreated: () => fail(sessionLost(target, "the server has forgotten the session")),
      onCut: (isCut) => {
        cut = isCut;
        cutMs = performance.now();
      },
      onClosed: () => fail(connectionLost(target, "the connection was closed and could not be repaired")),
    });
    const known = await learn({ request, session });
    const look = async (nodeIds: readonly NodeId[]) => {
      const nodesToRead = nodeIds.map((nodeId) => ({ nodeId, attributeId: valueAttribute }));
      return bounded(target, "check tags", undefined, session.read(nodesToRead)).catch(() => undefined);
    };
    return {
      library,
      session,
      look,
      ...known,
      broken: () => broken,
      isCut: () => cut,
      catchesUp,
      fail,
      request,
      close,
    };
  } catch (thrown) {
    await close();
    const error = opcuaError(target, "connect", thrown);
    throw device.security.mode === "None" ? error : orOwnFault(target, error, () => faultNow(pki.certificateFile));
  }
}
