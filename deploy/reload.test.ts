/** SIGHUP to the platform's process: what it takes up, and that nobody loses a connection by it. */
import { type EventEmitter, once } from "node:events";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { connectAsync } from "mqtt";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { bench, closers, logLines, secrets, startEdge, until, usePilot } from "./test-jilian.ts";

usePilot();

describe("SIGHUP", () => {
  it("takes up the broker's limits without ending a connection, and refuses a file with faults", async () => {
    const { ready, output, child } = bench.run(["broker"]);
    const { brokerPort, opsPort } = await ready;
    startEdge({ port: brokerPort as number });
    await until(opsPort, 'jilian_broker_clients_by_kind{kind="gateway"}', 1);
    const write = (broker: string) =>
      writeFileSync(bench.config, readFileSync(bench.config, "utf8").replace(/broker: .*/, `broker: ${broker}`));
    const hangUp = async (expected: RegExp) => {
      const from = output.out.length;
      child.kill("SIGHUP");
      await vi.waitFor(() => expect(output.out.slice(from)).toMatch(expected), 5000);
    };
    write("{ port: 0, limits: { subscriptions: none } }");
    await hangUp(/CONFIG_REFUSED.*limits\/subscriptions/);
    write("{ port: 0, connectTimeoutMs: 5000, maxConnections: 1, limits: { subscriptions: 7 } }");
    await hangUp(/"later":\["\/broker\/connectTimeoutMs"\]/);
    const second = { username: "jilian", password: secrets.host, clientId: "jilian", reconnectPeriod: 0 };
    await expect(connectAsync(`mqtt://127.0.0.1:${brokerPort}`, second, false)).rejects.toThrow();
    const after = await until(opsPort, 'jilian_broker_dropped_connections_total{reason="connections"}', 1);
    expect(after.value('jilian_broker_clients_by_kind{kind="gateway"}')).toBe(1);
    expect(after.value("jilian_broker_takeovers_total")).toBe(0);
  });

  it("is taken up, and the end too, by a process whose log nobody reads any more", async () => {
    const { ready, child, ended } = bench.run(["broker"]);
    await ready;
    child.stdout?.destroy();
    for (let i = 0; i < 20; i += 1) child.kill("SIGHUP");
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });

  it.skipIf(!hasOpenssl)(
    "takes up certificates; what others change of accounts counts without it; no connection is lost",
    async () => {
      const ca = makeAuthority(bench.folder, "ca");
      const put = (name: string) => {
        const { certFile, keyFile } = ca.issue(name);
        copyFileSync(certFile, join(bench.folder, "live.pem"));
        copyFileSync(keyFile, join(bench.folder, "live.key"));
      };
      put("first");
      const tls = "certFile: live.pem, keyFile: live.key";
      const sections = [
        `broker: { tls: { port: 0, ${tls} } }`,
        "ops: { port: 0 }",
        `api: { port: 0, tls: { ${tls} } }`,
      ];
      writeFileSync(bench.config, ["dataDir: .", "registry: cluster.yaml", ...sections, ""].join("\n"));
      const { ready, child, output } = bench.run();
      const { brokerPort = 0, opsPort, apiUrl = "" } = await ready;
      const { write, outbox } = startEdge({ port: brokerPort, tls: { caFile: ca.caFile } });
      await until(opsPort, 'jilian_broker_clients_by_kind{kind="gateway"}', 1);

      const trusted = readFileSync(ca.caFile, "utf8");
      const extra = { kind: "host", name: "extra" } as const;
      const connect = async (password: string) => {
        const login = { username: extra.name, clientId: extra.name, password, ca: trusted, reconnectPeriod: 0 };
        const client = await connectAsync(`mqtts://127.0.0.1:${brokerPort}`, login, false);
        closers.push(() => client.endAsync(true));
        return { closed: once(client as unknown as EventEmitter, "close", { signal: AbortSignal.timeout(5000) }) };
      };
      const ledger = openLedger({ path: join(bench.folder, "ledger.sqlite"), log: pino({ level: "silent" }) });
      closers.push(async () => ledger.close());
      await expect(connect("first secret")).rejects.toThrow();
      ledger.setCredential(extra, "first secret");
      const replaced = await connect("first secret");
      ledger.setCredential(extra, "second secret");
      await replaced.closed;
      await expect(connect("first secret")).rejects.toThrow();
      const withdrawn = await connect("second secret");
      ledger.revokeCredential(extra.kind, extra.name);
      await withdrawn.closed;
      await expect(connect("second secret")).rejects.toThrow();

      const shown = async (port: number) => {
        const socket = connectTls({ port, host: "127.0.0.1", ca: trusted });
        await once(socket, "secureConnect");
        const { subject } = socket.getPeerCertificate();
        socket.destroy();
        return subject.CN;
      };
      const both = () => Promise.all([brokerPort, Number(new URL(apiUrl).port)].map(shown));
      expect(await both()).toEqual(["first", "first"]);
      put("second");
      child.kill("SIGHUP");
      await vi.waitFor(async () => expect(await both()).toEqual(["second", "second"]), 4000);
      write(1);
      await vi.waitFor(() => expect(outbox.stats().pendingRecords).toBe(0), 10_000);
      const came = logLines(output.out).filter(({ msg, kind }) => msg === "client connected" && kind === "gateway");
      expect(came).toHaveLength(1);
    },
  );
});
