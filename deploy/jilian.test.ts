import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tokenHash } from "@jilian/store/enrolment-token.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { prepareDemo } from "./demo/prepare.ts";

let base = "";
let platform = "";
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "jilian-cli-"));
  const ports = { modbus: [15020, 15021, 15022], opcua: [15120, 15121, 15122], broker: 18830, api: 18080 };
  platform = prepareDemo({ dir: join(base, "demo"), ports, log: pino({ level: "silent" }) }).platformFile;
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

type Outcome = { code: number; out: string; err: string };

/** Runs the real program. */
function jilian(args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  const program = new URL("./jilian.ts", import.meta.url).pathname;
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { env: { ...process.env, ...env } }, (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err });
    });
  });
}

function edit(file: string, from: string | RegExp, to: string): void {
  const before = readFileSync(file, "utf8");
  const after = before.replace(from, to);
  expect(after).not.toBe(before);
  writeFileSync(file, after);
}

it("finds no fault in the demonstration", async () => {
  const { code, out } = await jilian(["check", "--config", platform]);
  expect({ code, out }).toEqual({ code: 0, out: `${platform}: no fault. 3 factories, 3 gateways, 21 devices.\n` });
});

it("lists every fault of a wrong configuration and ends with 2 before anything is started", async () => {
  edit(platform, "port: 18080", "port: eighty");
  edit(platform, "dataDir: .", "dataDirectory: .");
  const { code, err, out } = await jilian(["run", "--config", platform]);
  expect(code).toBe(2);
  expect(out).toBe("");
  for (const expected of [
    "/api/port",
    'found:    "eighty"',
    "/dataDirectory",
    'write "dataDir" instead',
    "/dataDir\n",
    "3 faults; nothing was started.",
  ]) {
    expect(err).toContain(expected);
  }
  expect(err.match(/platform\.yaml:\d+ \//g)).toHaveLength(3);
});

it("lists the faults of both files together, and files that are named but not there", async () => {
  edit(platform, "port: 18080", "port: -1");
  edit(join(base, "demo/cluster.yaml"), "91440200MA4DEM001X", "91440200MA4DEM0019");
  const both = await jilian(["run", "--config", platform]);
  expect(both.code).toBe(2);
  expect(both.err).toMatch(
    /platform\.yaml:\d+ \/api\/port[\s\S]*cluster\.yaml:\d+ \/enterprises\/0\/creditCode[\s\S]*2 faults/,
  );
  edit(platform, "registry: cluster.yaml", "registry: nowhere.yaml");
  edit(platform, "ingest: {}", "ingest: {}\nremoteBroker: { username: jilian, passwordFile: none.password }");
  const missing = await jilian(["run", "ingest", "api", "--config", platform]);
  expect(missing.code).toBe(2);
  expect(missing.err).toMatch(/platform\.yaml:\d+ \/registry\n {2}found: {4}ENOENT/);
  expect(missing.err).toMatch(/platform\.yaml:\d+ \/remoteBroker\/passwordFile\n {2}found: {4}ENOENT/);
  expect(missing.err).toContain("3 faults; nothing was started.");
});

it("lists the registry's faults with their lines", async () => {
  const registry = join(base, "demo/cluster.yaml");
  edit(registry, "91440200MA4DEM001X", "91440200MA4DEM0019");
  edit(registry, "id: feeder-2", "id: feeder-1");
  const { code, err } = await jilian(["check", "--config", platform]);
  expect(code).toBe(2);
  expect(err).toMatch(/cluster\.yaml:\d+ \/enterprises\/0\/creditCode/);
  expect(err).toContain("check character X after these 17");
  expect(err).toMatch(/cluster\.yaml:\d+ \/enterprises\/0\/factories\/0\/gateways\/0\/devices\/2\/id/);
  expect(err).toContain("2 faults; nothing was started.");
});

it("refuses api without ingest, ingest without a broker, unknown words and a faster clock in a real pilot", async () => {
  const alone = await jilian(["run", "api", "--config", platform]);
  expect(alone).toMatchObject({ code: 2, err: expect.stringContaining("api cannot run without ingest") });
  expect(await jilian(["run", "ingest", "api", "--config", platform])).toMatchObject({
    code: 2,
    err: expect.stringContaining("/remoteBroker"),
  });
  expect(await jilian(["run", "brokre", "--config", platform])).toMatchObject({
    code: 2,
    err: expect.stringContaining("unknown service: brokre"),
  });
  expect(await jilian(["run"])).toMatchObject({ code: 2, err: expect.stringContaining("jilian run") });
  expect(await jilian(["run", "--config", platform], { JILIAN_CLOCK: "fast" })).toMatchObject({ code: 2 });
  const verbose = await jilian(["run", "--config", platform], { JILIAN_LOG_LEVEL: "verbose" });
  expect(verbose).toMatchObject({ code: 2, err: expect.stringContaining('JILIAN_LOG_LEVEL is "verbose"') });
  edit(join(base, "demo/cluster.yaml"), "demo: true", "demo: false");
  const real = await jilian(["run", "--config", platform], { JILIAN_CLOCK: "60,0,0" });
  expect(real).toMatchObject({ code: 2, err: expect.stringContaining("not marked demo") });
});

it("makes credentials for registered gateways only, and prints a secret once", async () => {
  const made = await jilian(["credential", "gateway", "xinghua-casting", "gw-casting", "--config", platform]);
  expect(made.code).toBe(0);
  expect(made.out).toMatch(/^user name: xinghua-casting\/gw-casting\npassword: {2}\S{32}\n$/);
  expect(await jilian(["credential", "gateway", "nobody", "gw", "--config", platform])).toMatchObject({ code: 2 });
  const viewer = await jilian(["credential", "viewer", "xinghua", "wall", "--config", platform]);
  expect(viewer.out).toMatch(/^user name: wall@xinghua\npassword: {2}\S{32}\n$/);
  const nobodys = await jilian(["credential", "viewer", "nobody", "wall", "--config", platform]);
  expect(nobodys).toMatchObject({ code: 2, err: expect.stringContaining("known: xinghua") });
  expect(await jilian(["credential", "revoke", "viewer", "wall@xinghua", "--config", platform])).toMatchObject({
    code: 0,
    out: expect.stringContaining("ends within seconds"),
  });
  expect((await jilian(["credential", "api", "province", "--config", platform])).out).toMatch(/^province\.\S{32}\n$/);
  const listed = await jilian(["credential", "list", "--config", platform]);
  expect(listed.out).toMatch(/^api +province +made 2\d{3}-/m);
  expect(listed.out).toMatch(/^gateway +xinghua-casting\/gw-casting +made/m);
  const secret = /password: {2}(\S+)/.exec(made.out)?.[1] as string;
  expect(listed.out).not.toContain(secret);
  expect(await jilian(["credential", "revoke", "api", "province", "--config", platform])).toMatchObject({ code: 0 });
  expect(await jilian(["credential", "revoke", "api", "province", "--config", platform])).toMatchObject({ code: 2 });
  expect((await jilian(["credential", "list", "--config", platform])).out).not.toMatch(/province/);
  const ledger = openLedger({ path: join(base, "demo/ledger.sqlite"), log: pino({ level: "silent" }) });
  expect(ledger.audit({ limit: 9 }).map(({ action, subject }) => `${action} ${subject}`)).toEqual([
    "credential.revoke api province",
    "credential.set api province",
    "credential.revoke viewer wall@xinghua",
    "credential.set viewer wall@xinghua",
    "credential.set gateway xinghua-casting/gw-casting",
  ]);
  ledger.close();
});

it("makes tokens for registered gateways only, lists and revokes certificates", { timeout: 40_000 }, async () => {
  const name = "xinghua-casting/gw-casting";
  const run = (...args: string[]) => jilian([...args, "--config", platform]);
  expect(await run("enrol", name)).toMatchObject({ code: 2, err: expect.stringContaining("api.enrolment is not set") });
  edit(
    platform,
    "port: 18080",
    "port: 18080\n  enrolment: { brokerHost: mqtt.example, publicUrl: 'https://platform.example' }",
  );
  const [made, unknown, long, none, broker] = await Promise.all([
    run("enrol", name, "--hours", "2"),
    run("enrol", "xinghua-casting/gw-77"),
    run("enrol", name, "--hours", "721"),
    run("revoke", "ABCDEF0123456789"),
    run("certificates", "broker", "mqtt.example,10.0.0.5", "--days", "30"),
  ]);
  expect(made.code).toBe(0);
  const [, token = ""] = /jilian-gateway enrol https:\/\/platform\.example (\S+)\n/.exec(made.out) ?? [];
  expect(made.out).toContain(`token:    ${token}\n`);
  expect([unknown, long, none].map(({ code }) => code)).toEqual([2, 2, 2]);
  expect(unknown.err).toContain("is not in the registry");
  expect(broker).toMatchObject({ code: 0, out: expect.stringContaining("broker.pem") });
  expect(statSync(join(base, "demo/broker.key")).mode & 0o777).toBe(0o600);
  const ledger = openLedger({ path: join(base, "demo/ledger.sqlite"), log: pino({ level: "silent" }) });
  const gateway = { group: "xinghua-casting", node: "gw-casting" };
  const { createdMs = 0, expiresMs = 0 } = ledger.token(tokenHash(token)) ?? {};
  expect(expiresMs - createdMs).toBe(7_200_000);
  const times = { issuedMs: Date.now(), expiresMs: Date.now() + 1e9 };
  ledger.addCertificate({ serial: "ABCDEF0123456789", ...gateway, ...times, renews: null, keyHash: "", pem: "" });
  expect((await run("certificates", name)).out).toMatch(/^ABCDEF0123456789 {2}xinghua-casting\/gw-casting .* valid$/m);
  expect((await run("revoke", name)).out).toContain("1 certificates, 1 tokens, its password");
  expect((await run("certificates")).out).toMatch(/ revoked 2\d{3}-/);
  expect(ledger.useToken(tokenHash(token), Date.now())).toBe(false);
  const actions = ledger.audit({ limit: 9 }).map(({ action }) => action);
  expect(actions.slice(0, 3)).toEqual(["credential.revoke", "enrolment.withdraw", "certificate.revoke"]);
  ledger.close();
});

it("makes the broker's certificate, tokens and revocations before its files are there, and while they are broken", {
  timeout: 40_000,
}, async () => {
  const name = "xinghua-casting/gw-casting";
  const run = (...args: string[]) => jilian([...args, "--config", platform]);
  const tls = "tls: { certFile: broker.pem, keyFile: broker.key }";
  edit(platform, /broker: \{ (.*) \}/, `broker: { $1, ${tls} }`);
  edit(platform, "port: 18080", `port: 18080\n  ${tls}\n  enrolment: { brokerHost: mqtt.example }`);
  const [early, check] = await Promise.all([run("enrol", name), run("check")]);
  expect(early.err).toBe("");
  expect(early).toMatchObject({ code: 0, out: expect.stringContaining("certFile cannot be read yet") });
  expect(check).toMatchObject({ code: 2, err: expect.stringContaining("TLS_FILE_UNREADABLE") });
  expect(await run("certificates", "broker", "mqtt.example")).toMatchObject({ code: 0, err: "" });
  expect((await run("check")).code).toBe(0);
  writeFileSync(join(base, "demo/broker.pem"), "broken");
  edit(join(base, "demo/cluster.yaml"), "cluster:", "broken:");
  expect((await run("revoke", name)).out).toContain("1 tokens");
});
