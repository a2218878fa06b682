import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { type Static, Type } from "typebox";
import { sessionKeyOf } from "./opcua-key.ts";
import {
  commonDeviceFaults,
  commonDeviceKeys,
  commonTagFaults,
  commonTagKeys,
  dayMs,
  faultsBelow,
  oneOf,
  strict,
} from "./tag-config.ts";
import { isCounter } from "./tag-facts.ts";
import { isBcd, type ValueType, valueTypes } from "./value-types.ts";

export const securityModes = ["None", "Sign", "SignAndEncrypt"] as const;
/** Policies that are not deprecated (OPC 10000-7, 6.6); Basic128Rsa15 and Basic256 are left out on purpose: SHA-1. */
export const securityPolicies = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"] as const;

/** OPC UA has no BCD: a server that shows such registers has decoded them. */
const typeNames = (Object.keys(valueTypes) as ValueType[]).filter((type) => !isBcd(type));

const tagSchema = Type.Object(
  {
    ...commonTagKeys,
    nodeId: Type.String({
      maxLength: 4096,
      pattern:
        "^(?:nsu=[^;]+;|ns=[0-9]{1,5};)?(?:i=[0-9]{1,10}|s=[\\s\\S]+|g=[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|b=[A-Za-z0-9+/]+={0,2})$",
      description: 'node id: "nsu=URI;s=...", or "ns=2;s=..."; i= number, s= text, g= GUID, b= base64',
    }),
    type: oneOf(typeNames),
  },
  strict,
);

/** A device behind an OPC UA server. Devices with the same endpoint, security and user share one session. */
export const opcuaDeviceSchema = Type.Object(
  {
    ...commonDeviceKeys(5000),
    driver: Type.Literal("opcua"),
    endpointUrl: Type.String({
      maxLength: 1024,
      pattern: "^opc\\.tcp://(?:\\[[0-9A-Fa-f:.]+\\]|[^\\s/:?#@\\[\\]]+)(?::[0-9]{1,5})?(?:/\\S*)?$",
      description: "opc.tcp://host:4840/path",
    }),
    security: Type.Object(
      {
        mode: oneOf(securityModes, { default: "None" }),
        policy: Type.Optional(oneOf(securityPolicies)),
      },
      { ...strict, default: {} },
    ),
    user: Type.Optional(
      Type.Object(
        {
          name: Type.String({ minLength: 1 }),
          password: Type.Optional(Type.String({ minLength: 1, description: "better: passwordFile" })),
          passwordFile: Type.Optional(
            Type.String({ minLength: 1, description: "file whose first line is the password" }),
          ),
        },
        { ...strict, description: "anonymous when left out" },
      ),
    ),
    samplingIntervalMs: Type.Integer({
      default: 500,
      minimum: 0,
      maximum: dayMs,
      description: "how often the server looks at a value; 0 as fast as it can",
    }),
    publishingIntervalMs: Type.Integer({
      default: 500,
      minimum: 10,
      maximum: 10_000,
      description: "how often the server sends what it saw",
    }),
    queueSize: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 10_000,
      description: "changes of a tag that the server keeps for a cut of the network",
    }),
    tags: Type.Array(tagSchema, { minItems: 1 }),
  },
  strict,
);

export type OpcuaDevice = Static<typeof opcuaDeviceSchema>;
export type OpcuaTag = OpcuaDevice["tags"][number];

/** The gateway's own identity toward OPC UA servers: one for all of its devices. */
export const opcuaSchema = Type.Object(
  {
    applicationUri: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z][A-Za-z0-9+.-]*:[^\\s]+$",
        maxLength: 1024,
        description: "stands in the gateway's certificate; urn:jilian:gateway:GROUP:NODE when left out",
      }),
    ),
    pkiDir: Type.Optional(
      Type.String({ minLength: 1, description: "folder of certificates; the outbox's path with .pki when left out" }),
    ),
    acceptUnknownCertificates: Type.Boolean({
      default: false,
      description: "true trusts every server that is met: for commissioning only",
    }),
  },
  { ...strict, default: {} },
);

