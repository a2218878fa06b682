import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";

export type Arch = "x64" | "arm64";
export const archs: readonly Arch[] = ["x64", "arm64"];

export type NodeBinary = {
  content: Buffer;
  /** `24.21.0` */
  version: string;
  licence: string;
  isStripped: boolean;
};

/** ELF machine numbers (ELF gABI, e_machine). */
const machines: Readonly<Record<Arch, number>> = { x64: 62, arm64: 183 };
const triples: Readonly<Record<Arch, string>> = { x64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" };

/** The architecture that an ELF program is for, or undefined. */
export function elfArch(content: Uint8Array): Arch | undefined {
  const view = Buffer.from(content.buffer, content.byteOffset, Math.min(content.length, 64));
  const isElf64 = view.length >= 20 && view.readUInt32BE(0) === 0x7f454c46 && view[4] === 2 && view[5] === 1;
  return isElf64 ? archs.find((arch) => machines[arch] === view.readUInt16LE(18)) : undefined;
}

/** @throws JilianError NODE_UNVERIFIED when the archive is not the one that package-lock.json names */
function verify(archive: string, integrity: string): void {
  const [algorithm = "", expected = ""] = integrity.split("-");
  const found = createHash(algorithm).update(readFileSync(archive)).digest("base64");
  if (found === expected) return;
  throw new JilianError(`the package is not the one of package-lock.json: ${algorithm}-${found}`, {
    code: "NODE_UNVERIFIED",
    action: "fetch Node.js for another architecture",
    remedy: "do not use it; check the registry that npm is set to",
    address: archive,
  });
}

/** Fetches a package of another architecture with npm, which `npm ci` leaves out, and unpacks it below `dir`. */
function fetchPackage(root: string, name: string, dir: string): string {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version: string; integrity: string } | undefined>;
  };
  const locked = lock.packages[`node_modules/${name}`];
  if (!locked) throw new Error(`${name} is not in package-lock.json`);
  try {
    const args = ["pack", `${name}@${locked.version}`, "--pack-destination", dir, "--silent"];
    execFileSync("npm", args, { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
  } catch (cause) {
    throw new JilianError(`npm pack ${name}@${locked.version}: ${messageOf(cause)}`, {
      code: "NODE_UNREACHABLE",
      action: "fetch Node.js for another architecture",
      remedy: "run where npm reaches its registry",
      cause,
    });
  }
  const archive = join(dir, `${name}-${locked.version}.tgz`);
  verify(archive, locked.integrity);
  execFileSync("tar", ["-xzf", archive, "-C", dir, "package/bin/node", "package/LICENSE", "package/package.json"]);
  return join(dir, "package");
}

/** The program that strips symbols of an architecture's binaries, if this machine has one. */
function stripperOf(arch: Arch): string | undefined {
  const names = [`${triples[arch]}-strip`, ...(process.arch === arch ? ["strip"] : [])];
  return names.find((name) => {
    try {
      execFileSync(name, ["--version"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * The Node.js binary for an architecture, from the npm package that package-lock.json pins; without its symbol table where this machine
 * can strip it, which saves a quarter.
 * @throws JilianError NODE_UNREACHABLE, NODE_UNVERIFIED, NODE_WRONG_ARCH
 */
export function nodeBinaryOf(root: string, arch: Arch): NodeBinary {
  const name = `node-linux-${arch}`;
  const dir = mkdtempSync(join(tmpdir(), "jilian-node-"));
  try {
    const installed = join(root, "node_modules", name);
    const from = existsSync(join(installed, "bin/node")) ? installed : fetchPackage(root, name, dir);
    const { version } = JSON.parse(readFileSync(join(from, "package.json"), "utf8")) as { version: string };
    const licence = readFileSync(join(from, "LICENSE"), "utf8");
    const stripper = stripperOf(arch);
    const stripped = join(dir, "out", "node");
    if (stripper !== undefined) {
      mkdirSync(join(dir, "out"));
      execFileSync(stripper, ["--strip-all", "-o", stripped, join(from, "bin/node")]);
    }
    const content = readFileSync(stripper === undefined ? join(from, "bin/node") : stripped);
    if (elfArch(content) !== arch) {
      throw new JilianError(`${name} holds a program for ${elfArch(content) ?? "an unknown machine"}`, {
        code: "NODE_WRONG_ARCH",
        action: "read the Node.js binary",
        remedy: "install the packages again: npm ci",
        address: from,
      });
    }
    return { content, version, licence, isStripped: stripper !== undefined };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
