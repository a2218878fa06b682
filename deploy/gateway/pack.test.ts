import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { withClassNames } from "./bundle.ts";
import { elfArch, nodeBinaryOf } from "./node-binary.ts";
import { gatewayPack } from "./pack.ts";
import { tarGz } from "./tar.ts";
import { noNode, repository, testBox, testBundle } from "./test-box.ts";
import { unitSettings } from "./unit-settings.ts";

let box: ReturnType<typeof testBox>;
beforeEach(() => {
  box = testBox();
});
afterEach(() => box.close());
// Bundling takes a second of a core that others use too.
vi.setConfig({ testTimeout: 120_000 });

const isThere = (program: string, ...args: string[]) => spawnSync(program, args, { stdio: "ignore" }).status === 0;

test("a gateway that runs has of Node.js what it uses: none of what a name that nobody asked for would load", async () => {
  const { folder } = await box.unpack(noNode);
  const [config, seen, preload] = ["gateway.yaml", "seen", "preload.cjs"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(
    config,
    "group: g\nnode: n\nbroker: { host: 127.0.0.1, port: 1 }\noutbox: { path: outbox.sqlite }\ndevices:\n" +
      "  - { id: d, driver: modbus-tcp, host: 127.0.0.1, port: 2, unitId: 1, tags: [{ name: t, table: holding, address: 1, type: int16 }] }\n",
  );
  // The process that checks the configuration runs it too, and ends first.
  const write = `process.on("exit", () => require("fs").writeFileSync(${JSON.stringify(seen)}, process.moduleLoadList.join("\\n")));`;
  writeFileSync(preload, write);
  const gateway = spawn(process.execPath, ["-r", preload, join(folder, "lib/main.mjs"), "run", "--config", config], {
    stdio: ["ignore", "pipe", "inherit"],
    // Without what the tests themselves load into each process.
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const running = Promise.withResolvers<void>();
  const ended = once(gateway, "exit");
  // Read to its end: whoever closes the pipe ends no gateway.
  gateway.stdout.setEncoding("utf8").on("data", (lines: string) => {
    if (lines.includes("the gateway runs")) running.resolve();
  });
  try {
    await Promise.race([running.promise, ended]);
    gateway.kill("SIGTERM");
    await ended;
  } finally {
    gateway.kill("SIGKILL");
  }
  const modules = readFileSync(seen, "utf8").split("\n");
  expect(modules).toContain("NativeModule sqlite");
  for (const one of ["internal/deps/undici/undici", "http", "http2", "tls", "internal/fs/promises", "repl"]) {
    expect(modules).not.toContain(`NativeModule ${one}`);
  }
});

test("holds what a box needs, with true checksums, and nothing of this machine", async () => {
  const { folder, pack } = await box.unpack(noNode);
  const paths = pack.entries.map(({ path }) => path);
  for (const needed of [
    "VERSION",
    "LICENSE",
    "THIRD-PARTY-LICENCES.txt",
    "SHA256SUMS",
    "install.sh",
    "uninstall.sh",
    "bin/jilian-gateway",
    "systemd/jilian-gateway.service",
    "examples/gateway.yaml",
    "docs/installation.zh-CN.md",
    "docs/installation.md",
    "lib/main.mjs",
    "lib/setting-worker.mjs",
    "lib/read-log.mjs",
    "lib/profiles/eastron-sdm630.yaml",
    "runtime/node",
  ]) {
    expect(paths).toContain(needed);
  }
  expect(statSync(join(folder, "runtime/node")).mode & 0o777).toBe(0o755);
  expect(statSync(join(folder, "systemd/jilian-gateway.service")).mode & 0o777).toBe(0o644);
  const sums = readFileSync(join(folder, "SHA256SUMS"), "utf8").trimEnd().split("\n");
  expect(sums).toHaveLength(paths.length - 1);
  for (const line of sums) {
    const [sum, path = ""] = line.split("  ");
    expect(
      createHash("sha256")
        .update(readFileSync(join(folder, path)))
        .digest("hex"),
      path,
    ).toBe(sum);
  }
  for (const { path, content } of pack.entries) {
    expect(Buffer.from(content).includes(repository), `${path} names a folder of this machine`).toBe(false);
  }
  const licences = readFileSync(join(folder, "THIRD-PARTY-LICENCES.txt"), "utf8");
  for (const name of [
    "modbus-serial",
    "mqtt",
    "pino",
    "typebox",
    "yaml",
    "@bufbuild/protobuf",
    "node-opcua-client",
    "Node.js",
  ]) {
    expect(licences).toMatch(new RegExp(`^${name}( |$)`, "m"));
  }
  const profiles = execFileSync(process.execPath, [join(folder, "lib/main.mjs"), "profile", "list"], {
    encoding: "utf8",
  });
  expect(profiles).toContain("eastron-sdm630");
  // A package without a licence file whose README names one.
  expect(licences).toMatch(
    /^precond [\d.]+\n.*\n.*\n+This code is free to use under the terms of the \[MIT license\]/m,
  );
});

test("gives the same bytes for the same input", async () => {
  const bundle = await testBundle();
  // The second is bundled anew; how well it is compressed says nothing about that.
  const [first, second] = [await gatewayPack("x64", noNode, { bundle }), await gatewayPack("x64", noNode)];
  const archive = tarGz(first.entries, 1);
  expect(tarGz([...second.entries].reverse(), 1).equals(archive)).toBe(true);
  const other = await gatewayPack("x64", { ...noNode, content: Buffer.from("another program") }, { bundle });
  expect(tarGz(other.entries, 1).equals(archive)).toBe(false);
});

test("a gateway loads OPC UA only when a device asks for it, and nothing holds the serial port's library", async () => {
  const { files, packageDirs } = await testBundle();
  const text = (path: string) => Buffer.from(files.find((file) => file.path === path)?.content ?? "").toString();
  const named = (path: string, statement: RegExp) =>
    [...text(path).matchAll(statement)].map(([, name]) => `chunks/${name}`);
  /** Files that come with a file by its static imports. */
  const loaded = new Set<string>();
  const load = (path: string) => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const next of named(path, /(?:from|import)"\.\/(?:chunks\/)?([^"]+)"/g)) load(next);
  };
  load("main.mjs");
  // Whatever the program itself loads when it is told to run.
  for (const path of named("main.mjs", /import\("\.\/chunks\/([^"]+)"\)/g)) load(path);
  const withOpcua = files.filter(({ content }) => Buffer.from(content).includes("OPCUAClientImpl"));
  expect(withOpcua).toHaveLength(1);
  expect([...loaded].filter((path) => text(path).includes("OPCUAClientImpl"))).toEqual([]);
  expect([...loaded].some((path) => text(path).includes("MODBUS_TIMEOUT"))).toBe(true);
  expect(packageDirs.filter((dir) => dir.includes("serialport"))).toEqual([]);
});

test("tells programs of different machines apart", () => {
  const elf = (machine: number) => Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, ...Array(12).fill(0), machine, 0, 0, 0]);
  expect([elf(62), elf(183), elf(3), Buffer.from("#!/bin/sh"), Buffer.alloc(0)].map(elfArch)).toEqual([
    "x64",
    "arm64",
    undefined,
    undefined,
    undefined,
  ]);
  expect(elfArch(readFileSync(process.execPath))).toBe(process.arch);
});

