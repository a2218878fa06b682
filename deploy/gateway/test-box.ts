import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bundle, bundleGateway } from "./bundle.ts";
import type { NodeBinary } from "./node-binary.ts";
import { gatewayPack, type Pack, type PackOptions, writePack } from "./pack.ts";

export const repository = resolve(fileURLToPath(import.meta.url), "../../..");

/** The Node.js that runs the tests, as it is: stripping it takes time and shows nothing here. */
export function ownNode(): NodeBinary {
  const version = process.versions.node;
  return { content: readFileSync(process.execPath), version, licence: "Node.js: see its LICENSE", isStripped: false };
}

/** The same by a script of one line: installing is not slowed down by a hundred megabytes that are copied and summed up. */
export const nodeScript: NodeBinary = {
  content: Buffer.from(`#!/bin/sh\nexec ${process.execPath} "$@"\n`),
  version: process.versions.node,
  licence: "-",
  isStripped: false,
};

/** A stand-in for Node.js where nothing runs it. */
export const noNode: NodeBinary = {
  content: Buffer.from("no program"),
  version: "0.0.0",
  licence: "-",
  isStripped: false,
};

let bundling: Promise<Bundle> | undefined;
/** The bundle of these sources, made once for all tests of this process: it takes a second or two of a core. */
export function testBundle(): Promise<Bundle> {
  bundling ??= bundleGateway(repository);
  return bundling;
}

export type Outcome = { code: number | null; out: string; err: string };

/** For tests: a folder of packages and empty root folders, as boxes. */
export function testBox() {
  const dir = mkdtempSync(join(tmpdir(), "jilian-box-"));
  const root = join(dir, "root");
  mkdirSync(root);
  // What a box has, and no npm and no node: they would be found otherwise.
  const path = "/usr/sbin:/usr/bin:/sbin:/bin";

  function run(script: string, args: readonly string[], shell: readonly string[] = ["sh"]): Outcome {
    const [program = "", ...first] = shell;
    const done = spawnSync(program, [...first, script, ...args], { cwd: "/", env: { PATH: path }, encoding: "utf8" });
    return { code: done.status, out: done.stdout, err: done.stderr };
  }

  return {
    dir,
    root,
    inRoot: (name: string) => join(root, name),
    /** Packs, unpacks by the system's tar as one does on a box; the folder of the package. */
    async unpack(node: NodeBinary, options: PackOptions = {}): Promise<{ pack: Pack; folder: string }> {
      const bundle = await testBundle();
      const pack = await gatewayPack(process.arch === "arm64" ? "arm64" : "x64", node, { bundle, ...options });
      const place = mkdtempSync(join(dir, "unpacked-"));
      execFileSync("tar", ["-xzf", writePack(pack, place, 0), "-C", place]);
      return { pack, folder: join(place, pack.name) };
    },
    install: (folder: string, args: readonly string[] = [], shell?: readonly string[]) =>
      run(join(folder, "install.sh"), ["--root", root, ...args], shell),
    uninstall: (...args: string[]) =>
      run(join(root, "opt/jilian-gateway/current/uninstall.sh"), ["--root", root, ...args]),
    /** Fills in what the example marks as to be filled in. */
    configure(edit: (text: string) => string): void {
      const file = join(root, "etc/jilian-gateway/gateway.yaml");
      writeFileSync(file, edit(readFileSync(file, "utf8")));
    },
    /** Copies what the installed Node.js needs of the C library: all that this root gets beside the package. */
    copyLibraries(): void {
      const node = join(root, "opt/jilian-gateway/current/runtime/node");
      const listed = execFileSync("ldd", [node], { encoding: "utf8" });
      for (const [, library = ""] of listed.matchAll(/(?:=> )?(\/\S+) \(0x/g)) {
        const copy = join(root, library);
        mkdirSync(dirname(copy), { recursive: true });
        if (!existsSync(copy)) copyFileSync(library, copy);
      }
    },
    /** The command of the installed systemd unit. */
    unitCommand(): string[] {
      const unit = readFileSync(join(root, "etc/systemd/system/jilian-gateway.service"), "utf8");
      return (/^ExecStart=(.+)$/m.exec(unit)?.[1] ?? "").split(" ");
    },
    /** Numbers of the user that the install script made. */
    user(): string {
      const [, , uid, gid] = /^jilian:.*$/m.exec(readFileSync(join(root, "etc/passwd"), "utf8"))?.[0].split(":") ?? [];
      return `${uid}:${gid}`;
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}

export const filledIn = (text: string) =>
  text
    .replace("【必填】工厂编号/网关编号", "factory-1/gateway-1")
    .replace("【必填】工厂编号", "factory-1")
    .replace("【必填】网关编号", "gateway-1")
    .replace("【必填】平台地址", "127.0.0.1");
