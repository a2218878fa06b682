import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ScriptedServer, startScriptedServer, until } from "./cases/scripted-server.ts";
import { type GatewayConfig, readGatewayConfig } from "./config.ts";
import { freePort, openTerminals } from "./drivers/test-ports.ts";
import { difference } from "./reload.ts";
import { type Gateway, startGateway } from "./run.ts";
import { type Host, startHost } from "./test-host.ts";

/** Lines and OPC UA sections that change while a gateway runs: real sockets, a real terminal, and a unit of RTU behind each. */

const hasSocat = spawnSync("socat", ["-V"]).status === 0;
const log = pino({ level: "silent" });
const closers: (() => Promise<unknown> | unknown)[] = [];
let folder: string;
let host: Host;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "jilian-reload-lines-"));
  host = await startHost();
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await host.close();
  rmSync(folder, { recursive: true });
});

async function unit(): Promise<ScriptedServer> {
  const rules = [{ when: "03", send: ["addresses"] }];
  const server = await startScriptedServer({ wire: "rtu", rules });
  closers.push(server.close);
  return server;
}

/** A box that dials whatever port it has until it is let in, again whenever it was cut off, and passes bytes to a unit's line. */
function startBox(registration: string, unitPort: number, first: number) {
  const box = { port: first, connects: 0 };
  const open = new Set<Socket>();
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  function dial(): void {
    if (isClosed) return;
    const socket = connect({ host: "127.0.0.1", port: box.port, noDelay: true });
    open.add(socket);
    socket.on("error", () => undefined);
    socket.once("connect", () => {
      box.connects += 1;
      socket.write(registration);
      const line = connect({ host: "127.0.0.1", port: unitPort, noDelay: true }).on("error", () => undefined);
      socket.pipe(line).pipe(socket);
    });
    socket.once("close", () => {
      open.delete(socket);
      timer = setTimeout(dial, 10);
    });
  }
  dial();
  closers.push(() => {
    isClosed = true;
    clearTimeout(timer);
    for (const socket of open) socket.destroy();
  });
  return box;
}

const pace = "pollIntervalMs: 20, heartbeatMs: 20, timeoutMs: 1000, retryMinMs: 20, retryMaxMs: 100";
const on = (id: string, line: string, address = 7): string =>
  `  - { id: ${id}, driver: modbus-rtu, line: ${line}, unitId: ${address}, ${pace},
      tags: [{ name: level, table: holding, address: ${address}, type: int16 }] }`;

function config(lines: readonly string[], devices: readonly string[], opcua = "{}"): GatewayConfig {
  const list = lines.map((line) => `\n  - { ${line} }`).join("");
  const checked = readGatewayConfig(
    `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port}, reconnectMinMs: 10, reconnectMaxMs: 50 }
outbox: { path: ${join(folder, "outbox.db")}, fsyncMs: 20 }
opcua: ${opcua}
lines:${lines.length === 0 ? " []" : list}
devices:
${devices.join("\n")}
`,
    "gateway.yaml",
  );
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  return checked.value;
}

function start(initial: GatewayConfig): Gateway {
  const gateway = startGateway(initial, { log, clock: systemClock });
  closers.push(gateway.close);
  return gateway;
}

const statsOf = (gateway: Gateway, id: string) => {
  const found = gateway.stats().devices.find(({ device }) => device === id);
  if (found === undefined) throw new Error(`${id} is not collected`);
  return found;
};
/** A reading with that value which came after now. */
async function read(id: string, value = 7): Promise<void> {
  const sinceMs = performance.now();
  await host.until(`${id} read`, () =>
    host.ofType("DDATA", id).find(({ values, atMs }) => values.level === value && atMs > sinceMs),
  );
}
/** Does something in which these devices must not notice anything: they are read on by the same driver, and no poll fails. */
async function undisturbed<T>(gateway: Gateway, ids: readonly string[], act: () => Promise<T>): Promise<T> {
  const before = ids.map((id) => statsOf(gateway, id));
  const done = await act();
  for (const id of ids) await read(id);
  for (const { device, polls } of before) {
    const now = statsOf(gateway, device);
    // A device that was begun anew counts from 0.
    expect(now.polls).toBeGreaterThan(polls);
    expect(now).toMatchObject({ connects: 1, failures: 0, connected: true });
    expect(host.ofType("DDEATH", device)).toEqual([]);
  }
  return done;
}

