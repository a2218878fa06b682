import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { messageOf } from "@jilian/domain/errors.ts";
import { statusName } from "@jilian/domain/quality.ts";
import { pino } from "pino";
import { reasonOf } from "./collect.ts";
import { readGatewayConfig } from "./config.ts";
import type { OpcuaDevice } from "./drivers/opcua-config.ts";
import { type OpcuaConnection, openConnection } from "./drivers/opcua-connection.ts";
import { decodeValue, opcuaValueOf, typeOfBuiltIn } from "./drivers/opcua-decode.ts";
import { portableNodeId, resolveNodeId } from "./drivers/opcua-nodes.ts";
import { openPki, type Pki } from "./drivers/opcua-pki.ts";

const help = `jilian-gateway browse --endpoint opc.tcp://host:4840 [options]   prints a server's variables as tags, YAML

  --security MODE/POLICY   for example SignAndEncrypt/Basic256Sha256; without it None
  --user NAME --password-file FILE
  --pki DIR                the gateway's folder of certificates; ./opcua.pki when left out
  --node NODEID            where to begin; the Objects folder when left out
`;
/** Objects folder, where browsing begins; the server's description of itself, which is left out (OPC 10000-6, Annex A). */
const objectsFolder = "i=85";
const serverObject = "i=2253";
const hierarchical = "i=33";
const variableClass = 2;
const objectClass = 1;
const allFields = 63;
const mostVariables = 5000;
const deepest = 12;

type Variable = { readonly path: string; readonly nodeId: string };

/** The text of a value, short enough for a comment on one line. */
function shown(value: unknown): string {
  const text = String(value).replaceAll(/\s+/g, " ");
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}

function deviceOf(endpoint: string, values: Record<string, string | undefined>): OpcuaDevice {
  const [mode = "None", policy] = values.security?.split("/") ?? [];
  const device = {
    id: "browse",
    driver: "opcua",
    endpointUrl: endpoint,
    security: { mode, ...(policy ? { policy } : {}) },
    ...(values.user ? { user: { name: values.user, passwordFile: values["password-file"] } } : {}),
    tags: [{ name: "none", nodeId: objectsFolder, type: "bool" }],
  };
  const config = { group: "g", node: "n", broker: { host: "h" }, outbox: { path: "p" }, devices: [device] };
  const read = readGatewayConfig(JSON.stringify(config), "the arguments");
  if (!read.ok)
    throw new Error(read.faults.map((f) => `${f.path.replace("/devices/0", "")}: ${f.expected}`).join("\n"));
  const checked = read.value.devices[0] as OpcuaDevice;
  if (checked.user?.passwordFile === undefined) return checked;
  const password = readFileSync(checked.user.passwordFile, "utf8").split(/\r?\n/)[0]?.trim() ?? "";
  return { ...checked, user: { name: checked.user.name, password } };
}

/** The variables below a node, breadth first, each once, properties of variables included. */
async function findVariables(connection: OpcuaConnection, from: string): Promise<Variable[]> {
  const { opcua } = connection.library;
  const found: Variable[] = [];
  const visited = new Set<string>([serverObject, `ns=0;${serverObject}`]);
  let level: Variable[] = [{ path: "", nodeId: from }];
  for (let depth = 0; level.length > 0 && depth < deepest && found.length < mostVariables; depth += 1) {
    const next: Variable[] = [];
    for (const { path, nodeId } of level) {
      const { references } = await connection.request("browse", () =>
        opcua.browseAll(connection.session, {
          nodeId,
          referenceTypeId: hierarchical,
          includeSubtypes: true,
          browseDirection: 0,
          nodeClassMask: variableClass | objectClass,
          resultMask: allFields,
        }),
      );
      for (const { nodeId: id, browseName, nodeClass } of references ?? []) {
        const node = { path: path === "" ? `${browseName.name}` : `${path}/${browseName.name}`, nodeId: id.toString() };
        if (visited.has(node.nodeId)) continue;
        visited.add(node.nodeId);
        next.push(node);
        // Variables of namespace 0 describe the server and not the plant.
        if (nodeClass === variableClass && id.namespace > 0) found.push(node);
      }
    }
    level = next;
  }
  return found.slice(0, mostVariables);
}

