import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { systemClock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Control, type ControlLine, controlPath, startControl } from "./control.ts";
import { asideCommand } from "./control-aside.ts";
import { askGateway } from "./control-client.ts";
import { type OpenedOutbox, openOutbox } from "./outbox.ts";
import { viewAsides } from "./outbox-view.ts";
import { startHost } from "./test-host.ts";
import { type OutboxBench, outboxBench, sample } from "./test-outbox.ts";
import { programs } from "./test-program.ts";

const silent = pino({ level: "silent" });
const noStatus = () => {
  throw new Error("nobody asks for it here");
};
const definition = (name: string, datatype = DataType.Int64) => ({ name, datatype, simulated: false });

/** Writes records and sets them aside; gives their ids as the command takes them. */
function setAside(outbox: OpenedOutbox, records: number): string[] {
  const [a] = outbox.declare("press", [definition("temperature")]) as [number];
  return Array.from({ length: records }, (_, i) => {
    const record = outbox.write("press", [sample(a, 2n ** 60n + BigInt(i))]);
    outbox.setAside(record as NonNullable<typeof record>, "the platform refuses it");
    return `${record?.epoch}:${record?.offset}`;
  });
}

describe("the control socket", () => {
  let bench: OutboxBench;
  let outbox: OpenedOutbox;
  let control: Control;
  const listening = () => vi.waitFor(() => expect(statSync(controlPath(bench.path)).mode & 0o777).toBe(0o600));
  beforeEach(async () => {
    bench = outboxBench();
    outbox = bench.start();
    control = startControl({
      outbox: () => outbox,
      path: bench.path,
      status: noStatus,
      ask: () => false,
      values: () => [],
      log: silent,
    });
    await listening();
  });
  afterEach(async () => {
    await control.close();
    await bench.close();
  });

  /** What a client gets that sends some bytes, and ends there or not. */
  async function say(bytes: string, isEnd = false): Promise<string> {
    const socket = createConnection(controlPath(bench.path));
    await once(socket, "connect");
    socket.on("error", () => undefined);
    if (isEnd) socket.end(bytes);
    else socket.write(bytes);
    return text(socket);
  }

  test("lists, sends again and deletes what was set aside", async () => {
    const ids = setAside(outbox, 3).map((id) => ({ epoch: id.slice(0, 16), offset: Number(id.slice(17)) }));
    const lines: ControlLine[] = [];
    const ask = async (request: Parameters<typeof askGateway>[1]) => {
      lines.length = 0;
      expect(await askGateway(bench.path, request, (line) => lines.push(line))).toBe(true);
      return [...lines];
    };
    expect(await ask({ v: 1, command: "list", ids: "all" })).toMatchObject([
      {
        type: "aside",
        ...ids[0],
        device: "press",
        reason: "the platform refuses it",
        samples: [{ metric: "temperature", value: "1152921504606846976", status: 0 }],
      },
      { type: "aside", ...ids[1] },
      { type: "aside", ...ids[2] },
      { type: "done", records: 3 },
    ]);
    expect(await ask({ v: 1, command: "replay", ids: ids.slice(0, 1) })).toEqual([{ type: "done", records: 1 }]);
    expect(outbox.stats().pendingRecords).toBe(1);
    expect(await ask({ v: 1, command: "drop", ids: "all" })).toEqual([{ type: "done", records: 2 }]);
    expect(outbox.asides(10)).toEqual([]);
  });

  test("replays thousands in steps, between which the gateway goes on; what comes back meanwhile waits for another command", async () => {
    setAside(outbox, 2500);
    let turns = 0;
    const life = setInterval(() => {
      turns += 1;
      // Refused again at once.
      const [again] = outbox.pending(0, 1);
      if (again) outbox.setAside(again.record, "refused again");
    }, 0);
    const lines: ControlLine[] = [];
    await askGateway(bench.path, { v: 1, command: "replay", ids: "all" }, (line) => lines.push(line));
    clearInterval(life);
    expect(turns).toBeGreaterThan(1);
    const records = lines.map((line) => (line.type === "progress" || line.type === "done" ? line.records : -1));
    expect(records.slice(0, 2).every((n, i) => n >= 1000 * (i + 1) && n < 1100 * (i + 1))).toBe(true);
    expect(lines.at(-1)?.type).toBe("done");
    expect(records.at(-1)).toBeGreaterThanOrEqual(2500);
    expect(records.at(-1)).toBeLessThan(3500);
    expect(outbox.stats().droppedSamples).toBe(0);
  });

  test("lists the oldest ten thousand, and says how many there are", async () => {
    setAside(outbox, 1);
    await bench.stop(outbox);
    bench.tamper(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) INSERT INTO set_aside
      SELECT position + i, epoch, "offset" + i, device, written_ms, reason, bytes FROM set_aside, n`);
    outbox = bench.start();
    const lines: ControlLine[] = [];
    await askGateway(bench.path, { v: 1, command: "list", ids: "all" }, (line) => lines.push(line));
    expect(lines).toHaveLength(10_001);
    expect(lines.at(-1)).toEqual({ type: "done", records: 10_000, total: 10_001 });
  });

  test.each([
    ["no JSON", "list\n"],
    ["another version", '{"v":2,"command":"list","ids":"all"}\n'],
    ["an unknown command", '{"v":1,"command":"open","ids":"all"}\n'],
    ["ids that are none", '{"v":1,"command":"drop","ids":[{"epoch":1}]}\n'],
    ["null", "null\n"],
  ])("answers %s with an error and changes nothing", async (_what, request) => {
    setAside(outbox, 1);
    expect(JSON.parse(await say(request))).toMatchObject({ type: "error" });
    expect(outbox.asides(10)).toHaveLength(1);
  });

  test("drops a request that never ends its line, and one that grows beyond its bound", async () => {
    expect(await say('{"v":1,', true)).toBe("");
    expect(await say("x".repeat(1_100_000)).catch(() => "")).toBe("");
    expect(await say('{"v":1,"command":"list","ids":"all"}\n')).toContain("done");
  });

  test("takes the place of one that a killed process left behind, and is gone when it closes", async () => {
    await control.close();
    expect(existsSync(controlPath(bench.path))).toBe(false);
    expect(await askGateway(bench.path, { v: 1, command: "list", ids: "all" }, () => undefined)).toBe(false);
    const at = JSON.stringify(controlPath(bench.path));
    const leave = `require("net").createServer().listen(${at}, () => process.kill(process.pid, "SIGKILL"))`;
    await once(spawn(process.execPath, ["-e", leave]), "exit");
    expect(existsSync(controlPath(bench.path))).toBe(true);
    expect(await askGateway(bench.path, { v: 1, command: "list", ids: "all" }, () => undefined)).toBe(false);
    control = startControl({
      outbox: () => outbox,
      path: bench.path,
      status: noStatus,
      ask: () => false,
      values: () => [],
      log: silent,
    });
    await vi.waitFor(async () => expect(await say('{"v":1,"command":"list","ids":"all"}\n')).toContain("done"));
  });

  test("closes while somebody is connected and says nothing", async () => {
    const socket = createConnection(controlPath(bench.path));
    await once(socket, "connect");
    const closed = once(socket, "close");
    await control.close();
    await closed;
  });

  test("that cannot listen is told and costs nothing else", async () => {
    const lines: Record<string, unknown>[] = [];
    const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const path = join(bench.folder, "x".repeat(120));
    const other = startControl({
      outbox: () => outbox,
      path,
      status: noStatus,
      ask: () => false,
      values: () => [],
      log,
    });
    await vi.waitFor(() => expect(lines.map(({ code }) => code)).toEqual(["CONTROL_UNAVAILABLE"]));
    await other.close();
    // What is no socket is another's file and stays.
    writeFileSync(controlPath(join(bench.folder, "file")), "mine");
    const third = startControl({
      outbox: () => outbox,
      path: join(bench.folder, "file"),
      status: noStatus,
      ask: () => false,
      values: () => [],
      log,
    });
    await vi.waitFor(() => expect(lines).toHaveLength(2));
    await third.close();
    expect(statSync(controlPath(join(bench.folder, "file"))).isFile()).toBe(true);
  });
});

test.each([
  [["replay"], "either --all or the records"],
  [["drop", "--all", "0123456789abcdef:1"], "either --all or the records"],
  [["drop", "everything"], '"everything" is no record'],
  [["list", "0123456789abcdef:1"], "takes no records"],
  [["open"], "is missing"],
  [["list", "--loud"], "--loud"],
])("`aside` refuses %j before it opens anything", async (args, expected) => {
  const said: string[] = [];
  const io = {
    configOf: () => Promise.reject(new Error("opened")),
    print: () => undefined,
    complain: (line: string) => said.push(line),
  };
  expect(await asideCommand([...args, "--config", "gateway.yaml"], io)).toBe(2);
  expect(said.join()).toContain(expected);
});

describe("what is set aside, of a gateway that does not run", () => {
  let bench: OutboxBench;
  const owner = { group: "factory-1", node: "gateway-1" };
  beforeEach(() => {
    bench = outboxBench();
  });
  afterEach(() => bench.close());

  test("is looked at without changing anything, also what a killed process left in its journal", async () => {
    const outbox = bench.start();
    const [id] = setAside(outbox, 1);
    const path = `${bench.path}-copy`;
    for (const suffix of ["", "-wal"]) copyFileSync(bench.path + suffix, path + suffix);
    const before = ["", "-wal"].map((suffix) => readFileSync(path + suffix));
    const { asides: found, total } = viewAsides({ path, ...owner }, 10);
    expect(total).toBe(1);
    expect(found).toMatchObject([
      { device: "press", reason: "the platform refuses it", samples: [{ metric: "temperature", value: 2n ** 60n }] },
    ]);
    expect(`${found[0]?.epoch}:${found[0]?.offset}`).toBe(id);
    expect(["", "-wal"].map((suffix) => readFileSync(path + suffix))).toEqual(before);
    // A power cut before is still one for the gateway that starts next.
    expect(bench.start({ path, bootId: "another boot" }).raisedMs).toBe(2000);
  });

  test("is refused where the file is in use, another gateway's, no outbox, or damaged, which is told and left alone", async () => {
    const view = (node = owner.node) => viewAsides({ path: bench.path, group: owner.group, node }, 10);
    const refused = (code: string) => expect.objectContaining({ code });
    const outbox = bench.start();
    expect(() => view()).toThrow(refused("OUTBOX_LOCKED"));
    await bench.stop(outbox);
    expect(() => view("gateway-2")).toThrow(refused("OUTBOX_OTHER_NODE"));
    writeFileSync(bench.path, Buffer.alloc(50_000, 7));
    expect(() => view()).toThrow(refused("OUTBOX_CORRUPT"));
    expect(readFileSync(bench.path)).toEqual(Buffer.alloc(50_000, 7));
    writeFileSync(bench.path, "");
    expect(() => view()).toThrow(refused("OUTBOX_FOREIGN_FILE"));
    expect(() => viewAsides({ path: bench.folder, ...owner }, 10)).toThrow(refused("OUTBOX_UNOPENABLE"));
  });
});

test("the socket is its user's alone from the very first, whatever files are made as else", async () => {
  const bench = outboxBench();
  const before = process.umask(0);
  const options = { outbox: () => bench.start(), status: noStatus, ask: () => false, values: () => [], log: silent };
  const control = startControl({ ...options, path: bench.path });
  try {
    // It is bound by now, and what is told of it comes later.
    expect(statSync(controlPath(bench.path)).mode & 0o077).toBe(0);
    expect(process.umask()).toBe(0);
    await vi.waitFor(() => expect(statSync(controlPath(bench.path)).mode & 0o777).toBe(0o600));
  } finally {
    process.umask(before);
    await control.close();
    await bench.close();
  }
});

test("a folder that is missing at the start and comes later has its socket then, for its user alone", async () => {
  const bench = outboxBench();
  const path = join(bench.folder, "later", "outbox.db");
  const control = startControl({
    outbox: () => bench.start(),
    path,
    status: noStatus,
    ask: () => false,
    values: () => [],
    retryMs: 20,
    log: silent,
  });
  mkdirSync(join(bench.folder, "later"));
  await vi.waitFor(() => expect(statSync(controlPath(path)).mode & 0o777).toBe(0o600), 8000);
  await control.close();
  expect(existsSync(controlPath(path))).toBe(false);
  await bench.close();
});

test("`aside` asks the running gateway, and opens the file itself when none runs", async () => {
  const bench = programs();
  const host = await startHost();
  const file = join(bench.folder, "gateway.yaml");
  const path = join(bench.folder, "outbox.db");
  writeFileSync(
    file,
    `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port} }
outbox: { path: outbox.db }
devices:
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: 9, unitId: 1, tags: [{ name: temperature, table: holding, address: 0, type: int16 }] }
`,
  );
  const aside = async (...args: string[]) => {
    const { ended, output } = bench.start(["aside", ...args, "--config", file]);
    return { code: await ended, ...output };
  };
  try {
    expect(await aside("list")).toMatchObject({ code: 1, err: expect.stringContaining("there is no outbox") });
    const owner = { group: "factory-1", node: "gateway-1", clock: systemClock, log: silent };
    const outbox = openOutbox({ path, maxBytes: 1e9, fsyncMs: 50, ...owner });
    const [first = "", second = ""] = setAside(outbox, 2);
    await outbox.close();

    const listed = await aside("list");
    expect(listed).toMatchObject({ code: 0, err: "", out: expect.stringContaining(`${first}  press  written 20`) });
    expect(listed.out).toMatch(/the platform refuses it\n.*temperature = "1152921504606846976"/);
    expect(listed.out).toContain("2 records set aside");
    const { child } = bench.start(["run", "--config", file]);
    await once(child, "message");
    const running = await aside("list", "--json");
    expect(running).toMatchObject({ code: 0, err: "" });
    expect(
      running.out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).type),
    ).toEqual(["aside", "aside", "done"]);
    expect(await aside("replay", first)).toMatchObject({ code: 0, out: "1 record to be sent again\n" });
    const data = await host.until("the record, from a device that is not connected", () => host.ofType("DDATA")[0]);
    expect(data.values).toEqual({ temperature: 2n ** 60n });
    expect(await aside("drop", second)).toMatchObject({ code: 0, out: "1 record deleted\n" });
    expect(await aside("list")).toMatchObject({ code: 0, out: "0 records set aside\n" });
  } finally {
    await bench.end();
    await host.close();
  }
}, 60_000);
