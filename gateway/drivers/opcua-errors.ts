import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";

/** Whom a session talks to. */
export type OpcuaTarget = {
  /** The device that opened the session, or whose subscription it is. */
  readonly device: string;
  readonly endpointUrl: string;
  /** Of a connect and of each request. */
  readonly timeoutMs: number;
};

type Known = readonly [code: string, message: string, remedy: string, status?: number];

/** System error codes of a connect, in the words of whoever stands in front of the cabinet. */
const connectFaults: Readonly<Record<string, Known>> = {
  ECONNREFUSED: ["OPCUA_CONNECT_REFUSED", "connection refused", "does the OPC UA server run, and on this port?"],
  EHOSTUNREACH: ["OPCUA_HOST_UNREACHABLE", "no route to the host", "check cable, switch, VLAN and subnet mask"],
  ENETUNREACH: ["OPCUA_HOST_UNREACHABLE", "no route to the network", "check this box's address and default gateway"],
  EHOSTDOWN: ["OPCUA_HOST_UNREACHABLE", "the host is down", "is the machine powered and its cable plugged in?"],
  ENOTFOUND: ["OPCUA_HOST_UNKNOWN", "the host name is unknown", "write its IP address, or correct the name"],
  EAI_AGAIN: ["OPCUA_HOST_UNKNOWN", "no name server answered", "write its IP address, or repair name resolution"],
  ECONNRESET: ["OPCUA_CONNECT_RESET", "connection reset", "is it an OPC UA server (opc.tcp), and not overloaded?"],
};

const sessionGone = "it opens a new one; was the server restarted, or its sessions closed by hand?";
const clientUntrusted = "in the server, trust this gateway's certificate: own/certs/gateway.pem in its pkiDir";
const wrongClock = "set the clocks of this box and of the server (NTP)";

/** StatusCodes of services (OPC 10000-4, 7.39) that name something to do. */
const serviceFaults: Readonly<Record<string, Known>> = {
  BadIdentityTokenRejected: ["OPCUA_USER_REJECTED", "user or password rejected", "correct user.name and the password"],
  BadIdentityTokenInvalid: [
    "OPCUA_USER_REJECTED",
    "user or password not accepted",
    "correct user.name and the password",
  ],
  BadUserAccessDenied: ["OPCUA_USER_REJECTED", "access denied", "correct the user, or give it the right to read"],
  BadTooManySessions: ["OPCUA_TOO_MANY_SESSIONS", "all sessions of the server are taken", "close other OPC UA clients"],
  BadTooManySubscriptions: ["OPCUA_TOO_MANY_SUBSCRIPTIONS", "no subscription left", "close other OPC UA clients"],
  BadTooManyMonitoredItems: [
    "OPCUA_TOO_MANY_ITEMS",
    "no monitored item left",
    "configure fewer tags, or close clients",
  ],
  BadTcpEndpointUrlInvalid: [
    "OPCUA_ENDPOINT_UNKNOWN",
    "the server has no such endpoint",
    "correct host and path of endpointUrl",
  ],
  BadSecurityChecksFailed: ["OPCUA_CLIENT_UNTRUSTED", "the server refuses this gateway's certificate", clientUntrusted],
  BadCertificateUntrusted: ["OPCUA_CLIENT_UNTRUSTED", "the server does not trust this gateway", clientUntrusted],
  BadCertificateUriInvalid: [
    "OPCUA_CLIENT_UNTRUSTED",
    "applicationUri and certificate differ",
    "put one that names an application URI at own/certs/gateway.pem in pkiDir, or remove it, so that one is made",
  ],
  BadCertificateUseNotAllowed: [
    "OPCUA_CLIENT_UNTRUSTED",
    "the server does not take this gateway's certificate for what it is to be used for",
    "have it issued with key usage digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment, and clientAuth (OPC 10000-6, 6.2.2)",
  ],
  BadCertificateTimeInvalid: [
    "OPCUA_CLOCK_SKEW",
    "the server finds this gateway's certificate expired or not yet valid",
    `${wrongClock}: by the clock of this box the certificate (own/certs/gateway.pem in pkiDir) is valid`,
  ],
  BadInvalidTimestamp: ["OPCUA_CLOCK_SKEW", "the server refuses requests of this time", wrongClock],
  BadSessionIdInvalid: ["OPCUA_SESSION_LOST", "the server does not know the session any more", sessionGone],
  BadSessionClosed: ["OPCUA_SESSION_LOST", "the server has closed the session", sessionGone],
  BadSessionNotActivated: ["OPCUA_SESSION_LOST", "the server has not activated the session", sessionGone],
  BadSubscriptionIdInvalid: ["OPCUA_SESSION_LOST", "the server does not know the subscription any more", sessionGone],
  BadNoSubscription: ["OPCUA_SESSION_LOST", "the server does not know the subscription any more", sessionGone],
  BadServerHalted: ["OPCUA_SERVER_HALTED", "the server is halted", "start the server"],
  BadShutdown: ["OPCUA_SERVER_HALTED", "the server shuts down", "wait until it is back"],
};