test("takes the other architecture's Node.js from the package that package-lock.json pins", {
  timeout: 120_000,
}, () => {
  const other = process.arch === "arm64" ? "x64" : "arm64";
  const node = nodeBinaryOf(repository, other);
  expect(elfArch(node.content)).toBe(other);
  const { packages } = JSON.parse(readFileSync(join(repository, "package-lock.json"), "utf8"));
  expect(node.version).toBe(packages[`node_modules/node-linux-${other}`].version);
  expect(node.licence).toContain("Node.js is licensed for use as follows");
});

test("refuses a package of Node.js that is another than the pinned one", () => {
  const other = process.arch === "arm64" ? "x64" : "arm64";
  const lock = JSON.parse(readFileSync(join(repository, "package-lock.json"), "utf8"));
  const pinned = lock.packages[`node_modules/node-linux-${other}`];
  const root = mkdtempSync(join(box.dir, "lock-"));
  const packages = { [`node_modules/node-linux-${other}`]: pinned };
  writeFileSync(join(root, "package-lock.json"), JSON.stringify({ packages }));
  // An npm whose registry answers with something else: a real package of 40 MB would be refused in the same line.
  const npm = `#!/bin/sh\ntest "$1 $2 $3" = "pack node-linux-${other}@${pinned.version} --pack-destination" && echo other > "$4/node-linux-${other}-${pinned.version}.tgz"\n`;
  writeFileSync(join(root, "npm"), npm, { mode: 0o755 });
  vi.stubEnv("PATH", `${root}:${process.env.PATH}`);
  try {
    expect(() => nodeBinaryOf(root, other)).toThrow(expect.objectContaining({ code: "NODE_UNVERIFIED" }));
  } finally {
    vi.unstubAllEnvs();
  }
});

