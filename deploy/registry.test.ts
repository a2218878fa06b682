import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { type RegistryOptions, registryCommand } from "./registry-command.ts";
import { bench, logLines, type Program, scrape, startEdge, until, usePilot } from "./test-jilian.ts";

usePilot();

const path = (name: string) => join(bench.folder, name);

/** The registry of the pilot with some text replaced, as a file of its own. */
function changed(name: string, ...edits: readonly (readonly [string | RegExp, string])[]): string {
  const text = readFileSync(path("cluster.yaml"), "utf8");
  const after = edits.reduce((now, [from, to]) => now.replace(from, to), text);
  expect(after).not.toBe(text);
  writeFileSync(path(name), after);
  return path(name);
}

type Outcome = { code: number | null; out: string; err: string };

/** Runs the real `jilian registry ...` on the pilot's configuration. */
async function registry(...args: string[]): Promise<Outcome> {
  const { output, ended } = bench.start(["registry", ...args, "--config", bench.config]);
  return { code: await ended, ...output };
}

const refused = new Error("refused");

/** The same command inside this process, on the same ledger: a process takes seconds to start where others are at work. */
async function command(words: string[], options: RegistryOptions = {}, answer?: boolean): Promise<Outcome> {
  const outcome: Outcome = { code: 0, out: "", err: "" };
  const ledger = openLedger({ path: path("ledger.sqlite"), log: pino({ level: "silent" }) });
  try {
    await registryCommand(words, {
      options,
      withLedger: (work) => work(ledger),
      say: (text) => {
        outcome.out += text;
      },
      confirm: answer === undefined ? undefined : async () => answer,
      refuse: (text) => {
        outcome.err = text;
        throw refused;
      },
    });
  } catch (thrown) {
    if (thrown !== refused) throw thrown;
    outcome.code = 2;
  } finally {
    ledger.close();
  }
  return outcome;
}

describe("jilian registry", () => {
  it("tells every fault of a file with its line and applies nothing", async () => {
    const file = changed("bad.yaml", ["demo: true", "demo: maybe"], ["line: melting", "line: moulding"]);
    const applied = await registry("apply", file, "--yes");
    expect(applied).toMatchObject({ code: 2, out: "" });
    expect(applied.err).toMatch(/bad\.yaml:\d+ \/pilot\/demo\n/);
    expect(applied.err).toMatch(
      /devices\/1\/line\n {2}found: {4}"moulding"\n {2}expected: a line of this factory: melting/,
    );
    expect(applied.err).toContain("2 faults; nothing was applied.");
    expect(await command(["check", file])).toMatchObject({ code: 2, err: applied.err.trimEnd() });
    expect((await command(["list"])).out).toContain("no version was applied yet");
    expect(await command(["check", path("no.yaml")])).toMatchObject({
      code: 2,
      err: expect.stringContaining("ENOENT"),
    });
    for (const words of [[], ["apply"], ["diff", "1"], ["list", "all"], ["show", "1", "2"], ["remove", "1"]])
      expect(await command(words), words.join(" ")).toMatchObject({ code: 2, out: "" });
  }, 60_000);

  it("shows what an application changes, asks for --yes, and keeps every version", async () => {
    const first = await registry("apply", path("cluster.yaml"), "--from", "2026-01-05", "--yes", "--note", "首版");
    expect(first).toMatchObject({ code: 0, err: "" });
    expect(first.out).toMatch(/3 工厂 factories, 3 产线 lines.*\n.*in force from: 一直 ever\n/);
    const file = changed("next.yaml", ["ratedPowerKW: 900", "ratedPowerKW: 950"]);
    const day = new Date(Date.now() + 8 * 3_600_000 - 3 * 86_400_000).toISOString().slice(0, 10);
    const dry = await command(["apply", file], { from: day, dryRun: true });
    const shown = [
      "变更 changed  设备 device  xinghua-casting/gw-casting/incoming-meter 总进线电表",
      "    额定功率 ratedPowerKW: 900 -> 950",
      "0 新增 added, 0 移除 removed, 1 变更 changed",
      `自 in force from: ${day}T00:00:00+08:00`,
    ];
    expect(dry.out.split("\n").slice(0, 4)).toEqual(shown);
    expect(dry.out).toMatch(/computed again: 4 天 days.*\n.*dry run: nothing was applied/);
    const unconfirmed = await registry("apply", file);
    expect(unconfirmed).toMatchObject({ code: 2, err: expect.stringContaining("add --yes") });
    expect(await command(["apply", file], {}, false)).toMatchObject({ code: 2 });
    expect(await command(["apply", file], { from: "gestern", yes: true })).toMatchObject({ code: 2 });
    expect(await command(["apply", file], { note: "x".repeat(501), yes: true })).toMatchObject({ code: 2 });
    expect(await command(["apply", file], { from: day }, true)).toMatchObject({ code: 0 });
    const listed = await registry("list");
    expect(listed.out).toMatch(
      /^1 {2}[0-9a-f]{12} {2}一直 ever -> .*曾生效 was in force\n.*首版\n2 {2}\S{12} .*生效中 in force\n/,
    );
    expect((await command(["diff", "1", "newest"])).out.split("\n").slice(0, 3)).toEqual(shown.slice(0, 3));
    expect((await command(["diff", "now", file])).out).toBe("无差异 no difference\n");
    expect((await command(["show", "1"])).out).toContain("ratedPowerKW: 900");
    expect(await command(["apply", file], { yes: true })).toMatchObject({
      out: expect.stringContaining("no difference"),
    });
    const planned = await command(["apply", path("cluster.yaml")], { from: "2999-01-01", yes: true });
    expect(planned.out).toContain("planned: until then");
    expect((await command(["apply", changed("third.yaml", ["铜锭坯", "铜坯"])], { yes: true })).out).toContain(
      "replaces: 3 ",
    );
    const ledger = openLedger({ path: path("ledger.sqlite"), log: pino({ level: "silent" }) });
    expect(ledger.audit({ limit: 9 }).map(({ origin, action }) => `${origin} ${action}`)).toEqual(
      Array.from({ length: 4 }, () => "command registry.apply"),
    );
    ledger.close();
  }, 60_000);
});

