import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokerSchema } from "@jilian/broker/config.ts";
import { type Broker, startBroker } from "@jilian/broker/start.ts";
import { systemClock } from "@jilian/domain/clock.ts";
import { type Authority, hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { connectBus, type MqttBusConfig } from "@jilian/ingest/bus.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { Value } from "typebox/value";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

/** Ingest on a machine of its own, over TLS, with the broker that it will meet. */
describe.skipIf(!hasOpenssl)("ingest and a broker elsewhere, over TLS", () => {
  let dir = "";
  let ca: Authority;
  let other: Authority;
  let broker: Broker;
  const lines: string[] = [];
  const log = pino({ level: "debug" }, { write: (line) => void lines.push(line) });
  const closers: (() => Promise<void> | void)[] = [];
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "jilian-tls-"));
    lines.length = 0;
    ca = makeAuthority(dir, "ca");
    other = makeAuthority(dir, "other");
    const ledger = openLedger({ path: join(dir, "ledger.sqlite"), log });
    closers.push(() => ledger.close());
    ledger.setCredential({ kind: "host", name: "jilian" }, "secret of jilian");
    const tls = { port: 0, minVersion: "TLSv1.2" as const, ...files("live", ca) };
    broker = await startBroker({ ...Value.Create(brokerSchema), tls }, { ledger, log, tlsPollMs: 20 });
    closers.push(broker.close);
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    rmSync(dir, { recursive: true, force: true });
  });

  /** Files that can be replaced, with a certificate of an authority. */
  function files(name: string, authority: Authority) {
    const made = authority.issue(name);
    const live = { certFile: join(dir, `${name}.pem`), keyFile: join(dir, `${name}.key`) };
    copyFileSync(made.certFile, live.certFile);
    copyFileSync(made.keyFile, live.keyFile);
    return live;
  }

  function bus(tls: MqttBusConfig["tls"]) {
    const login = { username: "jilian", password: "secret of jilian", hostId: "jilian" };
    const made = connectBus({ host: "127.0.0.1", port: broker.port, tls, ...login }, systemClock.now, log);
    closers.push(made.close);
    return made;
  }
  const told = (text: string | RegExp) => vi.waitFor(() => expect(lines.join("")).toMatch(text), 5000);

  it("hears the nodes, and takes up a new authority with the next connection", async () => {
    // Without a port of its own given, the one with TLS is the only one.
    expect(broker.port).toBe(broker.tlsPort);
    const caFile = join(dir, "trusted.pem");
    copyFileSync(ca.caFile, caFile);
    const { isConnected } = bus({ caFile });
    await vi.waitFor(() => expect(isConnected?.()).toBe(true), 5000);
    files("live", other);
    await told("renewed certificate of the broker");
    copyFileSync(other.caFile, caFile);
    // The broker starts anew: the connection that comes then is made with the new authority.
    const before = broker.stats().tlsHandshakes;
    expect(before).toBe(1);
    const again = bus({ caFile });
    await vi.waitFor(() => expect(again.isConnected?.()).toBe(true), 5000);
    // One user may have one connection: the first was pushed out and comes back by itself.
    await vi.waitFor(() => expect(broker.stats().tlsHandshakes).toBeGreaterThan(2), 5000);
    expect(lines.join("")).not.toContain("secret of jilian");
  });

  it("refuses a broker it has no reason to trust, tells why once, and sends no password", async () => {
    const { isConnected } = bus({ caFile: other.caFile });
    await told(/"code":"TLS_UNTRUSTED"/);
    await vi.waitFor(() => expect(broker.stats().tlsFailures).toBeGreaterThan(1), 5000);
    expect(isConnected?.()).toBe(false);
    expect(broker.stats()).toMatchObject({ tlsHandshakes: 0, refusedConnects: 0 });
    expect(lines.filter((line) => line.includes('"code":"TLS_UNTRUSTED"'))).toHaveLength(1);
  });

  it("does not start with an authority that is not there", () => {
    expect(() => bus({ caFile: join(dir, "nowhere.pem") })).toThrow(
      expect.objectContaining({ code: "TLS_FILE_UNREADABLE" }),
    );
  });
});
