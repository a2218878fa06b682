import { afterEach, describe, expect, it } from "vitest";
import { type ModbusServer, type ModbusServerOptions, startModbusServer } from "./modbus-server.ts";
import { createPlant } from "./plant.ts";
import { PROFILE_NAMES, type ProfileName } from "./profiles.ts";
import { connectRaw, type RawClient, until } from "./raw-client.ts";
import type { ByteOrder, Point } from "./register-map.ts";

const START_MS = Date.UTC(2026, 0, 5);
let nowMs = START_MS;
const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const item of opened.splice(0).reverse()) await item.close();
});

async function startServer(
  profile: ProfileName = "copper-casting",
  options: Partial<ModbusServerOptions> = {},
): Promise<{ server: ModbusServer; client: RawClient }> {
  nowMs = START_MS;
  const plant = createPlant({ profile, seed: 7, startMs: START_MS });
  const server = await startModbusServer({ plant, now: () => nowMs, port: 0, ...options });
  opened.push(server);
  const client = await connectRaw(server.port);
  opened.push(client);
  return { server, client };
}

/** Where the bytes of a value, most significant first, stand in an answer: written out by hand for every width. */
const PLACES: Readonly<Record<number, Readonly<Record<ByteOrder, readonly number[]>>>> = {
  1: { ABCD: [0, 1], CDAB: [0, 1], BADC: [1, 0], DCBA: [1, 0] },
  2: { ABCD: [0, 1, 2, 3], CDAB: [2, 3, 0, 1], BADC: [1, 0, 3, 2], DCBA: [3, 2, 1, 0] },
  4: {
    ABCD: [0, 1, 2, 3, 4, 5, 6, 7],
    CDAB: [6, 7, 4, 5, 2, 3, 0, 1],
    BADC: [1, 0, 3, 2, 5, 4, 7, 6],
    DCBA: [7, 6, 5, 4, 3, 2, 1, 0],
  },
};

/** The test's own reading of an answer, with nothing of the server's encoder in it. */
function decode(point: Point, hex: string): bigint | number {
  const bytes = hex.split(" ").map((text) => Number.parseInt(text, 16));
  const ordered = (PLACES[point.quantity]?.[point.order] ?? []).map((place) => bytes[place] ?? 0);
  const view = new DataView(Uint8Array.from(ordered).buffer);
  if (point.type === "float32") return view.getFloat32(0);
  if (point.type === "float64") return view.getFloat64(0);
  const unsigned = ordered.reduce((value, byte) => value * 256n + BigInt(byte), 0n);
  return point.type.startsWith("uint") ? unsigned : BigInt.asIntN(8 * ordered.length, unsigned);
}

const hex16 = (value: number): string => value.toString(16).padStart(4, "0");

async function readRegisters(client: RawClient, point: Point): Promise<string> {
  const functionCode = point.table === "holding" ? "03" : "04";
  const unit = point.unitId.toString(16).padStart(2, "0");
  client.send(`0001 0000 0006 ${unit} ${functionCode} ${hex16(point.address)} ${hex16(point.quantity)}`);
  const header = await client.receive(9);
  const size = (2 * point.quantity).toString(16).padStart(2, "0");
  expect(header).toBe(
    `00 01 00 00 00 ${(3 + 2 * point.quantity).toString(16).padStart(2, "0")} ${unit} ${functionCode} ${size}`,
  );
  return client.receive(2 * point.quantity);
}

describe("reads", () => {
  it.each(PROFILE_NAMES)("give every register of %s as the truth has it, and the log says so", async (profile) => {
    const { server, client } = await startServer(profile);
    nowMs += 3_600_000;
    for (const point of server.plant.map.points.filter(({ type }) => type !== "bool")) {
      const value = decode(point, await readRegisters(client, point));
      expect(value, point.name).toBe(server.plant.truth().registers[point.name]);
      expect(server.served.values({ point: point.name }).map(({ raw }) => raw)).toEqual([value]);
    }
  });

  it("answer golden bytes for a state, in a straight and in a byte-swapped device", async () => {
    const straight = (await startServer("copper-casting")).client;
    straight.send("1234 0000 0006 0b 03 0000 0001");
    expect(await straight.receive(11)).toBe("12 34 00 00 00 05 0b 03 02 00 01");
    const swapped = (await startServer("copper-rolling")).client;
    swapped.send("1235 0000 0006 0b 03 0000 0001");
    expect(await swapped.receive(11)).toBe("12 35 00 00 00 05 0b 03 02 01 00");
  });

  it("answer golden bytes for coils and discrete inputs", async () => {
    const { client } = await startServer();
    client.send("0001 0000 0006 0d 01 0064 0002");
    expect(await client.receive(10)).toBe("00 01 00 00 00 04 0d 01 01 01");
    client.send("0002 0000 0006 0c 02 0003 0002");
    expect(await client.receive(10)).toBe("00 02 00 00 00 04 0c 02 01 01");
    client.send("0003 0000 0006 0b 02 0000 0001");
    expect(await client.receive(10)).toBe("00 03 00 00 00 04 0b 02 01 00");
  });

  it("answer 125 registers at once, all of one instant, with reserved ones as 0", async () => {
    const { server, client } = await startServer();
    nowMs += 5_000;
    client.send("0001 0000 0006 01 03 0064 007d");
    const answer = await client.receive(9 + 250);
    expect(answer.startsWith("00 01 00 00 00 fd 01 03 fa ")).toBe(true);
    expect(answer.split(" ").slice(9 + 20)).toEqual(Array(230).fill("00"));
    const [read] = server.served.reads();
    expect(read).toMatchObject({ sequence: 1, unitId: 1, table: "holding", address: 100, quantity: 125 });
    expect(read).toMatchObject({ client: client.name, timeMs: START_MS + 5_000, delivery: "normal" });
    expect(read?.words.map(hex16).join("")).toBe(answer.replaceAll(" ", "").slice(18));
  });

  it("move with the plant clock", async () => {
    const { server, client } = await startServer();
    const point = server.plant.map.points.find(({ name }) => name === "machine-1/production-total");
    if (point === undefined) throw new Error("no such point");
    const first = decode(point, await readRegisters(client, point));
    nowMs += 60_000;
    expect(Number(decode(point, await readRegisters(client, point)) as bigint)).toBeGreaterThan(Number(first) + 29);
  });
});