const tcp = (id: string, { port }: ScriptedServer, more = "") =>
  `id: ${id}, kind: tcp, host: 127.0.0.1, port: ${port}, quietMs: 2${more}`;
const listening = (id: string, port: number, more = "") =>
  `id: ${id}, kind: listen, host: 127.0.0.1, port: ${port}, registration: box-${id}, quietMs: 2${more}`;

describe("two configurations", () => {
  const opcua = `  - { id: mill, driver: opcua, endpointUrl: "opc.tcp://h:4840", tags: [{ name: a, nodeId: "ns=1;s=a", type: int32 }] }`;
  const lines = ["id: a, kind: serial, path: /dev/ttyS0", "id: b, kind: tcp, host: h, port: 1"];
  const devices = [on("one", "a"), on("two", "b"), opcua];

  test("differ by line, with the devices on it", () => {
    const before = config(lines, devices);
    const changed = difference(before, config([`${lines[0]}, parity: even`, lines[1] as string], devices));
    expect(changed).toMatchObject({ whole: [], lines: ["a"], added: [], changed: ["one"], removed: [] });
    const swapped = config(lines.toReversed(), devices.toReversed());
    expect(difference(before, swapped)).toMatchObject({ whole: [], lines: [], changed: [] });
    const other = config(
      [lines[0] as string, "id: c, kind: tcp, host: h, port: 1"],
      [on("one", "a"), on("two", "c"), opcua],
    );
    expect(difference(before, other)).toMatchObject({ whole: [], lines: ["b", "c"], changed: ["two"] });
    const none = config([lines[0] as string], [on("one", "a"), opcua]);
    expect(difference(before, none)).toMatchObject({ whole: [], lines: ["b"], changed: [], removed: ["two"] });
  });

  test("differ by what OPC UA devices share, and only they begin anew", () => {
    const before = config(lines, devices);
    const after = config(lines, devices, "{ acceptUnknownCertificates: true }");
    expect(difference(before, after)).toMatchObject({ whole: [], opcua: true, lines: [], changed: ["mill"] });
  });
});

