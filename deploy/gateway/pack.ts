#!/usr/bin/env node
/**
 * Packs the gateway for a box: `node deploy/gateway/pack.ts --arch x64|arm64 --out DIR [--bundle-only]`. One archive with Node.js, the
 * bundle, the systemd unit, an example configuration and the install script; nothing else is needed on the box.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type Bundle, bundleGateway } from "./bundle.ts";
import { thirdPartyLicences } from "./licences.ts";
import { type Arch, archs, type NodeBinary, nodeBinaryOf } from "./node-binary.ts";
import { type TarEntry, tarGz } from "./tar.ts";

export type Pack = {
  /** `jilian-gateway-0.1.0-linux-x64`: the folder that the archive unpacks to. */
  name: string;
  /** Files below that folder. */
  entries: TarEntry[];
};

export type PackOptions = {
  /** Leaves Node.js out: an update for boxes that have this very Node.js already. */
  bundleOnly?: boolean;
  /** Of `gateway/package.json` when left out. */
  version?: string;
  /** Of these sources, where it has been made already. */
  bundle?: Bundle;
};

const root = resolve(fileURLToPath(import.meta.url), "../../..");
const ours = (name: string) => readFileSync(new URL(`./files/${name}`, import.meta.url));
const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");

function gatewayVersion(): string {
  return (JSON.parse(readFileSync(join(root, "gateway/package.json"), "utf8")) as { version: string }).version;
}

/** What stands in `VERSION`: lines of name=value, which a shell script reads too. */
function versionText(version: string, arch: Arch, node: NodeBinary, bundleOnly: boolean): string {
  const fields = {
    version,
    arch,
    node: node.version,
    node_sha256: sha256(node.content),
    node_stripped: node.isStripped ? "yes" : "no",
    bundle_only: bundleOnly ? "yes" : "no",
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

function checksums(entries: readonly TarEntry[]): string {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  return sorted.map(({ path, content }) => `${sha256(content)}  ${path}\n`).join("");
}

/**
 * Everything that goes into a package. The same sources, packages and Node binary give the same bytes.
 * @param node for this architecture
 */
export async function gatewayPack(arch: Arch, node: NodeBinary, options: PackOptions = {}): Promise<Pack> {
  const { bundleOnly = false, version = gatewayVersion() } = options;
  const { files, packageDirs } = options.bundle ?? (await bundleGateway(root));
  const file = (path: string, content: Uint8Array | string, mode = 0o644): TarEntry => {
    return { path, mode, content: typeof content === "string" ? Buffer.from(content) : content };
  };
  const entries = [
    file("VERSION", versionText(version, arch, node, bundleOnly)),
    file("LICENSE", readFileSync(join(root, "LICENSE"))),
    file("THIRD-PARTY-LICENCES.txt", thirdPartyLicences(root, packageDirs, node.licence)),
    file("install.sh", ours("install.sh"), 0o755),
    file("uninstall.sh", ours("uninstall.sh"), 0o755),
    file("bin/jilian-gateway", ours("jilian-gateway.sh"), 0o755),
    file("systemd/jilian-gateway.service", ours("jilian-gateway.service")),
    file("examples/gateway.yaml", ours("gateway.yaml")),
    ...["installation.zh-CN.md", "installation.md", "installation-wiring.svg"].map((name) =>
      file(`docs/${name}`, readFileSync(join(root, "docs", name))),
    ),
    ...files.map(({ path, content }) => file(`lib/${path}`, content)),
    ...(bundleOnly ? [] : [file("runtime/node", node.content, 0o755)]),
  ];
  return {
    name: `jilian-gateway-${version}-linux-${arch}`,
    entries: [...entries, file("SHA256SUMS", checksums(entries))],
  };
}

/** Writes the archive; returns its path. */
export function writePack({ name, entries }: Pack, dir: string, level?: number): string {
  mkdirSync(dir, { recursive: true });
  const bundleOnly = !entries.some(({ path }) => path === "runtime/node");
  const path = join(dir, `${name}${bundleOnly ? "-bundle" : ""}.tar.gz`);
  const inFolder = entries.map((entry) => ({ ...entry, path: `${name}/${entry.path}` }));
  writeFileSync(path, tarGz(inFolder, level));
  return path;
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

function summary(path: string, { entries }: Pack, node: NodeBinary): string {
  const sizeOf = (start: string) =>
    entries.filter(({ path: p }) => p.startsWith(start)).reduce((sum, { content }) => sum + content.length, 0);
  const archive = readFileSync(path);
  const stripped = node.isStripped ? "stripped" : "not stripped: no strip program for it here";
  return `${path}
  archive     ${megabytes(archive.length)}   sha256 ${sha256(archive)}
  installed   ${megabytes(sizeOf(""))}
  Node.js     ${megabytes(sizeOf("runtime/"))} (${node.version}, ${stripped})
  bundle      ${megabytes(sizeOf("lib/"))} in ${entries.filter(({ path: p }) => p.startsWith("lib/")).length} files
`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      arch: { type: "string", multiple: true, default: [...archs] },
      out: { type: "string", default: join(root, "data/packs") },
      "bundle-only": { type: "boolean", default: false },
    },
  });
  const wanted = archs.filter((arch) => values.arch.includes(arch));
  if (wanted.length !== values.arch.length) throw new TypeError(`--arch is ${archs.join(" or ")}`);
  for (const arch of wanted) {
    const node = nodeBinaryOf(root, arch);
    const pack = await gatewayPack(arch, node, { bundleOnly: values["bundle-only"] });
    process.stdout.write(summary(writePack(pack, resolve(values.out)), pack, node));
  }
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    const remedy = error instanceof JilianError ? `\n  remedy: ${error.remedy}` : "";
    process.stderr.write(`${codeOf(error)}: ${messageOf(error)}${remedy}\n`);
    process.exit(1);
  }
}
