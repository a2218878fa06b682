import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parseSimulateArguments } from "./arguments.ts";
import { opcuaCertificatePath } from "./opcua-pki.ts";
import { PROFILE_NAMES } from "./profiles.ts";
import { connectRaw } from "./raw-client.ts";
import { registerMapOf } from "./register-map.ts";
import { scaledNow, startSimulator } from "./simulator.ts";

const PROGRAM = fileURLToPath(new URL("./simulate.ts", import.meta.url));
const ORIGIN_MS = Date.UTC(2026, 0, 5);

type Ready = { type: string; ports: number[]; controlPort?: number };

async function start(...args: string[]) {
  const child = fork(PROGRAM, args, { stdio: ["ignore", "pipe", "pipe", "ipc"] });
  const exited = once(child, "exit");
  const output: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => output.push(chunk));
  const [ready] = (await Promise.race([once(child, "message"), exited])) as [Ready];
  return { child, exited, ready, output: () => Buffer.concat(output).toString("utf8") };
}

async function runToEnd(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, [code]] = await Promise.all([child.stdout.toArray(), child.stderr.toArray(), once(child, "close")]);
  return { code, out: Buffer.concat(out).toString("utf8"), err: Buffer.concat(err).toString("utf8") };
}

describe("simulate", () => {
  it.each(["SIGINT", "SIGTERM"] as const)("says ready, serves, and ends within a second on %s", async (signal) => {
    const { child, exited, ready, output } = await start("--port", "0", "--control-port", "0", "--seed", "7");
    expect(ready).toMatchObject({ type: "ready", ports: [expect.any(Number)], controlPort: expect.any(Number) });
    const client = await connectRaw(ready.ports[0] ?? 0);
    client.send("0001 0000 0006 0b 03 0000 0001");
    expect(await client.receive(11)).toBe("00 01 00 00 00 05 0b 03 02 00 01");
    const plants = await fetch(`http://127.0.0.1:${ready.controlPort}/plants`);
    expect(await plants.json()).toMatchObject([{ id: "copper-casting-7", stats: { readsAnswered: 1 } }]);
    const beganMs = performance.now();
    child.kill(signal);
    expect(await exited).toEqual([0, null]);
    expect(performance.now() - beganMs).toBeLessThan(1000);
    expect(output()).toContain("incoming-meter/energy-import");
    expect(output()).toContain(`-p ${ready.ports[0]} 127.0.0.1`);
    await client.ended;
  });

  it("serves plants over the protocols that are wanted, and loads OPC UA only then", async () => {
    const folder = mkdtempSync(join(tmpdir(), "jilian-simulate-"));
    const passwordFile = join(folder, "password");
    writeFileSync(passwordFile, "a secret\n");
    const hook = `import{registerHooks}from"node:module";registerHooks({resolve(name,about,next){
      if(name==="node-opcua-server")process.send({type:"loaded"});return next(name,about)}})`;
    const watched = { execArgv: ["--import", `data:text/javascript,${encodeURIComponent(hook)}`] };
    const messages = async (...args: string[]) => {
      const child = fork(PROGRAM, args, { ...watched, stdio: ["ignore", "ignore", "inherit", "ipc"] });
      const told: (Ready & { opcua?: ({ endpointUrl: string; certificatePath: string } | null)[] })[] = [];
      const ready = new Promise<void>((resolve) => {
        child.on("message", (message: Ready) => {
          told.push(message);
          if (message.type === "ready") resolve();
        });
      });
      const exited = once(child, "exit");
      await Promise.race([ready, exited]);
      child.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
      return told;
    };
    expect((await messages("--port", "0")).map(({ type }) => type)).toEqual(["ready"]);
    const opcua = ["--opcua-base-port", "0", "--opcua-pki", folder, "--opcua-user", "gateway"];
    const several = ["--plants", "3", "--base-port", "0", "--protocols", "modbus,opcua,both"];
    const told = await messages(...several, ...opcua, "--opcua-password-file", passwordFile);
    expect(told.map(({ type }) => type)).toEqual(expect.arrayContaining(["loaded", "ready"]));
    const ready = told.at(-1);
    expect(ready?.ports).toEqual([expect.any(Number), null, expect.any(Number)]);
    expect(ready?.opcua).toEqual([
      null,
      ...["aluminium-extrusion-2", "copper-rolling-3"].map((id) => ({
        endpointUrl: expect.stringMatching(/^opc\.tcp:\/\/127\.0\.0\.1:\d+$/),
        certificatePath: opcuaCertificatePath(join(folder, id)),
      })),
    ]);
    expect(readFileSync(opcuaCertificatePath(join(folder, "copper-rolling-3")), "utf8")).toContain("BEGIN CERTIFICATE");
    rmSync(folder, { recursive: true });
  });

  it("ends when its parent's channel does", async () => {
    const { child, exited } = await start("--plants", "3", "--base-port", "0");
    child.disconnect();
    expect(await exited).toEqual([0, null]);
  });

  it("agrees with a plant of the same seed and clock in another process", async () => {
    const startedRealMs = Date.now() - 5000;
    const clock = ["--rate", "100", "--origin-ms", `${ORIGIN_MS}`, "--started-real-ms", `${startedRealMs}`];
    const { child, exited, ready } = await start("--port", "0", "--control-port", "0", "--seed", "3", ...clock);
    await using own = await startSimulator({
      plants: [{ profile: "copper-casting", seed: 3, startMs: ORIGIN_MS }],
      now: scaledNow({ rate: 100, originMs: ORIGIN_MS, startedRealMs }),
    });
    const response = await fetch(`http://127.0.0.1:${ready.controlPort}/truth?plant=copper-casting-3`);
    const theirs = (await response.json()) as { timeMs: number; meters: unknown };
    expect(theirs.timeMs).toBeGreaterThan(ORIGIN_MS + 500_000);
    expect(theirs.meters).toEqual(own.plants[0]?.truthAt(theirs.timeMs).meters);
    child.kill("SIGTERM");
    await exited;
  });

  it("ends with 2 and tells every fault of its arguments", async () => {
    const { code, err } = await runToEnd(
      "--profile",
      "zinc",
      "--port",
      "70000",
      "--rate=0",
      "--bogus",
      "extra",
      "--seed",
    );
    expect(code).toBe(2);
    for (const fault of [
      /--profile: found "zinc"/,
      /--port: found "70000"/,
      /--rate/,
      /--bogus: no such/,
      /extra/,
      /--seed: needs/,
    ]) {
      expect(err).toMatch(fault);
    }
  });

  it("ends with 1 and the reason where its port is taken", async () => {
    await using own = await startSimulator({ plants: [{ profile: "copper-casting", seed: 1 }], now: Date.now });
    const { code, err } = await runToEnd("--port", `${own.ports[0]}`);
    expect(code).toBe(1);
    expect(err).toMatch(/EADDRINUSE/);
  });

  it.each(PROFILE_NAMES)("prints the map of %s as JSON", async (profile) => {
    const { code, out } = await runToEnd("--profile", profile, "--print-map", "json");
    expect(code).toBe(0);
    const map = JSON.parse(out) as { points: { name: string; modulus: string | null }[]; opcua: { points: unknown } };
    expect(map.opcua.points).toContainEqual(
      expect.objectContaining({
        name: "machine-1/production-total",
        nodeId: "nsu=urn:jilian:simulator;s=machine-1.total",
      }),
    );
    expect(map.points.map(({ name }) => name)).toEqual(registerMapOf(profile).points.map(({ name }) => name));
    expect(map.points.find(({ name }) => name === "feeder-3/energy-import")?.modulus).toBe("1000000");
  });
});

