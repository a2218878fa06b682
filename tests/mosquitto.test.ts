/** mosquitto in place of the platform's broker, with the documented configuration and access file (docs/brokers.md). */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@jilian/deploy/demo/prepare.ts";
import type { Running } from "@jilian/deploy/processes.ts";
import { hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { openLink } from "@jilian/gateway/edge-link.ts";
import { connectBus } from "@jilian/ingest/bus.ts";
import { silent, until } from "@jilian/ingest/test-world.ts";
import { connectAsync, type MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { hasMosquitto, noMosquitto, startMosquitto, writeMosquitto } from "./mosquitto.ts";

const passwords = { jilian: "secret of ingest", "f1/gw-1": "secret of f1", "f2/gw-1": "secret of f2" } as const;
type Account = keyof typeof passwords;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), "mosquitto-"));
  closers.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Starts it; it must listen at these ports and no other. */
async function start(path: string, ports: readonly number[]): Promise<Running> {
  const opened: number[] = [];
  const running = startMosquitto(path, (line) => {
    const [, port] = /Opening ipv[46] listen socket on port (\d+)/.exec(line) ?? [];
    if (port !== undefined) opened.push(Number(port));
  });
  closers.push(() => running.kill());
  await running.ready;
  expect(opened).toEqual(ports);
  return running;
}

/** Everything that a client hears, and a way to know that what was sent before has been routed. */
async function clientOf(port: number, name: Account, clientId: string = name) {
  const client: MqttClient = await connectAsync(`mqtt://127.0.0.1:${port}`, {
    ...{ username: name, password: passwords[name], clientId, reconnectPeriod: 0 },
  });
  closers.push(() => client.endAsync(true));
  const heard: string[] = [];
  client.on("message", (topic, payload) => heard.push(`${topic} ${payload}`));
  return { client, heard };
}

