import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { connect as connectTcp, createServer, type Server } from "node:net";
import { join } from "node:path";
import { levelSwitch } from "@jilian/domain/log-levels.ts";
import { renderMetrics } from "@jilian/domain/metric-rows.ts";
import { readExposition, type Scrape } from "@jilian/domain/test-prometheus.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { startOps } from "./ops.ts";
import { gatewayHealth, gatewayMetrics } from "./ops-metrics.ts";
import type { Gateway } from "./run.ts";
import { type Host, startHost, startRelay } from "./test-host.ts";
import { logLines, programs, type RunningProgram } from "./test-program.ts";

let bench: ReturnType<typeof programs>;
let host: Host;
beforeEach(async () => {
  bench = programs();
  host = await startHost();
});
afterEach(async () => {
  await bench.end();
  await host.close();
});

const silent = pino({ level: "silent" });
/** A port on which nothing listens: the PLC that is not there. */
const deadPort = 9;

function write(more = ""): string {
  const file = join(bench.folder, "gateway.yaml");
  writeFileSync(
    file,
    `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port}, reconnectMinMs: 20, reconnectMaxMs: 100 }
outbox: { path: outbox.db }
devices:
  - id: press
    driver: modbus-tcp
    host: 127.0.0.1
    port: ${deadPort}
    unitId: 1
    retryMinMs: 20
    retryMaxMs: 50
    tags:
      - { name: temperature, table: holding, address: 0, type: int16, unit: °C }
${more}`,
  );
  return file;
}

/** Runs the program with its ops address and waits until it is ready. */
async function run(env: Record<string, string> = {}, more = ""): Promise<RunningProgram & { url: string }> {
  const program = bench.start(["run", "--config", write(more)], { JILIAN__ops__port: "0", ...env });
  await once(program.child, "message");
  await vi.waitFor(() => expect(program.output.out).toContain('"msg":"the gateway runs"'), 5000);
  const line = logLines(program.output.out).find(({ msg }) => msg === "health and metrics listen");
  return { ...program, url: `http://127.0.0.1:${line?.port}` };
}

async function scrape(url: string): Promise<Scrape> {
  const answer = await fetch(`${url}/metrics`);
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return readExposition(await answer.text());
}
const until = (url: string, series: string, value: number) =>
  vi.waitFor(async () => expect((await scrape(url)).value(series)).toBe(value), { timeout: 5000, interval: 50 });