function errorOf(target: OpcuaTarget, action: string, known: Known, cause?: unknown): JilianError {
  const [code, message, remedy, status = Status.BadNotConnected] = known;
  const { device, endpointUrl: address } = target;
  return new JilianError(message, { code, action, remedy, device, address, status, ...(cause ? { cause } : {}) });
}

/** The name of the StatusCode that a library's error carries or speaks of. */
export function serviceResultOf(thrown: unknown): string | undefined {
  const { response } = thrown as { response?: { responseHeader?: { serviceResult?: { name?: string } } } };
  return response?.responseHeader?.serviceResult?.name ?? /\bBad[A-Z]\w+/.exec(messageOf(thrown))?.[0];
}

/** StatusCodes by which a server refuses the certificate of its client; most name no reason, lest they tell a stranger. */
const refusalsOfOurs = new Set([
  "BadCertificateTimeInvalid",
  "BadCertificateUntrusted",
  "BadCertificateInvalid",
  "BadSecurityChecksFailed",
]);

/**
 * What came of a connect, where the server has refused a certificate of ours that does not count at this time: that is why then, and not that
 * nobody has trusted it.
 * @param fault of the gateway's certificate, asked only then
 */
export function orOwnFault(
  target: OpcuaTarget,
  error: JilianError,
  fault: () => { code: string; message: string; remedy: string } | undefined,
): JilianError {
  const result = error.cause === undefined ? undefined : serviceResultOf(error.cause);
  if (result === undefined || !refusalsOfOurs.has(result)) return error;
  const own = fault();
  if (own === undefined) return error;
  const { code, message, remedy } = own;
  return errorOf(target, error.action, [code, `the server refuses (${result}): ${message}`, remedy], error.cause);
}

/** Anything that the library throws, as an error that says what to do. Errors of ours pass. */
export function opcuaError(target: OpcuaTarget, action: string, thrown: unknown): JilianError {
  if (thrown instanceof JilianError) return thrown;
  const text = messageOf(thrown);
  const system = /\bE[A-Z]{4,}(?:_[A-Z]+)?\b/.exec(text)?.[0] ?? codeOf(thrown);
  const result = serviceResultOf(thrown);
  const known = connectFaults[system] ?? (result === undefined ? undefined : serviceFaults[result]);
  if (known !== undefined) {
    const [code, message, ...rest] = known;
    return errorOf(target, action, [code, result === undefined ? message : `${message} (${result})`, ...rest], thrown);
  }
  if (/timeout|timed out/i.test(text)) return timedOut(target, action, thrown);
  return errorOf(
    target,
    action,
    ["OPCUA_FAILED", text, "look the StatusCode up in the server's manual and log"],
    thrown,
  );
}