describe("exceptions", () => {
  it.each([
    ["an unmapped address", "01 03 0000 0001", "83 02"],
    ["a range that runs into a hole", "01 04 0004 0003", "84 02"],
    ["a range beyond 65535", "01 03 ffff 0002", "83 02"],
    ["a coil where there is none", "0b 01 0001 0001", "81 02"],
    ["a quantity of 0", "01 03 0064 0000", "83 03"],
    ["126 registers", "01 03 0064 007e", "83 03"],
    ["2001 bits", "0b 01 0000 07d1", "81 03"],
    ["a read request cut short", "01 03 0064 00", "83 03"],
    ["a function that is not there", "01 07", "87 01"],
    ["a diagnostic function", "01 08 0000 1234", "88 01"],
    ["encapsulated transport of another kind", "01 2b 0d 00", "ab 01"],
    ["device identification with an unknown code", "01 2b 0e 05 00", "ab 03"],
    ["an unknown identification object", "01 2b 0e 04 07", "ab 02"],
  ])("%s", async (_what, request, exception) => {
    const { server, client } = await startServer();
    const size = request.replaceAll(" ", "").length / 2;
    client.send(`0102 0000 ${hex16(size)} ${request}`);
    expect(await client.receive(9)).toBe(`01 02 00 00 00 03 ${request.slice(0, 2)} ${exception}`);
    expect(server.stats()).toMatchObject({ exceptions: 1, readsAnswered: 0, writesRefused: 0 });
    expect(server.served.reads()).toEqual([]);
  });

  it("refuses each write function with exception 1, counts it, and changes nothing", async () => {
    const { server, client } = await startServer();
    const before = server.plant.truth();
    const writes = [
      "05 0000 ff00",
      "06 0000 0001",
      "0f 0000 0001 01 01",
      "10 0000 0001 02 0001",
      "15 00",
      "16 0000 0000 0001",
    ];
    for (const write of [...writes, "17 0000 0001 0000 0001 02 0001"]) {
      const size = write.replaceAll(" ", "").length / 2 + 1;
      client.send(`0001 0000 ${hex16(size)} 0b ${write}`);
      const code = (Number.parseInt(write.slice(0, 2), 16) | 0x80).toString(16);
      expect(await client.receive(9)).toBe(`00 01 00 00 00 03 0b ${code} 01`);
    }
    expect(server.stats().writesRefused).toBe(7);
    expect(server.plant.truth()).toEqual(before);
  });

  it("a unit that is not there says nothing, or answers 0x0B as a gateway does", async () => {
    const { server, client } = await startServer();
    client.send("0001 0000 0006 63 03 0000 0001");
    client.send("0002 0000 0006 0b 03 0000 0001");
    expect(await client.receive(11)).toBe("00 02 00 00 00 05 0b 03 02 00 01");
    expect(server.stats().unanswered).toBe(1);
    const gateway = (await startServer("copper-casting", { unknownUnits: "gatewayException" })).client;
    gateway.send("0001 0000 0006 63 03 0000 0001");
    expect(await gateway.receive(9)).toBe("00 01 00 00 00 03 63 83 0b");
  });
});