async function ask(program: Program, address: string): Promise<Record<string, unknown>> {
  const { apiUrl } = await program.ready;
  const answer = await fetch(`${apiUrl}${address}`, { headers: { authorization: "Bearer visitor.secret-of-it" } });
  expect(answer.status).toBe(200);
  return (await answer.json()) as Record<string, unknown>;
}

const removed = 'jilian_broker_refused_total{code="BROKER_GATEWAY_REMOVED"}';

/** Starts all services, with a key of the open data interface. */
async function running(): Promise<Program> {
  const ledger = openLedger({ path: path("ledger.sqlite"), log: pino({ level: "silent" }) });
  ledger.setCredential({ kind: "api", name: "visitor" }, "secret-of-it");
  ledger.close();
  const program = bench.run();
  await program.ready;
  return program;
}

describe("running services", () => {
  it("take the configured file as the first version, and take up an applied one without a restart", async () => {
    const machine = /( {14}- id: machine-1\n {16}name: 熔炼炉)/;
    const whole = readFileSync(path("cluster.yaml"), "utf8");
    writeFileSync(path("cluster.yaml"), whole.replace("id: machine-1", "id: machine-9"));
    const program = await running();
    const { brokerPort = 0 } = await program.ready;
    const node = startEdge({ port: brokerPort });
    const listed = async () => (await ask(program, "/open/v1/devices?factory=xinghua-casting")) as Devices;
    const id = "xinghua-casting/gw-casting/machine-1";
    await vi.waitFor(async () => expect((await listed()).unregistered.map((d) => d.id)).toEqual([id]), 10_000);
    expect((await listed()).devices.map((d) => d.id)).not.toContain(id);
    writeFileSync(path("whole.yaml"), whole.replace(machine, "$1（新）").replace("铜材熔铸厂", "铜材熔铸新厂"));
    expect(await registry("apply", path("whole.yaml"), "--yes")).toMatchObject({ code: 0 });
    await vi.waitFor(
      async () => {
        node.write(1);
        const { devices, unregistered } = await listed();
        const own = devices.find((d) => d.id === id);
        expect([own?.name, own?.state, unregistered]).toEqual(["熔炼炉（新）", "online", []]);
        expect(own?.firstBirthTime).not.toBeNull();
      },
      { timeout: 10_000, interval: 200 },
    );
    const { version } = await ask(program, "/open/v1/registry");
    expect((await ask(program, "/open/v1/info")).registryVersion).toBe(version);
    expect(version).not.toBe((await ask(program, "/open/v1/registry?asOf=2026-01-01T00:00:00Z")).version);
    const { factories } = (await ask(program, "/open/v1/factories")) as { factories: { name: string }[] };
    expect(factories.map(({ name }) => name)).toContain("铜材熔铸新厂");
    // A gateway that is taken out is cut off and not let in again; put back it goes on.
    const { opsPort } = await program.ready;
    writeFileSync(path("less.yaml"), readFileSync(path("whole.yaml"), "utf8").replaceAll("gw-casting", "gw-new"));
    expect(await command(["apply", path("less.yaml")], { yes: true })).toMatchObject({ code: 0, err: "" });
    const appliedAt = performance.now();
    await until(opsPort, 'jilian_broker_clients_by_kind{kind="gateway"}', 0);
    expect(performance.now() - appliedAt).toBeLessThan(5000);
    await vi.waitFor(async () => expect((await scrape(opsPort)).value(removed)).toBeGreaterThan(0), {
      timeout: 5000,
      interval: 100,
    });
    expect(await command(["apply", path("whole.yaml")], { yes: true })).toMatchObject({ code: 0 });
    await until(opsPort, 'jilian_broker_clients_by_kind{kind="gateway"}', 1);
  }, 60_000);

  it("go on with the ledger's registry when the file was changed and not applied, and say so", async () => {
    const first = await running();
    const { registryVersion } = await ask(first, "/open/v1/info");
    first.child.kill("SIGTERM");
    await once(first.child, "exit");
    changed("cluster.yaml", ["name: 熔炼炉\n", "name: 一号炉\n"]);
    const again = await running();
    expect((await ask(again, "/open/v1/info")).registryVersion).toBe(registryVersion);
    const warned = logLines(again.output.out).filter(({ code }) => code === "REGISTRY_NOT_APPLIED");
    expect(warned).toMatchObject([
      { level: 40, differences: 1, remedy: expect.stringContaining("jilian registry apply") },
    ]);
    const { findings } = (await ask(again, "/open/v1/findings")) as { findings: { code: string }[] };
    expect(findings.map(({ code }) => code)).toContain("REGISTRY_NOT_APPLIED");
  }, 60_000);
});

type Devices = {
  devices: { id: string; name: string; state: string; firstBirthTime: string | null }[];
  unregistered: { id: string }[];
};
