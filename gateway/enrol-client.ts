import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { tlsFault } from "@jilian/domain/tls.ts";
import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";

/** How the platform's interface is known to be what it says. */
export type Trust =
  /** By an authority that Node.js knows, or by these, PEM. */
  | { ca?: string | undefined }
  /** By its certificate's SHA-256, hexadecimal. */
  | { fingerprint: string }
  /** Not at all: only for what says nothing secret, and whose answer is checked by its signature. */
  | { isAnswerSigned: true };

const boundMs = 20_000;
const mostBytes = 8 * 1024 * 1024;

function fault(url: URL, code: string, message: string, remedy: string, cause?: unknown): JilianError {
  return new JilianError(message, {
    code,
    action: "ask the platform for a certificate",
    address: url.host,
    remedy,
    cause,
  });
}

function unreachable(url: URL, thrown: unknown): JilianError {
  if (thrown instanceof JilianError) return thrown;
  const found = url.protocol === "https:" ? tlsFault(thrown, Date.now()) : undefined;
  if (found?.code === "TLS_UNTRUSTED") {
    const remedy =
      "give the authority's file with --ca FILE, or the certificate's fingerprint with --fingerprint, both from the lead unit";
    return fault(url, found.code, messageOf(thrown), remedy, thrown);
  }
  const remedy = found?.remedy ?? "check the address, the network, and that the platform runs";
  return fault(url, found?.code ?? "ENROL_UNREACHABLE", messageOf(thrown) || "no answer", remedy, thrown);
}

/** A connection over which nothing was sent yet. @throws when it fails, and when the other side is not whom it should be */
async function open(url: URL, trust: Trust, signal: AbortSignal): Promise<Socket> {
  // An address of IPv6 stands in brackets.
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  if (url.protocol !== "https:") {
    const socket = connectTcp({ host, port });
    try {
      await once(socket, "connect", { signal });
      return socket;
    } catch (thrown) {
      // It would go on trying for minutes.
      socket.destroy();
      throw thrown;
    }
  }
  const isKnown = !("fingerprint" in trust) && !("isAnswerSigned" in trust);
  const socket = connectTls({
    ...{ host, port, rejectUnauthorized: isKnown },
    ...(isIP(host) ? {} : { servername: host }),
    ...(isKnown && trust.ca !== undefined ? { ca: trust.ca } : {}),
  });
  try {
    await once(socket, "secureConnect", { signal });
    const shown = socket.getPeerX509Certificate()?.fingerprint256.replaceAll(":", "").toLowerCase();
    if ("fingerprint" in trust && shown !== trust.fingerprint) {
      const remedy = "nothing was sent. Compare the address and the fingerprint with those of the lead unit";
      throw fault(url, "ENROL_FINGERPRINT", `the platform's certificate has the fingerprint sha256:${shown}`, remedy);
    }
    return socket;
  } catch (thrown) {
    socket.destroy();
    throw thrown;
  }
}

async function bodyOf(url: URL, answer: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes)
      throw fault(url, "ENROL_ANSWER", `more than ${mostBytes} bytes`, "is this the platform's address?");
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (cause) {
    const remedy = "is this the address of the platform's interface, and not that of another server?";
    throw fault(url, "ENROL_ANSWER", `status ${answer.statusCode}, and no JSON`, remedy, cause);
  }
}

/**
 * Asks the platform's interface one question. Over TLS nothing leaves before the other side is known.
 * @throws JilianError ENROL_UNREACHABLE, ENROL_FINGERPRINT, ENROL_REFUSED, ENROL_ANSWER, TLS_*
 */
export async function askPlatform<T extends TSchema>(
  base: URL,
  path: string,
  question: object,
  { trust, answer: schema, signal }: { trust: Trust; answer: T; signal: AbortSignal },
): Promise<Static<T>> {
  const url = new URL(base);
  url.pathname = base.pathname.replace(/\/$/, "") + path;
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(boundMs)]);
  let socket: Socket | undefined;
  try {
    const opened = await open(url, trust, bounded);
    socket = opened;
    const body = JSON.stringify(question);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body), host: url.host };
    const asked = httpRequest({
      ...{ createConnection: () => opened, method: "POST", path: url.pathname, headers, signal: bounded },
    });
    asked.end(body);
    const [reply] = (await once(asked, "response")) as [IncomingMessage];
    const value = await bodyOf(url, reply);
    if (reply.statusCode === 200 && Value.Check(schema, value)) return value as Static<T>;
    const { code, detail, remedy } = value as { code?: unknown; detail?: unknown; remedy?: unknown };
    const isProblem = reply.statusCode !== 200 && typeof detail === "string";
    const what = isProblem ? `${String(code)}: ${detail}` : `status ${reply.statusCode}, and not what was asked for`;
    const help = isProblem && typeof remedy === "string" ? remedy : "is this the address of the platform's interface?";
    throw fault(url, isProblem ? "ENROL_REFUSED" : "ENROL_ANSWER", what, help);
  } catch (thrown) {
    throw unreachable(url, thrown);
  } finally {
    socket?.destroy();
  }
}