describe("a gateway that runs", () => {
  test("adds, changes and removes lines while devices on others, and on none, are read on", async () => {
    const [first, second, third, plc] = [
      await unit(),
      await unit(),
      await unit(),
      await startScriptedServer({ rules: [{ when: "03", send: ["addresses"] }] }),
    ];
    closers.push(plc.close);
    const press = `  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: ${plc.port}, unitId: 1, ${pace},
      tags: [{ name: level, table: holding, address: 7, type: int16 }] }`;
    const still = [on("meter", "east"), press];
    const gateway = start(
      config([tcp("east", first), tcp("west", second)], [...still, on("saw", "west"), on("mill", "west", 9)]),
    );
    for (const id of ["meter", "press", "saw"]) await read(id);
    await read("mill", 9);
    const connections = [first.counts.connections, plc.counts.connections];

    const changed = config(
      [tcp("east", first), tcp("west", second, ", turnaroundMs: 1")],
      [...still, on("saw", "west"), on("mill", "west", 9)],
    );
    const found = await undisturbed(gateway, ["meter", "press"], () => gateway.reload(changed));
    expect(found).toMatchObject({ whole: [], lines: ["west"], changed: ["saw", "mill"] });
    await read("saw");
    await read("mill", 9);

    const added = config(
      [tcp("north", third), tcp("east", first)],
      [...still, on("saw", "north"), on("oven", "east", 3)],
    );
    expect(await undisturbed(gateway, ["meter", "press"], () => gateway.reload(added))).toMatchObject({
      lines: ["east", "west", "north"].filter((id) => id !== "east"),
      changed: ["saw"],
      added: ["oven"],
      removed: ["mill"],
    });
    await read("saw");
    await read("oven", 3);
    // Behind them is the connection that "press" has to its PLC.
    expect(gateway.stats().lines.map(({ line, open }) => [line, open])).toEqual([
      ["north", true],
      ["east", true],
      [expect.stringMatching(/^127\.0\.0\.1:\d+$/), true],
    ]);
    await until("the line that is gone lets its converter go", () => second.counts.open === 0);
    const asked = second.requests.length;

    const one = config([tcp("east", first)], still);
    await undisturbed(gateway, ["meter", "press"], () => gateway.reload(one));
    expect(second.requests.length).toBe(asked);
    expect([first.counts.connections, plc.counts.connections]).toEqual(connections);
  });

  test("keeps a port that boxes dial while lines on it change, and moves another to where its box dials from now on", async () => {
    const [a, b, c] = [await unit(), await unit(), await unit()];
    const [port, from, to] = [await freePort(), await freePort(), await freePort()];
    const boxes = {
      a: startBox("box-a", a.port, port),
      b: startBox("box-b", b.port, port),
      c: startBox("box-c", c.port, from),
    };
    const devices = [on("on-a", "a"), on("on-b", "b"), on("on-c", "c")];
    const gateway = start(config([listening("a", port), listening("b", port), listening("c", from)], devices));
    for (const id of ["on-a", "on-b", "on-c"]) await read(id);
    const dialled = boxes.b.connects;

    const changed = config(
      [listening("a", port), listening("b", port, ", turnaroundMs: 1"), listening("c", to)],
      devices,
    );
    boxes.c.port = to;
    const found = await undisturbed(gateway, ["on-a"], () => gateway.reload(changed));
    expect(found).toMatchObject({ whole: [], lines: ["b", "c"], changed: ["on-b", "on-c"] });
    await read("on-b");
    await read("on-c");
    expect(boxes.a.connects).toBe(1);
    expect(boxes.b.connects).toBeGreaterThan(dialled);
    // The old port is free again, and only that.
    const taken = await Promise.allSettled(
      [from, port].map(async (at) => {
        const server = createServer().listen(at, "127.0.0.1");
        closers.push(() => server.close());
        await once(server, "listening");
      }),
    );
    expect(taken.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  });

  test("lets a box in at once that dials while the only line of its port, without a registration, is exchanged", async () => {
    const [a, port] = [await unit(), await freePort()];
    const line = `id: a, kind: listen, host: 127.0.0.1, port: ${port}, quietMs: 2`;
    const box = startBox("", a.port, port);
    const gateway = start(config([line], [on("on-a", "a")]));
    await read("on-a");
    for (let i = 1; i <= 5; i += 1) {
      const sinceMs = performance.now();
      await gateway.reload(config([`${line}, turnaroundMs: ${i}`], [on("on-a", "a")]));
      await read("on-a");
      // A socket that nobody knows is kept waiting for ten seconds.
      expect(performance.now() - sinceMs).toBeLessThan(8000);
    }
    expect(box.connects).toBeLessThan(20);
  });
});

/** A terminal behind which the unit's line lies. */
async function plug(path: string, { port }: ScriptedServer): Promise<() => Promise<void>> {
  const target = `tcp:127.0.0.1:${port}`;
  const child = spawn("socat", ["-d", "-d", `pty,raw,echo=0,link=${path}`, target], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const closed = once(child, "close");
  let said = "";
  child.stderr.on("data", (text: Buffer) => {
    said += text.toString("utf8");
  });
  await until("socat has its terminal", () => said.includes("starting data transfer"));
  const unplug = async () => {
    child.kill("SIGKILL");
    await closed;
  };
  closers.push(unplug);
  return unplug;
}

describe.skipIf(!hasSocat)(`a serial line${hasSocat ? "" : " (skipped: socat is not installed)"}`, () => {
  test("that a configuration takes away and gives back, and that is unplugged in between, disturbs no other", async () => {
    const [first, second] = [await unit(), await unit()];
    const path = join(folder, "port");
    const serial = `id: bus, kind: serial, path: ${path}, baudRate: 115200`;
    const before = openTerminals();
    const unplug = await plug(path, second);
    const both = config([tcp("east", first), serial], [on("meter", "east"), on("saw", "bus")]);
    const one = config([tcp("east", first)], [on("meter", "east")]);
    const gateway = start(both);
    await read("meter");
    await read("saw");
    await undisturbed(gateway, ["meter"], () => gateway.reload(one));
    await until("no descriptor is left", () => openTerminals() <= before);
    await undisturbed(gateway, ["meter"], async () => {
      await gateway.reload(both);
      await read("saw");
    });
    await undisturbed(gateway, ["meter"], async () => {
      await unplug();
      await until("it is noticed", () => !statsOf(gateway, "saw").connected);
      // As long as the adapter is away, a reload neither waits for it nor gives it up.
      await gateway.reload(
        config([tcp("east", first), `${serial}, turnaroundMs: 1`], [on("meter", "east"), on("saw", "bus")]),
      );
      await plug(path, second);
      await read("saw");
    });
    await undisturbed(gateway, ["meter"], () => gateway.reload(one));
    await until("no descriptor is left", () => openTerminals() <= before);
  });
});