function userFaults(user: OpcuaDevice["user"], base: string): SemanticFault[] {
  if (user === undefined || (user.password === undefined) !== (user.passwordFile === undefined)) return [];
  const expected = "password or passwordFile, one of them";
  const both = user.password !== undefined;
  const remedy = both ? 'remove "password": the file keeps the secret out of this one' : 'add "passwordFile"';
  return [{ path: `${base}/user/passwordFile`, expected, remedy }];
}

/** The checks of one device that its schema cannot express. Pure. */
export function opcuaDeviceFaults(device: OpcuaDevice, base: string): SemanticFault[] {
  const { faults, check } = faultsBelow(base);
  const { security, heartbeatMs, publishingIntervalMs } = device;
  const signed = security.mode !== "None";
  check(
    !signed || security.policy !== undefined,
    "/security/policy",
    `a policy with mode ${security.mode}`,
    'add "policy"',
  );
  check(
    signed || security.policy === undefined,
    "/security/policy",
    "no policy with mode None",
    "choose a mode, or remove it",
  );
  const port = /:([0-9]+)(?:\/|$)/.exec(device.endpointUrl.slice("opc.tcp://".length))?.[1] ?? "4840";
  const inPort = Number(port) >= 1 && Number(port) <= 65_535;
  check(inPort, "/endpointUrl", "a port of 1 to 65535", "take the endpoint's address from the server's manual");
  // A server says that nothing has changed after three empty intervals at the soonest.
  const slowest = Math.floor(heartbeatMs / 3);
  const reason = "lower it, or raise heartbeatMs: silence proves nothing";
  check(publishingIntervalMs <= slowest, "/publishingIntervalMs", `<= ${slowest}, a third of heartbeatMs`, reason);
  faults.push(...userFaults(device.user, base), ...commonDeviceFaults(device, base));
  for (const [i, tag] of device.tags.entries()) {
    const below = faultsBelow(`${base}/tags/${i}`);
    commonTagFaults(tag, device, below.check);
    const [, ns = "0", number = "0"] = /^(?:ns=([0-9]+);)?(?:i=([0-9]+)$)?/.exec(tag.nodeId) ?? [];
    const fits = Number(ns) <= 65_535 && Number(number) <= 0xffffffff;
    below.check(fits, "/nodeId", "ns= up to 65535, i= up to 4294967295", "copy the node id from the server");
    faults.push(...below.faults);
  }
  return faults;
}

/** The checks between the OPC UA devices of a gateway, each with its position in the configuration. */
export function opcuaSharingFaults(devices: readonly (readonly [number, OpcuaDevice])[]): SemanticFault[] {
  const faults: SemanticFault[] = [];
  const sessions = new Map<string, readonly [path: string, timeoutMs: number]>();
  const counters = new Map<string, string>();
  for (const [i, device] of devices) {
    const path = `/devices/${i}`;
    const shared = sessions.get(sessionKeyOf(device));
    if (shared === undefined) sessions.set(sessionKeyOf(device), [path, device.timeoutMs]);
    else if (shared[1] !== device.timeoutMs) {
      const expected = `${shared[1]}, as at ${shared[0]}: they share one session`;
      faults.push({ path: `${path}/timeoutMs`, expected, remedy: "write the same in both" });
    }
    for (const [t, tag] of device.tags.entries()) {
      if (!isCounter(tag)) continue;
      const node = `${device.endpointUrl} ${tag.nodeId}`;
      const before = counters.get(node);
      if (before === undefined) counters.set(node, `${path}/tags/${t}`);
      else {
        const expected = `a counter's node used once (already at ${before})`;
        faults.push({ path: `${path}/tags/${t}/nodeId`, expected, remedy: "it would count twice: remove one" });
      }
    }
  }
  return faults;
}