export function timedOut(target: OpcuaTarget, action: string, cause?: unknown): JilianError {
  const message = `no answer within ${target.timeoutMs} ms (${action})`;
  const remedy = "check address, power, cable and firewall; is timeoutMs long enough for this server?";
  return errorOf(target, action, ["OPCUA_TIMEOUT", message, remedy, Status.BadTimeout], cause);
}

export function stopped(target: OpcuaTarget): JilianError {
  return errorOf(target, "read", ["OPCUA_STOPPED", "stopped", "none: the gateway ends or the device was closed"]);
}

/** @param rejectedFile where a person finds the certificate; @param trustedFolder where they put it to trust the server */
export function serverUntrusted(
  target: OpcuaTarget,
  verdict: string,
  rejectedFile: string,
  trustedFolder: string,
): JilianError {
  const message = `the server's certificate is not trusted (${verdict})`;
  const remedy = `compare its fingerprint with the server's, then move "${rejectedFile}" to "${trustedFolder}"`;
  return errorOf(target, "connect", ["OPCUA_SERVER_UNTRUSTED", message, remedy]);
}

/** The gateway's own certificate, as it lies there. @param why what is wrong with it */
export function ownCertificateInvalid(file: string, why: string, cause?: unknown): JilianError {
  return new JilianError(`the gateway's own certificate ${why}`, {
    code: "OPCUA_CERTIFICATE_INVALID",
    action: "open the gateway's certificate",
    address: file,
    remedy:
      "put there one of the gateway's key, its own before those of who signed it; or remove it, so that one is made",
    status: Status.BadNotConnected,
    ...(cause ? { cause } : {}),
  });
}

/** The server's certificate is trusted, or would be, and yet cannot be accepted. @param life of it, for people */
export function serverCertificateInvalid(target: OpcuaTarget, verdict: string, life: string): JilianError {
  const time = verdict.includes("Time");
  const message = `this gateway refuses the server's certificate, ${life} (${verdict})`;
  const remedy = time
    ? `${wrongClock}; if they are right, that certificate has expired: renew it in the server`
    : "renew it in the server";
  return errorOf(target, "connect", [time ? "OPCUA_CLOCK_SKEW" : "OPCUA_SERVER_CERTIFICATE", message, remedy]);
}

/** @param offered what the server offers instead, in the words of the configuration */
export function notOffered(target: OpcuaTarget, wanted: string, offered: readonly string[], key: string): JilianError {
  const message = `the server does not offer ${wanted}; it offers ${offered.join(", ") || "nothing"}`;
  return errorOf(target, "connect", [
    "OPCUA_NOT_OFFERED",
    message,
    `choose one of these as ${key}, or enable it there`,
  ]);
}

export function connectionLost(target: OpcuaTarget, why: string): JilianError {
  const remedy = "check power and cable of the server and of this box";
  return errorOf(target, "read", ["OPCUA_CONNECTION_LOST", why, remedy, Status.BadCommunicationError]);
}

export function sessionLost(target: OpcuaTarget, why: string): JilianError {
  return errorOf(target, "read", ["OPCUA_SESSION_LOST", why, sessionGone, Status.BadCommunicationError]);
}

/** The session answers, and yet what was subscribed to does not come. */
export function subscriptionDead(target: OpcuaTarget, why: string): JilianError {
  const remedy = "a new subscription is made; if this goes on, look for limits of the server, or restart it";
  return errorOf(target, "read", ["OPCUA_SUBSCRIPTION_DEAD", why, remedy, Status.BadTimeout]);
}

/** Not one of the configured nodes can be read. */
export function nothingReadable(target: OpcuaTarget, examples: readonly string[], status: number): JilianError {
  const message = `the server refuses every tag: ${examples.join("; ")}`;
  const remedy = "copy the node ids from the server (jilian-gateway browse)";
  return errorOf(target, "subscribe", ["OPCUA_NOTHING_READABLE", message, remedy, status]);
}