describe.skipIf(!hasMosquitto)(`mosquitto${noMosquitto}`, () => {
  it("lets each gateway tell its own and hear its own commands, nobody without an account, and no client take another's place", async () => {
    const dir = folder();
    const port = await freePort();
    await start(writeMosquitto({ dir, port, hostId: "jilian", passwords }), [port]);
    const url = `mqtt://127.0.0.1:${port}`;
    for (const account of [{}, { username: "jilian", password: "wrong" }, { username: "f3/gw-1", password: "" }])
      await expect(connectAsync(url, { ...account, reconnectPeriod: 0 }), JSON.stringify(account)).rejects.toThrow();

    const one = await clientOf(port, "f1/gw-1");
    const two = await clientOf(port, "f2/gw-1");
    const host = await clientOf(port, "jilian");
    await host.client.subscribeAsync("spBv1.0/#", { qos: 1 });
    // It grants any filter, and hands out what the rules allow.
    await one.client.subscribeAsync(["#", "$SYS/#", "spBv1.0/f2/#", "spBv1.0/+/NCMD/+"], { qos: 1 });
    await two.client.subscribeAsync(["spBv1.0/f2/NCMD/gw-1", "spBv1.0/f2/DCMD/gw-1/+", "spBv1.0/STATE/+"], { qos: 1 });

    const own = ["NBIRTH/gw-1", "DBIRTH/gw-1/d", "NDATA/gw-1", "DDATA/gw-1/d", "DDEATH/gw-1/d", "NDEATH/gw-1"];
    const notOwn = [
      ...own.map((rest) => `spBv1.0/f2/${rest}`),
      ...["spBv1.0/f1/NDATA/gw-2", "spBv1.0/f1/DDATA/gw-2/d", "spBv1.0/f1/DDATA/gw-1/d/e", "spBv1.0/f1/NDATA/gw-1/d"],
      ...["spBv1.0/f1/NCMD/gw-1", "spBv1.0/f2/NCMD/gw-1", "spBv1.0/f2/DCMD/gw-1/d", "spBv1.0/STATE/jilian", "other"],
      ...["$SYS/x", "$sparkplug/certificates/spBv1.0/f1/NBIRTH/gw-1", "spBv1.0/f1/XDATA/gw-1"],
    ];
    for (const topic of [...notOwn, ...own.map((rest) => `spBv1.0/f1/${rest}`)])
      await one.client.publishAsync(topic, "of f1", { qos: 1 });
    // What a host may, and what it may not.
    for (const topic of [
      "spBv1.0/f1/NDATA/gw-1",
      "spBv1.0/f1/DCMD/gw-1/d",
      "spBv1.0/STATE/other",
      "spBv1.0/f1/NCMD/gw-1",
    ])
      await host.client.publishAsync(topic, "of jilian", { qos: 1 });
    for (const topic of ["spBv1.0/f2/NCMD/gw-1", "spBv1.0/STATE/jilian"])
      await host.client.publishAsync(topic, "last", { qos: 1 });
    for (const { heard } of [one, two, host])
      await until(() => heard.some((text) => text.endsWith("last")), "the last");
    expect(host.heard).toEqual([
      ...own.map((rest) => `spBv1.0/f1/${rest} of f1`),
      "spBv1.0/f1/NCMD/gw-1 of jilian",
      "spBv1.0/f2/NCMD/gw-1 last",
      "spBv1.0/STATE/jilian last",
    ]);
    expect(two.heard).toEqual(["spBv1.0/f2/NCMD/gw-1 last", "spBv1.0/STATE/jilian last"]);
    // It may hear what it told itself as little as another's.
    expect(new Set(one.heard)).toEqual(new Set(["spBv1.0/f1/NCMD/gw-1 of jilian", "spBv1.0/STATE/jilian last"]));

    // Under another's id it takes nobody's place but its own.
    const gone = new Set<string>();
    for (const [name, { client }] of Object.entries({ one, two, host })) client.on("close", () => gone.add(name));
    await clientOf(port, "f1/gw-1", "f2/gw-1");
    await until(() => gone.has("one"), "its own old connection");
    expect([...gone]).toEqual(["one"]);
  });

  it.skipIf(!hasOpenssl)(
    "carries a gateway over TLS and ingest beside it; ingest hears the factories of its filters, and no retained birth",
    async () => {
      const dir = folder();
      const [port, tlsPort] = [await freePort(), await freePort()];
      const authority = makeAuthority(dir, "authority");
      const issued = authority.issue("mosquitto", { names: "IP:127.0.0.1" });
      const path = writeMosquitto({ dir, port, tls: { port: tlsPort, ...issued }, hostId: "jilian", passwords });
      const broker = await start(path, [port, tlsPort]);
      const retained = await clientOf(port, "f1/gw-1");
      await retained.client.publishAsync("spBv1.0/f1/NBIRTH/gw-1", "of some day", { qos: 1, retain: true });
      await retained.client.endAsync();

      const heard: string[] = [];
      const account = { username: "jilian", password: passwords.jilian, hostId: "jilian" };
      const bus = connectBus({ host: "127.0.0.1", port, ...account, filters: ["spBv1.0/f1/#"] }, Date.now, silent);
      closers.push(() => bus.close());
      bus.onMessage((topic, payload) => {
        // What it says itself it hears too.
        if (/\/N(BIRTH|DATA)\//.test(topic)) heard.push(`${topic} ${Buffer.from(payload).toString()}`);
      });
      await bus.announce?.();
      await until(() => bus.isConnected?.() === true, "ingest");

      const commands: string[] = [];
      const linkOf = (name: "f1/gw-1" | "f2/gw-1", more: { caFile: string }) => {
        const [group, node] = name.split("/");
        return openLink({
          broker: {
            host: "127.0.0.1",
            port: tlsPort,
            tls: more,
            username: name,
            password: passwords[name],
            keepaliveMs: 15_000,
          },
          clientId: name,
          will: { topic: `spBv1.0/${group}/NDEATH/${node}`, payload: Buffer.from("death") },
          filters: [`spBv1.0/${group}/NCMD/${node}`, `spBv1.0/${group}/DCMD/${node}/+`, "spBv1.0/STATE/jilian"],
          onMessage: (topic) => void commands.push(topic),
          onDrain: () => undefined,
          signal: AbortSignal.timeout(20_000),
        });
      };
      const other = makeAuthority(dir, "another authority");
      await expect(linkOf("f1/gw-1", other)).rejects.toMatchObject({ code: expect.stringMatching(/^TLS_/) });
      const [one, two] = [await linkOf("f1/gw-1", authority), await linkOf("f2/gw-1", authority)];
      await until(() => commands.filter((topic) => topic === "spBv1.0/STATE/jilian").length === 2, "STATE, retained");
      await two.publish("spBv1.0/f2/NDATA/gw-1", Buffer.from("2"), 1);
      await one.publish("spBv1.0/f1/NDATA/gw-1", Buffer.from("1"), 1);
      await bus.publish("spBv1.0/f1/NCMD/gw-1", Buffer.from("x"), { qos: 0, retain: false });
      await until(() => commands.includes("spBv1.0/f1/NCMD/gw-1") && heard.length > 0, "both ways");
      expect(heard).toEqual(["spBv1.0/f1/NDATA/gw-1 1"]);

      // It is killed and comes again: ingest finds it, and answers for its STATE, which was nowhere on disk.
      await broker.kill();
      expect(await one.closed).not.toBe("");
      await until(() => bus.isConnected?.() === false, "the loss");
      await start(path, [port, tlsPort]);
      await until(() => bus.isConnected?.() === true, "ingest again");
      commands.length = 0;
      await linkOf("f1/gw-1", authority);
      await until(() => commands.includes("spBv1.0/STATE/jilian"), "STATE again");
    },
  );
});
