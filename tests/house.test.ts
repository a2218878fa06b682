import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

/** Holds the house: which room may import which, named exports, file length. The table is the one of the README's architecture section. */
const root = resolve(fileURLToPath(import.meta.url), "../..");

const mayImport: Record<string, readonly string[]> = {
  domain: [],
  gateway: ["domain"],
  broker: ["domain", "store"],
  store: ["domain"],
  ingest: ["domain", "store"],
  api: ["domain", "store"],
  dashboards: ["domain"],
  simulators: [],
  deploy: ["domain", "gateway", "broker", "store", "ingest", "api", "dashboards", "simulators"],
  tests: ["domain", "gateway", "broker", "store", "ingest", "api", "dashboards", "simulators", "deploy"],
};
/** The gateway's box gets few packages; what a box can import is held here (DESIGN: rooms). */
const libraries: Record<string, readonly string[]> = {
  // mqtt-packet is a part of mqtt and aedes (domain/mqtt-lengths.ts).
  domain: ["@bufbuild/protobuf", "mqtt-packet", "typebox", "yaml"],
  gateway: [
    "modbus-serial",
    "mqtt",
    "node-opcua-certificate-manager",
    "node-opcua-client",
    "pino",
    "prom-client",
    "typebox",
  ],
  simulators: ["node-opcua-certificate-manager", "node-opcua-server", "node-opcua-status-code"],
};
const longestFile = 350;

const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.ts"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file !== "" && !file.includes("/generated/") && existsSync(join(root, file)));
const rooms = Object.keys(mayImport);
const isTest = (file: string) => /\.test\.ts$|(^|\/)test-[^/]*\.ts$/.test(file);

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  const statement = /^(?:import|export)\b(?:[^;"]*?\bfrom)?\s*"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;
  const found = [...text.matchAll(statement)].map((match) => (match[1] ?? match[2]) as string);
  const urls = [...text.matchAll(/new URL\(\s*"(\.[^"]+\.ts)"/g)].map((match) => match[1] as string);
  return [...found, ...urls];
}

function roomOf(file: string): string {
  return file.split("/")[0] as string;
}

/** The room that an import reaches: by package name, or by a path that leaves its own room. */
function reached(file: string, specifier: string): string | undefined {
  const ours = /^@jilian\/([^/]+)\//.exec(specifier);
  if (ours) return ours[1];
  if (!specifier.startsWith(".")) return undefined;
  const target = roomOf(normalize(join(dirname(file), specifier)));
  return target === roomOf(file) ? undefined : target;
}

it("finds the rooms and their files", () => {
  expect(files.length).toBeGreaterThan(50);
  for (const room of rooms.filter((name) => name !== "dashboards"))
    expect(
      files.some((f) => roomOf(f) === room),
      room,
    ).toBe(true);
});

it("keeps the arrows between rooms", () => {
  const wrong = files.flatMap((file) => {
    const allowed = mayImport[roomOf(file)];
    if (!allowed) return [];
    return importsOf(file)
      .map((specifier) => reached(file, specifier))
      .filter((room) => room !== undefined && room !== roomOf(file) && !allowed.includes(room))
      .map((room) => `${file} imports ${room}`);
  });
  expect(wrong).toEqual([]);
});

it("keeps the gateway, the domain and the simulators on few packages", () => {
  const wrong = files
    .filter((file) => !isTest(file))
    .flatMap((file) => {
      const allowed = libraries[roomOf(file)];
      if (!allowed) return [];
      return importsOf(file)
        .filter((s) => !s.startsWith(".") && !s.startsWith("node:") && !s.startsWith("@jilian/"))
        .filter((s) => !allowed.some((library) => s === library || s.startsWith(`${library}/`)))
        .map((s) => `${file} imports ${s}`);
    });
  expect(wrong).toEqual([]);
});

it("declares in each room's package what the room imports", () => {
  const wrong = files
    .filter((file) => rooms.includes(roomOf(file)) && !isTest(file))
    .flatMap((file) => {
      const manifest = JSON.parse(readFileSync(join(root, roomOf(file), "package.json"), "utf8")) as {
        dependencies?: Record<string, string>;
      };
      const declared = Object.keys(manifest.dependencies ?? {});
      return importsOf(file)
        .filter(
          (s) =>
            !s.startsWith(".") &&
            !s.startsWith("node:") &&
            !s.startsWith(`@jilian/${roomOf(file)}/`) &&
            !/^vitest(?:\/|$)/.test(s),
        )
        .map((s) =>
          s
            .split("/")
            .slice(0, s.startsWith("@") ? 2 : 1)
            .join("/"),
        )
        .filter((name) => !declared.includes(name))
        .map((name) => `${file}: ${name}`);
    });
  expect([...new Set(wrong)]).toEqual([]);
});

it("has named exports only and no barrels", () => {
  const wrong = files.filter((file) => {
    const text = readFileSync(join(root, file), "utf8");
    return file !== "vitest.config.ts" && (/^export default/m.test(text) || /^export \* from/m.test(text));
  });
  expect(wrong).toEqual([]);
});

it(`keeps every file under ${longestFile} lines`, () => {
  const long = files.map((file) => [file, readFileSync(join(root, file), "utf8").split("\n").length - 1] as const);
  expect(long.filter(([, lines]) => lines > longestFile)).toEqual([]);
});

it("has no code path that writes to a machine", () => {
  const modbus =
    /\b(writeRegister|writeRegisters|writeCoil|writeCoils|writeFC(?:5|6|15|16)|maskWriteRegister|customFunction)\b/;
  const opcUa =
    /\b(writeSingleNode|WriteRequest|WriteValue|CallRequest|CallMethodRequest|(?:Add|Delete)(?:Nodes|References)Request|HistoryUpdateRequest)\b|\bsession\??\s*\.\s*(write|call|historyUpdate)\s*\(/;
  const wrong = files.filter((file) => {
    const text = readFileSync(join(root, file), "utf8");
    return roomOf(file) === "gateway" && !isTest(file) && (modbus.test(text) || opcUa.test(text));
  });
  expect(wrong).toEqual([]);
});

it("asks meters of DL/T 645 with the control codes that read, at one place", () => {
  const own = files.filter((file) => file.startsWith("gateway/drivers/dlt645") && !isTest(file));
  const texts = own.map((file) => [file, readFileSync(join(root, file), "utf8")] as const);
  expect(texts.filter(([, text]) => text.includes(".exchange(")).map(([file]) => file)).toEqual([
    "gateway/drivers/dlt645-asking.ts",
  ]);
  // Its request is what requestFrame gives, whose only control codes are those of reading (dlt645-frame.test.ts).
  const asking = texts.find(([file]) => file.endsWith("-asking.ts"))?.[1] ?? "";
  expect(asking.match(/request: (?!requestFrame\(asked\))/g)).toBeNull();
  const frame = texts.find(([file]) => file.endsWith("-frame.ts"))?.[1] ?? "";
  expect(frame).toContain("const readControls = [0x11, 0x12] as const;");
});

it("puts no list of unknown length on the stack where a cluster's readings and figures pass", () => {
  // `push(...list)` ends the process at about 120,000 items (domain/lists.ts).
  const spread = /\.(?:push|unshift)\(\s*\.\.\.|Math\.(?:min|max)\(\s*\.\.\./;
  const own = files.filter((file) => /^(?:ingest|store)\//.test(file) && !/suite|registry|test/.test(file));
  expect(own.length).toBeGreaterThan(50);
  expect(own.filter((file) => spread.test(readFileSync(join(root, file), "utf8")))).toEqual([]);
});