/** A metric name from a browse path: what a name may not hold becomes an underscore. */
function nameOf(path: string): string {
  const plain = path.replaceAll(/[^A-Za-z0-9_./ -]/g, "_").slice(-128);
  return plain.replace(/^[^A-Za-z0-9_]+/, "").replace(/[^A-Za-z0-9_]+$/, "") || "_";
}

/** One tag a line; a variable that can be none stands there as a comment, and why. */
async function tagLines(connection: OpcuaConnection, variables: readonly Variable[]): Promise<string[]> {
  const lines: string[] = [];
  for (let i = 0; i < variables.length; i += connection.batch) {
    const part = variables.slice(i, i + connection.batch);
    const nodesToRead = part.map(({ nodeId }) => ({ nodeId, attributeId: 13 }));
    const values = await connection.request("read values", () => connection.session.read(nodesToRead));
    for (const [at, value] of values.entries()) {
      const { path, nodeId } = part[at] as Variable;
      const portable = JSON.stringify(portableNodeId(nodeId.replace(/^ns=0;/, ""), connection.namespaces));
      const type = typeOfBuiltIn(value.value?.dataType ?? 0);
      if (type === undefined || value.value?.arrayType !== 0) {
        const what = `${connection.library.opcua.DataType[value.value?.dataType ?? 0]}`;
        lines.push(`# ${path} ${portable}: no tag (${value.value?.arrayType ? `array of ${what}` : what})`);
        continue;
      }
      const decoded = decodeValue(type, opcuaValueOf(value));
      const seen = decoded.status === 0 ? shown(decoded.value) : statusName(decoded.status);
      lines.push(`- { name: ${JSON.stringify(nameOf(path))}, nodeId: ${portable}, type: ${type} } # ${seen}`);
    }
  }
  return lines;
}

/**
 * The command `browse`: a commissioning aid. Reads only, and trusts the same certificates as the gateway.
 * @param args what follows the word `browse` @param print takes the lines @returns the exit code: 0 done, 1 failed, 2 wrong arguments
 */
export async function browseCommand(args: string[], print: (line: string) => void): Promise<number> {
  const text = { type: "string" } as const;
  let device: OpcuaDevice;
  let values: Record<string, string | undefined>;
  try {
    if (args.includes("--help") || args.includes("-h")) {
      print(help.trimEnd());
      return 0;
    }
    const options = { endpoint: text, security: text, user: text, "password-file": text, pki: text, node: text };
    values = parseArgs({ args, options }).values;
    if (values.endpoint === undefined) throw new Error("--endpoint is missing");
    device = deviceOf(values.endpoint, values);
  } catch (thrown) {
    process.stderr.write(`${messageOf(thrown)}\n\n${help}`);
    return 2;
  }
  const log = pino({ level: "silent" });
  const identity = { applicationUri: "urn:jilian:gateway:browse", keepsCertificate: true };
  const options = { ...identity, acceptUnknownCertificates: false, pkiDir: values.pki ?? "opcua.pki" };
  let pki: Pki | undefined;
  try {
    pki = await openPki(options, log);
    const connection = await openConnection(device, pki, { signal: new AbortController().signal, log });
    try {
      const from = resolveNodeId(values.node ?? objectsFolder, connection.namespaces);
      if (typeof from !== "string") throw new Error(`the server has no namespace ${from.unknownNamespace}`);
      for (const line of await tagLines(connection, await findVariables(connection, from))) print(line);
      return 0;
    } finally {
      await connection.close();
    }
  } catch (thrown) {
    process.stderr.write(`${reasonOf(thrown)}\n`);
    return 1;
  } finally {
    await pki?.close();
  }
}
