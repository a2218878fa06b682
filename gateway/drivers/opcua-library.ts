import { stripVTControlCharacters } from "node:util";
import { setFlagsFromString } from "node:v8";
import type { Logger } from "pino";
import { readChangesOurselves } from "./opcua-notification.ts";

export type OpcuaLibrary = {
  readonly opcua: typeof import("node-opcua-client");
  readonly certificates: typeof import("node-opcua-certificate-manager");
};

let loading: Promise<OpcuaLibrary> | undefined;

/** What the library prints, on one line and without colours. */
function textOf(parts: readonly unknown[]): string {
  const plain = stripVTControlCharacters(parts.map(String).join(" "));
  return plain.replaceAll(/\s+/g, " ").trim();
}

/**
 * The OPC UA library, loaded at the first connect: a gateway without OPC UA devices does not pay for it. V8 is told to prefer memory to
 * speed before that, for the library's 90 MB of code and tables; what it prints to the console goes to the log, at debug level, for its
 * faults come to us as errors too.
 */
export function loadLibrary(log: Logger): Promise<OpcuaLibrary> {
  loading ??= load(log);
  return loading;
}

async function load(log: Logger): Promise<OpcuaLibrary> {
  setFlagsFromString("--optimize-for-size");
  setFlagsFromString("--max-semi-space-size=1");
  const opcua = await import("node-opcua-client");
  const certificates = await import("node-opcua-certificate-manager");
  const print = (...parts: unknown[]) => log.debug({ library: "node-opcua" }, textOf(parts));
  opcua.setDebugLogger(print);
  opcua.setWarningLogger(print);
  opcua.setErrorLogger(print);
  readChangesOurselves(opcua);
  return { opcua, certificates };
}