describe("scripts and unit", () => {
  const files = join(repository, "deploy/gateway/files");

  test("are POSIX shell", () => {
    for (const name of readdirSync(files).filter((file) => file.endsWith(".sh"))) {
      const { status, stderr } = spawnSync("sh", ["-n", join(files, name)], { encoding: "utf8" });
      expect({ name, status, stderr }).toEqual({ name, status: 0, stderr: "" });
      expect(readFileSync(join(files, name), "utf8")).not.toMatch(/\[\[ |\bfunction |\blocal |<<<|&>/);
    }
  });

  test.skipIf(!isThere("systemd-analyze", "--version"))("the unit is valid and hardened", async () => {
    const { folder } = await box.unpack(noNode);
    const root = box.inRoot("");
    expect(box.install(folder, ["--foreign"]).code).toBe(0);
    for (const path of ["usr/bin", "lib", "bin"]) spawnSync("mkdir", ["-p", join(root, path)]);
    // Of the base system: ExecReload.
    spawnSync("cp", ["/bin/kill", join(root, "bin/kill")]);
    const unit = join(root, "etc/systemd/system/jilian-gateway.service");
    const verify = spawnSync("systemd-analyze", ["verify", `--root=${root}`, "jilian-gateway.service"], {
      encoding: "utf8",
    });
    // Targets of the base system are not in this root; everything said about the unit itself counts.
    const complaints = verify.stderr.split("\n").filter((line) => /jilian-gateway\.service:(\d+)?:? /.test(line));
    expect(complaints.filter((line) => !/target|not found|slice/i.test(line))).toEqual([]);
    const security = spawnSync("systemd-analyze", ["security", "--offline=yes", "--threshold=20", unit], {
      encoding: "utf8",
    });
    expect({ status: security.status, tail: security.stdout.split("\n").slice(-3) }).toMatchObject({ status: 0 });
  });

  test.skipIf(!isThere("busybox", "true"))("installs with nothing but busybox", async () => {
    const { folder } = await box.unpack(noNode);
    const bin = join(box.dir, "busybox");
    spawnSync("mkdir", [bin]);
    const applets = spawnSync("busybox", ["--list"], { encoding: "utf8" }).stdout.trim().split("\n");
    const program = spawnSync("sh", ["-c", "command -v busybox"], { encoding: "utf8" }).stdout.trim();
    for (const applet of applets) symlinkSync(program, join(bin, applet));
    const done = box.install(folder, ["--foreign"], ["env", "-i", `PATH=${bin}`, join(bin, "sh")]);
    expect({ code: done.code, err: done.err }).toEqual({ code: 0, err: "" });
    expect(existsSync(box.inRoot("opt/jilian-gateway/current/lib/main.mjs"))).toBe(true);
  });
});

test("is started for little memory in the same way by systemd, by its own command and by npm", () => {
  const read = (name: string) => readFileSync(join(repository, name), "utf8");
  const { flags, env } = unitSettings(repository);
  expect(flags).toContain("--optimize-for-size");
  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const command = read("deploy/gateway/files/jilian-gateway.sh");
  expect(command).toContain(`\nflags='${flags.join(" ")}'\n`);
  expect(command).toContain(`\nexport ${words.join(" ")}\n`);
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  expect(scripts.gateway).toBe(`node ${flags.join(" ")} gateway/main.ts`);
});

test("classes of node-opcua have the names of their sources, and functions get none", async () => {
  const { files } = await testBundle();
  const texts = files.map(({ content }) => Buffer.from(content).toString("utf8"));
  // As esbuild calls a second class of one name.
  const renamed = (source: string) => source.replace("class Node", "const Node2 = class Node2");
  const nameOf = (source: string) => new Function(`class Base {}; ${renamed(source)}; return Node2.name`)() as string;
  const source = "class Node extends Base {\n  static all = new this();\n}";
  expect([nameOf(source), nameOf(withClassNames(source))]).toEqual(["Node2", "Node"]);
  expect(texts.some((text) => text.includes('static{this.name!=="Variant"&&'))).toBe(true);
  expect(texts.filter((text) => text.includes("__name("))).toEqual([]);
});
