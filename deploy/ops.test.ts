import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { opsAnswers } from "@jilian/domain/ops.ts";
import { hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { readRegistry } from "@jilian/store/registry.ts";
import { connectAsync } from "mqtt";
import { pino } from "pino";
import { Registry } from "prom-client";
import { describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { readPlatformConfig, serviceNames } from "./config.ts";
import { platformSource } from "./ops-platform.ts";
import { startPlatform } from "./platform.ts";
import { storePaths } from "./stores.ts";
import { bench, closers, gateway, logLines, scrape, secrets, startEdge, until, usePilot } from "./test-jilian.ts";

usePilot();
const label = `gateway="${gateway.group}/${gateway.node}"`;

describe("a platform's process over its ops address", () => {
  it("counts what happens: readings on their way to the store, who is refused, what is asked", async () => {
    const { ready, output, child, ended } = bench.run();
    const { brokerPort, opsPort, apiUrl } = await ready;
    const before = await scrape(opsPort);
    expect(before.value(`jilian_ingest_gateway_online{${label}}`)).toBe(0);
    expect(before.value("jilian_ingest_stored_samples_total")).toBe(0);
    expect(before.value('jilian_ingest_devices{state="never"}')).toBe(21);

    const { write, outbox } = startEdge({ port: brokerPort as number });
    await until(opsPort, `jilian_ingest_gateway_online{${label}}`, 1);
    write(7);
    await vi.waitFor(() => expect(outbox.stats().pendingRecords).toBe(0), 10_000);
    const after = await until(opsPort, "jilian_ingest_stored_samples_total", 14);
    expect(after.value("jilian_ingest_received_samples_total")).toBeGreaterThanOrEqual(14);
    expect(after.value("jilian_ingest_commit_notices_total")).toBeGreaterThanOrEqual(1);
    expect(after.value("jilian_ingest_conflicting_samples_total")).toBe(0);
    expect(after.value("jilian_ingest_live_age_seconds_count")).toBe(7);
    expect(after.value("jilian_ingest_store_write_duration_seconds_count")).toBeGreaterThanOrEqual(1);
    expect(after.value(`jilian_ingest_gateway_online{${label}}`)).toBe(1);
    expect(after.value('jilian_ingest_devices{state="online"}')).toBe(1);
    expect(after.value("jilian_broker_clients")).toBe(1);
    expect(after.value("jilian_broker_received_bytes_total")).toBeGreaterThan(500);
    expect(after.value("jilian_broker_sent_messages_total")).toBeGreaterThanOrEqual(1);
    expect(after.value("jilian_store_up")).toBe(1);
    expect(after.value("jilian_store_last_transaction")).toBe(after.value("jilian_ingest_store_transactions_total"));
    expect(after.value('jilian_store_file_bytes{store="ledger"}')).toBeGreaterThan(1000);
    expect(after.value("jilian_kpi_up")).toBe(1);
    await until(opsPort, "jilian_kpi_lag_transactions", 0);

    const login = { username: `${gateway.group}/${gateway.node}`, password: "wrong", reconnectPeriod: 0 };
    await expect(connectAsync(`mqtt://127.0.0.1:${brokerPort}`, login, false)).rejects.toThrow();
    await until(opsPort, 'jilian_broker_refused_total{code="BROKER_BAD_CREDENTIALS"}', 1);
    await fetch(`${apiUrl}/health/live`);
    await fetch(`${apiUrl}/open/v1/info`);
    await until(opsPort, 'jilian_api_requests_total{method="GET",route="/health/live",status="200"}', 1);
    await until(opsPort, 'jilian_api_requests_total{method="GET",route="/open/v1/info",status="401"}', 1);

    const health = await fetch(`http://127.0.0.1:${opsPort}/health/ready`);
    expect([health.status, await health.json()]).toMatchObject([
      200,
      { status: "ready", reasons: [], parts: { broker: {}, ledger: {}, store: {}, bus: {}, kpi: {}, api: {} } },
    ]);

    // The page for operators names nothing that is not there; without TLS there is no certificate.
    const manual = readFileSync(new URL("../docs/operation.md", import.meta.url), "utf8");
    const named = new Set(manual.match(/\bjilian_(?:ingest|kpi|store|broker|api)_[a-z_]*[a-z]/g));
    named.delete("jilian_broker_tls_certificate_expiry_timestamp_seconds");
    named.delete("jilian_ingest_gateway");
    const all = await scrape(opsPort);
    expect(named.size).toBeGreaterThan(20);
    expect([...named].filter((name) => all.typeOf(name) === undefined)).toEqual([]);

    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    // What was confirmed is there after the end, and in a copy of the folder: that is a backup.
    const backup = `${bench.folder}-backup`;
    cpSync(bench.folder, backup, { recursive: true });
    closers.push(async () => rmSync(backup, { recursive: true }));
    const again = bench.start(["run", "broker", "ingest", "--config", join(backup, "platform.yaml")]);
    const { opsPort: port } = await again.ready;
    expect((await scrape(port)).value("jilian_store_last_transaction")).toBe(
      after.value("jilian_store_last_transaction"),
    );
    again.child.kill("SIGTERM");
    expect(await again.ended).toBe(0);
    for (const text of [output.out, output.err, again.output.out, again.output.err]) {
      for (const secret of Object.values(secrets)) expect(text).not.toContain(secret);
    }
  });

  it("is not ready without its broker, and ready again with it, where that is another process", async () => {
    const free = createServer().listen(0, "127.0.0.1");
    await once(free, "listening");
    const { port } = free.address() as { port: number };
    free.close();
    const env = { JILIAN__broker__port: String(port) };
    const broker = bench.run(["broker"], env);
    const { opsPort: brokerOps } = await broker.ready;
    const remote = `{ port: ${port}, username: jilian, passwordFile: host.password }`;
    const ingest = bench.run(["ingest", "api"], { ...env, JILIAN__remoteBroker: remote });
    const { opsPort } = await ingest.ready;
    await until(opsPort, "jilian_ingest_connected", 1);
    await until(brokerOps, "jilian_broker_clients", 1);
    expect((await scrape(brokerOps)).series().some((name) => name.startsWith("jilian_ingest"))).toBe(false);

    broker.child.kill("SIGKILL");
    await until(opsPort, "jilian_ingest_connected", 0);
    const health = await fetch(`http://127.0.0.1:${opsPort}/health/ready`);
    expect([health.status, await health.json()]).toMatchObject([
      503,
      { status: "not ready", reasons: [expect.stringContaining("bus: no connection to the broker")] },
    ]);
    expect((await fetch(`http://127.0.0.1:${opsPort}/health/live`)).status).toBe(200);
    await broker.ended;
    await bench.run(["broker"], env).ready;
    await until(opsPort, "jilian_ingest_connected", 1);
    expect(ingest.output.out).not.toContain(secrets.host);
  });

  it("is not ready when a store does not answer, and tells which", async () => {
    const config = readPlatformConfig(readFileSync(bench.config, "utf8"), "p", serviceNames);
    const registry = readRegistry(readFileSync(join(bench.folder, "cluster.yaml"), "utf8"), "c");
    if (!config.ok || !registry.ok) throw new Error("wrong configuration");
    const log = pino({ level: "silent" });
    const common = { registry: registry.value, clock: systemClock };
    const platform = await startPlatform(serviceNames, config.value, {
      ...common,
      clockSetting: undefined,
      log,
      baseDir: bench.folder,
    });
    closers.push(platform.close);
    const paths = storePaths(config.value, bench.folder);
    const watched = { running: platform.running, ...common, paths, version: "0" };
    const answer = opsAnswers(platformSource(watched, new Registry()));
    expect(await answer("GET", "/health/ready")).toMatchObject({ status: 200 });
    await platform.running.telemetry?.close();
    const ready = await answer("GET", "/health/ready");
    expect([ready.status, JSON.parse(ready.body)]).toMatchObject([503, { parts: { store: { ready: false } } }]);
    expect((await answer("GET", "/metrics")).body).toContain("jilian_store_up 0\n");
  });

  it("refuses to start when its port is taken", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const { ended, output } = bench.run(["broker"], { JILIAN__ops__port: String(port) });
    expect(await ended).toBe(1);
    expect(logLines(output.out).filter(({ level }) => level === 60)).toMatchObject([{ code: "OPS_LISTEN_FAILED" }]);
    taken.close();
  });
});

describe.skipIf(!hasOpenssl)("TLS by configuration", () => {
  it("carries a gateway's readings, with files relative to the configuration and no listener without TLS", async () => {
    const ca = makeAuthority(bench.folder, "ca");
    const { certFile, keyFile } = ca.issue("broker");
    copyFileSync(certFile, join(bench.folder, "broker.pem"));
    copyFileSync(keyFile, join(bench.folder, "broker.key"));
    writeFileSync(
      bench.config,
      "dataDir: .\nregistry: cluster.yaml\nbroker: { tls: { port: 0, certFile: broker.pem, keyFile: broker.key } }\nops: { port: 0 }\napi: { port: 0 }\n",
    );
    const { ready } = bench.run(["broker", "ingest"]);
    const { brokerPort, opsPort } = await ready;
    const { write, outbox } = startEdge({ port: brokerPort as number, tls: { caFile: ca.caFile } });
    write(3);
    await vi.waitFor(() => expect(outbox.stats().pendingRecords).toBe(0), 10_000);
    const found = await until(opsPort, "jilian_ingest_stored_samples_total", 6);
    expect(found.value("jilian_broker_tls_handshakes_total")).toBe(1);
    expect(found.value("jilian_broker_tls_certificate_expiry_timestamp_seconds")).toBeGreaterThan(Date.now() / 1000);
  });

  it("names files that are not there, as faults of the configuration", async () => {
    const { ended, output } = bench.run([], { JILIAN__broker__tls: "{ certFile: a.pem, keyFile: a.key }" });
    expect(await ended).toBe(2);
    expect(output.err).toMatch(/\/broker\/tls\/certFile\n {2}found: {4}TLS_FILE_UNREADABLE/);
  });
});

describe("the configuration", () => {
  it("is shown as it takes effect, without secrets, and with what the environment changed", async () => {
    const { ended, output } = bench.start(["check", "--print", "--config", bench.config], {
      JILIAN__api__port: "9090",
      JILIAN__logLevels: "{ broker: debug }",
      JILIAN__remoteBroker: "{ username: jilian, passwordFile: host.password }",
    });
    expect(await ended).toBe(0);
    expect(output.out).toContain("port: 9090 # JILIAN__api__port");
    expect(parse(output.out)).toMatchObject({
      api: { port: 9090 },
      ingest: { hostId: "jilian" },
      logLevels: { broker: "debug" },
      remoteBroker: { passwordFile: "host.password" },
    });
  });

  it("with wrong variables is refused, each named, with the faults of both files", async () => {
    const { ended, output } = bench.run([], { JILIAN__api__prt: "1", JILIAN__logLevels__broker: "loud" });
    expect(await ended).toBe(2);
    expect(output.err).toContain("environment JILIAN__api__prt /api/prt");
    expect(output.err).toContain("environment JILIAN__logLevels__broker /logLevels/broker");
    expect(output.err).toContain("2 faults; nothing was started.");
  });

  it("version tells program, Node.js and schemas", async () => {
    const { ended, output } = bench.start(["version"]);
    expect(await ended).toBe(0);
    expect(output.out).toMatch(
      /^jilian \d+\.\d+\.\d+\nNode\.js v2\d\.\d+\.\d+\ntelemetry schema \d+\nledger schema \d+\n$/,
    );
  });
});

describe("logs", () => {
  it("follow the level of a service, and SIGUSR2 switches debug on and off in all of them", async () => {
    const { ready, output, child } = bench.run(["broker"], { JILIAN__logLevels: "{ broker: warn }" });
    const { brokerPort } = await ready;
    const ofBroker = (level: number) =>
      logLines(output.out).filter((line) => line.service === "broker" && line.level === level).length;
    const switched = () => logLines(output.out).flatMap((line) => (line.logLevel ? [line.logLevel] : []));
    expect(ofBroker(30)).toBe(0);
    child.kill("SIGUSR2");
    await vi.waitFor(() => expect(switched()).toEqual(["debug"]), 5000);
    startEdge({ port: brokerPort as number });
    await vi.waitFor(() => expect(ofBroker(30)).toBe(1), 5000);
    child.kill("SIGUSR2");
    await vi.waitFor(() => expect(switched()).toEqual(["debug", "info"]), 5000);
    // Stable fields in every line.
    for (const line of logLines(output.out)) {
      expect(line).toMatchObject({ level: expect.any(Number), time: expect.any(Number), name: expect.any(String) });
    }
  });
});

describe("the end", () => {
  it("leaves nothing behind that would keep the process: it ends by itself", async () => {
    const program = new URL("./test-exit.ts", import.meta.url).pathname;
    const child = spawn(process.execPath, [program, bench.config], { stdio: ["ignore", "pipe", "inherit"] });
    let closedAtMs = 0;
    child.stdout.on("data", () => {
      closedAtMs = performance.now();
    });
    const [code] = (await once(child, "exit", { signal: AbortSignal.timeout(20_000) })) as [number];
    expect(code).toBe(0);
    expect(performance.now() - closedAtMs).toBeLessThan(2000);
  });

  it("is orderly when the signal comes amid the start, and when it comes twice at once", async () => {
    const { child, ended, output } = bench.run();
    await vi.waitFor(() => expect(output.out).toContain("broker listens"), 10_000);
    child.kill("SIGINT");
    child.kill("SIGINT");
    expect(await ended).toBe(0);
    expect(logLines(output.out).filter(({ msg }) => msg === "ending")).toHaveLength(1);
  });

  it.each([
    ["an error that nobody caught", "throw Object.assign(new Error('boom'), { code: 'TEST_BOOM' })"],
    ["a promise that nobody awaited", "Promise.reject(Object.assign(new Error('boom'), { code: 'TEST_BOOM' }))"],
  ])("comes with code 1 and a line that says why after %s: it never limps on", async (_what, fault) => {
    const started = "import('node:worker_threads').then(({ isMainThread }) => { if (!isMainThread) return;";
    const script = `${started} setInterval(() => { if (process.listenerCount("SIGTERM") > 0) { ${fault} } }, 50) })`;
    const program = bench.run(["broker"], {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}`,
    });
    expect(await program.ended).toBe(1);
    // Not always the last line: one that is being written when the process ends comes after it.
    const fatal = logLines(program.output.out).filter(({ level }) => level === 60);
    expect(fatal).toMatchObject([{ level: 60, code: "TEST_BOOM", name: "jilian" }]);
  });
});