describe("device identification", () => {
  const text = (value: string): string =>
    Buffer.from(value)
      .toString("hex")
      .replaceAll(/(..)(?=.)/g, "$1 ");

  it("gives vendor, product and revision", async () => {
    const { client } = await startServer();
    client.send("0001 0000 0005 02 2b 0e 01 00");
    const objects = `00 10 ${text("Jilian Simulator")} 01 08 ${text("feeder-1")} 02 09 ${text("simulated")}`;
    expect(await client.receive(7 + 7 + 39)).toBe(`00 01 00 00 00 2f 02 2b 0e 01 81 00 00 03 ${objects}`);
  });

  it("gives one object, and a stream from a given object on", async () => {
    const { client } = await startServer();
    client.send("0001 0000 0005 02 2b 0e 04 02");
    expect(await client.receive(25)).toBe(`00 01 00 00 00 13 02 2b 0e 04 81 00 00 01 02 09 ${text("simulated")}`);
    client.send("0002 0000 0005 02 2b 0e 01 02");
    expect(await client.receive(25)).toBe(`00 02 00 00 00 13 02 2b 0e 01 81 00 00 01 02 09 ${text("simulated")}`);
  });
});

describe("the stream", () => {
  const REQUEST = "0001 0000 0006 0b 03 0000 0001";
  const ANSWER = "00 01 00 00 00 05 0b 03 02 00 01";

  it("may come byte by byte", async () => {
    const { client } = await startServer();
    for (const byte of REQUEST.replaceAll(" ", "").match(/../g) ?? []) {
      client.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.receive(11)).toBe(ANSWER);
  });

  it("may come with many requests joined and the last one split", async () => {
    const { server, client } = await startServer();
    const requests = Array.from({ length: 300 }, (_, i) => `${hex16(i)}000000060b0300000001`).join("");
    client.send(requests.slice(0, -6));
    await until("299 answers", () => client.pending() === 299 * 11);
    client.send(requests.slice(-6));
    for (let i = 0; i < 300; i++) {
      const id = `${hex16(i).slice(0, 2)} ${hex16(i).slice(2)}`;
      expect(await client.receive(11)).toBe(`${id} 00 00 00 05 0b 03 02 00 01`);
    }
    expect(server.served.reads().map(({ sequence }) => sequence)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
  });

  it("goes on behind a frame of another protocol", async () => {
    const { server, client } = await startServer();
    client.send(`0009 0007 0006 0b 03 0000 0001 ${REQUEST}`);
    expect(await client.receive(11)).toBe(ANSWER);
    expect(server.stats()).toMatchObject({ foreignFrames: 1, requests: 1 });
  });

  it.each(["0000", "0001", "00ff", "ffff"])(
    "ends at the impossible length %s, after what was answered",
    async (length) => {
      const { server, client } = await startServer();
      client.send(`${REQUEST} 0002 0000 ${length} 0b 03`);
      expect(await client.receive(11)).toBe(ANSWER);
      await client.ended;
      expect(server.stats()).toMatchObject({ brokenFrames: 1, requests: 1 });
      await until("the connection is gone", () => server.stats().connections === 0);
    },
  );

  it("is closed on a client that never reads, and others go on", async () => {
    const { server, client } = await startServer();
    const other = await connectRaw(server.port);
    opened.push(other);
    client.stopReading();
    const flood = "0001000000060103 0064007d".repeat(2000);
    await until(
      "the overflow is noticed",
      () => {
        client.send(flood);
        return server.stats().overflows === 1;
      },
      20_000,
    );
    other.send(REQUEST);
    expect(await other.receive(11)).toBe(ANSWER);
  });
});

describe("the server", () => {
  it("keeps a bounded log and says what it gave up", async () => {
    const { server, client } = await startServer("copper-casting", { maxServedReads: 10 });
    for (let i = 0; i < 25; i++) {
      client.send("0001 0000 0006 0b 03 0000 000a");
      await client.receive(29);
    }
    expect(server.stats()).toMatchObject({ readsAnswered: 25, servedDropped: 15 });
    expect(server.served.reads().map(({ sequence }) => sequence)).toEqual([16, 17, 18, 19, 20, 21, 22, 23, 24, 25]);
    expect(server.served.reads({ after: 20, limit: 2 }).map(({ sequence }) => sequence)).toEqual([21, 22]);
    expect(server.served.values({ after: 24 })).toHaveLength(7);
    expect(server.served.values({ client: "nobody" })).toEqual([]);
  });

  it("reports a port that is taken", async () => {
    const { server } = await startServer();
    const again = startModbusServer({ plant: server.plant, now: () => nowMs, port: server.port });
    await expect(again).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  it("answers reads of 125 registers that come a hundred at once", async () => {
    const { server, client } = await startServer();
    const batch = "0001000000060103 0064007d".repeat(100);
    for (let i = 0; i < 20; i++) {
      nowMs += 100;
      client.send(batch);
      await until("100 answers", () => client.pending() === 100 * 259);
      await client.receive(100 * 259);
    }
    expect(server.stats().readsAnswered).toBe(2000);
  });

  it("closes while clients are connected, and twice", async () => {
    const { server, client } = await startServer();
    await server.close();
    await client.ended;
    await server.close();
    await expect(connectRaw(server.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });
});