describe("a gateway's process over its ops address", () => {
  test("shows what happens to it: a broker that comes and goes, a PLC that is away", async () => {
    const { url } = await run();
    await until(url, "jilian_gateway_mqtt_connected", 1);
    const fails = async () => expect((await scrape(url)).typeOf("jilian_gateway_device_errors_total")).toBeDefined();
    await vi.waitFor(fails);
    const up = await scrape(url);
    expect(up.value('jilian_gateway_info{group="factory-1",node="gateway-1",version="0.1.0"}')).toBe(1);
    expect(up.value("jilian_gateway_mqtt_connects_total")).toBe(1);
    expect(up.value('jilian_gateway_device_connected{device="press"}')).toBe(0);
    expect(up.value("jilian_gateway_outbox_writable")).toBe(1);
    expect(up.value("jilian_gateway_outbox_pending_records")).toBe(0);
    expect(up.value('jilian_gateway_records_sent_total{kind="backlog"}')).toBe(0);
    expect(up.value("process_resident_memory_bytes")).toBeGreaterThan(1e7);
    expect(up.value("nodejs_eventloop_lag_p99_seconds")).toBeDefined();
    const manual = readFileSync(join(import.meta.dirname, "../docs/operation.md"), "utf8");
    const named = [...new Set(manual.match(/\bjilian_gateway_[a-z_]*[a-z]/g))];
    expect(named.length).toBeGreaterThan(3);
    // It has rows of tags that have lost something, and here is none.
    const absent = /^jilian_gateway_(device_dropped_samples_total$|(opcua_)?certificate_)/;
    const missing = named.filter((name) => up.typeOf(name) === undefined);
    expect(missing).toEqual(named.filter((name) => absent.test(name)));
    const failures = up.value('jilian_gateway_device_failures_total{device="press"}') as number;
    await vi.waitFor(async () => {
      const now = (await scrape(url)).value('jilian_gateway_device_failures_total{device="press"}');
      expect(now).toBeGreaterThan(failures);
    }, 5000);

    await host.close();
    await until(url, "jilian_gateway_mqtt_connected", 0);
    const ready = await fetch(`${url}/health/ready`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({
      status: "ready",
      reasons: [],
      parts: {
        outbox: { ready: true, state: "writable" },
        broker: { ready: true, state: "not connected" },
        devices: { ready: true, state: "1 not connected", detail: { press: false } },
      },
    });
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
    host = await startHost(host.port);
    await until(url, "jilian_gateway_mqtt_connects_total", 2);
  });

  test("is read-only and does not wait for those who are slow, or who send what was not asked for", async () => {
    const { url, child, ended } = await run();
    expect((await fetch(`${url}/metrics`, { method: "POST", body: "x".repeat(100_000) })).status).toBe(405);
    expect((await fetch(`${url}/`)).status).toBe(404);
    // A client that never finishes its request must not hold up the end.
    const slow = connectTcp(Number(new URL(url).port), "127.0.0.1");
    slow.on("error", () => {});
    await once(slow, "connect");
    slow.write("GET /metrics HTTP/1.1\r\n");
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });

  test("goes on collecting when the port of its ops address is taken, and tells it", async () => {
    const server: Server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const { output } = await run({ JILIAN__ops__port: String(port) });
    await host.until("NBIRTH", () => host.ofType("NBIRTH")[0]);
    const told = logLines(output.out).find(({ code }) => code === "OPS_LISTEN_FAILED");
    expect(told).toMatchObject({ level: 50, err: { remedy: expect.stringContaining("ops.port") } });
    server.close();
  });
});

test("a gateway is not ready while its outbox cannot be written, and says why", () => {
  const outbox = {
    pendingRecords: 3,
    pendingBytes: 1,
    oldestWrittenAtMs: 1,
    droppedSamples: 2,
    droppedByReason: { full: 2, age: 0, unwritable: 0 },
    ...{ setAsideRecords: 0, droppedAsideRecords: 0, forgottenDefinitions: 0 },
  };
  const edge = { born: true, connected: true, connects: 1, sentLive: 0, sentBacklog: 0 };
  const counts = { committedRecords: 0, commits: 0, inFlightRecords: 0, suspectRecords: 0 };
  const parts = gatewayHealth({ outbox: { ...outbox, isWritable: false }, edge: { ...edge, ...counts }, devices: [] });
  expect(parts.outbox).toMatchObject({
    ready: false,
    reason: expect.stringContaining("disk"),
    detail: { droppedSamples: 2 },
  });
});

test("the ops address holds few connections, and frees its port at once", async () => {
  const source = { health: async () => ({}), metrics: async () => "" };
  const ops = await startOps({ host: "127.0.0.1", port: 0 }, { source, log: silent });
  const sockets = Array.from({ length: 40 }, () => connectTcp(ops.port, "127.0.0.1"));
  let closed = 0;
  for (const socket of sockets) socket.on("error", () => {}).on("close", () => (closed += 1));
  await vi.waitFor(() => expect(closed).toBe(8), 5000);
  const startedMs = performance.now();
  await ops.close();
  expect(performance.now() - startedMs).toBeLessThan(500);
  await vi.waitFor(() => expect(closed).toBe(40), 5000);
  const again = await startOps({ host: "127.0.0.1", port: ops.port }, { source, log: silent });
  await expect(startOps({ host: "127.0.0.1", port: again.port }, { source, log: silent })).rejects.toMatchObject({
    code: "OPS_LISTEN_FAILED",
  });
  await again.close();
});

describe("the configuration", () => {
  test("is shown as it takes effect, without secrets, and with what the environment changed", async () => {
    writeFileSync(join(bench.folder, "open.password"), "hunter2\n");
    chmodSync(join(bench.folder, "open.password"), 0o644);
    const env = {
      JILIAN__broker__username: "gw",
      JILIAN__broker__password: "hunter2-literal",
      JILIAN__devices__0__unitId: "7",
    };
    const { ended, output } = bench.start(["check", "--print", "--config", write()], env);
    expect(await ended).toBe(0);
    expect(parse(output.out)).toMatchObject({
      broker: { username: "gw", password: "(not shown)", keepaliveMs: 15_000 },
      devices: [{ unitId: 7 }],
    });
    expect(output.out).toContain("unitId: 7 # JILIAN__devices__0__unitId");
    expect(output.err).toMatch(/warning: \/broker\/password: a secret in the configuration/);
    const open = bench.start(["check", "--config", write()], {
      JILIAN__broker__username: "gw",
      JILIAN__broker__passwordFile: "open.password",
    });
    expect(await open.ended).toBe(0);
    expect(open.output.err).toMatch(/chmod 600 open\.password/);
    expect(output.out + output.err + open.output.out + open.output.err).not.toContain("hunter2");
  });

  test("with wrong variables is refused, each named, with the faults of the file", async () => {
    const { ended, output } = bench.start(["run", "--config", write("primaryhost: x\n")], {
      JILIAN__broker__port: "none",
      JILIAN__device__0__id: "x",
    });
    expect(await ended).toBe(2);
    for (const where of ["/primaryhost", "environment JILIAN__broker__port", "environment JILIAN__device__0__id"]) {
      expect(output.err).toContain(where);
    }
    expect(output.err).toContain("3 faults; nothing was started.");
  });

  test("names files of TLS that are not there: a note before, a fault at the start", async () => {
    const env = { JILIAN__broker__tls: "{ caFile: nowhere.pem }" };
    const checked = bench.start(["check", "--config", write()], env);
    expect(await checked.ended).toBe(0);
    expect(checked.output.out).toMatch(/note: \/broker\/tls\/caFile: TLS_FILE_UNREADABLE/);
    const started = bench.start(["run", "--config", write()], env);
    expect(await started.ended).toBe(2);
    expect(started.output.err).toMatch(/\/broker\/tls\/caFile\n {2}found: {4}TLS_FILE_UNREADABLE/);
  });
});

describe("signals", () => {
  test("SIGUSR2 switches debug on and off", async () => {
    const { child, output } = await run();
    const levels = () =>
      logLines(output.out).flatMap((line) => (line.msg === "log level switched" ? [line.logLevel] : []));
    child.kill("SIGUSR2");
    await vi.waitFor(() => expect(levels()).toEqual(["debug"]), 5000);
    child.kill("SIGUSR2");
    await vi.waitFor(() => expect(levels()).toEqual(["debug", "info"]), 5000);
  });

  test("the loggers of devices are switched too, those made before and after", () => {
    const lines: string[] = [];
    const levels = levelSwitch("info");
    const log = pino(
      { level: "info", onChild: (child) => levels.onChild(child) },
      { write: (line) => void lines.push((JSON.parse(line) as { msg: string }).msg) },
    );
    levels.onChild(log);
    const before = log.child({ device: "a" }).child({ part: "b" });
    before.debug("not told");
    levels.force("debug");
    const during = log.child({ device: "c" });
    before.debug("told by the old one");
    during.debug("told by the new one");
    levels.force(undefined);
    before.debug("not told");
    during.debug("not told");
    expect(lines).toEqual(["told by the old one", "told by the new one"]);
  });

  test("the same signal twice at once is one: the end is orderly", async () => {
    const { child, ended } = await run();
    await host.until("NBIRTH", () => host.ofType("NBIRTH")[0]);
    child.kill("SIGINT");
    child.kill("SIGINT");
    expect(await ended).toBe(0);
    expect(host.ofType("NDEATH")).toHaveLength(1);
  });

  test("a second one later ends at once, with code 1", async () => {
    // A network that takes nothing any more: the farewell lasts as long as it may.
    const relay = await startRelay(host.port);
    const { child, ended, output } = await run({ JILIAN__broker__port: String(relay.port) });
    await host.until("NBIRTH", () => host.ofType("NBIRTH")[0]);
    relay.stall();
    child.kill("SIGTERM");
    await vi.waitFor(() => expect(output.out).toContain("the gateway ends"), 5000);
    setTimeout(() => child.kill("SIGTERM"), 300);
    expect(await ended).toBe(1);
    await relay.close();
  });
});

describe("the end", () => {
  test("leaves nothing behind that would keep the process: it ends by itself", async () => {
    const args = [join(import.meta.dirname, "test-exit.ts"), bench.folder, String(host.port)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let closedAtMs = 0;
    child.stdout.on("data", () => {
      closedAtMs = performance.now();
    });
    const [code] = (await once(child, "exit", { signal: AbortSignal.timeout(15_000) })) as [number];
    expect(code).toBe(0);
    expect(performance.now() - closedAtMs).toBeLessThan(1000);
  });

  test.each([
    ["an error that nobody caught", "throw Object.assign(new Error('boom'), { code: 'TEST_BOOM' })"],
    ["a promise that nobody awaited", "Promise.reject(Object.assign(new Error('boom'), { code: 'TEST_BOOM' }))"],
  ])("comes with code 1 and a line that says why after %s: it never limps on", async (_what, fault) => {
    const script = `setInterval(() => { if (globalThis.process.listenerCount("unhandledRejection") > 0) { ${fault} } }, 50)`;
    const program = bench.start(["run", "--config", write()], {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}`,
    });
    expect(await program.ended).toBe(1);
    // Not always the last line: one that is being written when the process ends comes after it.
    const fatal = logLines(program.output.out).filter(({ level }) => level === 60);
    expect(fatal).toHaveLength(1);
    expect(fatal[0]).toMatchObject({ level: 60, code: "TEST_BOOM", err: { message: "boom" }, node: "gateway-1" });
  });
});

test("version tells program, Node.js and schema, without a configuration", async () => {
  const { ended, output } = bench.start(["version"]);
  expect(await ended).toBe(0);
  expect(output.out).toMatch(/^jilian-gateway \d+\.\d+\.\d+\nNode\.js v2\d+\.\d+\.\d+\noutbox schema 5\n$/);
});

test("what the outbox dropped is shown by device and metric", () => {
  const drops = [
    { device: "press", metric: "温度", samples: 3, firstMs: 1, lastMs: 2 },
    { device: "press", metric: 'a"b', samples: 40, firstMs: 1, lastMs: 2 },
  ];
  const outbox = () => ({ droppedByMetric: () => drops });
  const stats = () => {
    throw new Error("asks for nothing else");
  };
  const rows = gatewayMetrics({ outbox, stats }, 1, { now: () => 0, rate: 1 });
  const text = renderMetrics(rows.filter(({ name }) => name === "jilian_gateway_device_dropped_samples_total"));
  expect(text).toContain('jilian_gateway_device_dropped_samples_total{device="press",metric="温度"} 3\n');
  expect(text).toContain('{device="press",metric="a\\"b"} 40\n');
});

test("lines that devices share are shown, under the names that the manual tells", () => {
  const counts = { exchanges: 9, timeouts: 2, discardedBytes: 30, opens: 1, foreignRequests: 4, takeovers: 5 };
  const line = { line: "bus-1", open: true, ...counts };
  const stats = () => ({ lines: [line] }) as unknown as ReturnType<Gateway["stats"]>;
  const rows = gatewayMetrics({ outbox: () => ({ droppedByMetric: () => [] }), stats }, 1, { now: () => 0, rate: 1 });
  const ofLines = rows.filter(({ name }) => name.startsWith("jilian_gateway_line_"));
  const text = renderMetrics(ofLines);
  expect(text).toContain('jilian_gateway_line_timeouts_total{line="bus-1"} 2\n');
  expect(text).toContain('jilian_gateway_line_open{line="bus-1"} 1\n');
  expect(text).toContain('jilian_gateway_line_foreign_requests_total{line="bus-1"} 4\n');
  expect(text).toContain('jilian_gateway_line_takeovers_total{line="bus-1"} 5\n');
  const manual = readFileSync(join(import.meta.dirname, "../docs/operation.md"), "utf8");
  const named = manual.match(/\bjilian_gateway_line_[a-z_]*[a-z]/g) ?? [];
  expect(named.length).toBeGreaterThan(3);
  expect(named.filter((name) => !ofLines.some((row) => row.name === name))).toEqual([]);
});