describe("parseSimulateArguments", () => {
  it("deals out profiles, seeds and ports to several plants", () => {
    const parsed = parseSimulateArguments(["--plants", "4", "--profile", "copper-rolling", "--seed", "5"], 1000);
    if ("errors" in parsed) throw new Error(parsed.errors.join());
    expect(parsed.value.plants.map(({ profile, seed, port, startMs }) => [profile, seed, port, startMs])).toEqual([
      ["copper-rolling", 5, 15_020, 1000],
      ["copper-casting", 6, 15_021, 1000],
      ["aluminium-extrusion", 7, 15_022, 1000],
      ["copper-rolling", 8, 15_023, 1000],
    ]);
  });

  it("deals out protocols in turn, each plant keeping its place among the ports", () => {
    const args = ["--plants", "4", "--protocols", "modbus,opcua,both", "--opcua-base-port", "4841"];
    const parsed = parseSimulateArguments(args, 1000);
    if ("errors" in parsed) throw new Error(parsed.errors.join());
    expect(parsed.value.plants.map(({ port, opcuaPort }) => [port, opcuaPort])).toEqual([
      [15_020, null],
      [null, 4842],
      [15_022, 4843],
      [15_023, null],
    ]);
  });

  it.each([
    [["--port", "1", "--plants", "2"], /--base-port/],
    [["--base-port", "65535", "--plants", "2"], /base-port/],
    [["--control-port", "-1"], /control-port/],
    [["--unknown-units", "shout"], /silent, gatewayException/],
    [["--help=yes", "--print-map", "x"], /columns, markdown/],
    [["--protocols", "modbus,bacnet"], /modbus, opcua, both/],
    [["--opcua-base-port", "65536"], /opcua-base-port/],
    [["--opcua-user", "gateway"], /goes with --opcua-password-file/],
  ])("refuses %j", (args, reason) => {
    const parsed = parseSimulateArguments(args, 1000);
    expect("errors" in parsed ? parsed.errors.join("\n") : "accepted").toMatch(reason);
  });
});
