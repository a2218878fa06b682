import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import { readGatewayConfig } from "../config.ts";
import { overheardIn as overheardMeters, requestFrame } from "./dlt645-frame.ts";
import { gatewayDrivers } from "./drivers.ts";
import { crc16 } from "./modbus-frame.ts";
import { overheardIn } from "./rtu-frame.ts";

/** Another master on a line: behind a converter that tells each of its clients all that goes over the wires. */

const never = new AbortController().signal;
const closers: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function frame(text: string): Buffer {
  const body = Buffer.from(text.replaceAll(" ", ""), "hex");
  const crc = crc16(body);
  return Buffer.concat([body, Buffer.of(crc & 0xff, crc >> 8)]);
}
/** What the other master asks of the same unit, of the same function and length as our own request, and what it is told. */
const [foreign, foreignAnswer] = [frame("01 03 0040 0001"), frame("01 03 02 BEEF")];
const [ours, ourAnswer] = [frame("01 03 0007 0001"), frame("01 03 02 0007")];

/** A converter whose line does as the test says with each of our requests to read. */
async function start(onRead: (socket: Socket, reads: number) => void, more = "") {
  let reads = 0;
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    socket.on("data", (chunk) => {
      if (chunk[1] === 0x2b) socket.write(frame("01 AB 01"));
      else if (chunk.equals(ours)) onRead(socket, ++reads);
      else socket.write(frame("01 03 04 0000 0000"));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const checked = readGatewayConfig(
    `group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }
lines: [{ id: bus, kind: tcp, host: 127.0.0.1, port: ${port}, quietMs: 2 }]
devices: [{ id: meter, driver: modbus-rtu, line: bus, unitId: 1, timeoutMs: 1000, ${more}
  tags: [{ name: a, table: holding, address: 7, type: uint16 }] }]\n`,
    "gateway.yaml",
  );
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  const logged: Record<string, unknown>[] = [];
  const log = pino({ level: "warn" }, { write: (text: string) => void logged.push(JSON.parse(text)) });
  const drivers = gatewayDrivers(checked.value, { clock: systemClock, log });
  closers.push(drivers.close);
  const [driver] = checked.value.devices.map(drivers.create);
  await driver?.connect(never);
  // What the connect has read serves the first read.
  await driver?.read(never);
  return {
    told: () => logged.filter(({ code }) => code === "LINE_SECOND_MASTER"),
    stats: () => drivers.lineStats()[0],
    read: async () => (await driver?.read(never))?.[0]?.value,
    say: (bytes: Buffer) => {
      for (const socket of sockets) socket.write(bytes);
    },
  };
}

describe("another master on a line", () => {
  it("that has asked just before us gets its answer, which is not taken for ours", async () => {
    let asked = 0;
    const { read, say, stats, told } = await start((socket, reads) => {
      asked = reads;
      // Its answer comes late enough to meet our request, however long we waited for it.
      socket.write(reads > 1 ? Buffer.concat([foreignAnswer, ourAnswer]) : ourAnswer);
    });
    expect(asked).toBe(1);
    for (let i = 1; i <= 5; i += 1) {
      const before = stats()?.discardedBytes ?? 0;
      say(foreign);
      await until("it is heard", () => (stats()?.discardedBytes ?? 0) === before + foreign.length);
      expect(await read()).toBe(7);
      expect(stats()).toMatchObject({ foreignRequests: i, timeouts: 0 });
      await until(
        "all is read",
        () => (stats()?.discardedBytes ?? 0) >= before + foreign.length + foreignAnswer.length,
      );
    }
    // Told once, and not for a single one that may be noise.
    expect(told()).toMatchObject([{ level: 40, line: "bus", foreignRequests: 3 }]);
  });

  it("is let finish: our request waits for the answer to its own, and not for ever", async () => {
    const { read, say, stats } = await start((socket) => socket.write(ourAnswer));
    say(foreign);
    await until("it is heard", () => stats()?.discardedBytes === foreign.length);
    const [startedMs, exchanges] = [performance.now(), stats()?.exchanges];
    const reading = read();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stats()?.exchanges).toBe(exchanges);
    say(foreignAnswer);
    expect(await reading).toBe(7);
    say(frame("09 03 0040 0001"));
    await until("it is heard", () => stats()?.discardedBytes === foreign.length + foreignAnswer.length + 8);
    expect(await read()).toBe(7);
    expect(performance.now() - startedMs).toBeLessThan(5000);
    expect(stats()).toMatchObject({ foreignRequests: 2, timeouts: 0 });
  });

  it("that has asked behind our answer, in the same segment, does no harm to the next read", async () => {
    const { read, stats } = await start((socket, reads) => {
      if (reads === 2) socket.write(Buffer.concat([ourAnswer, foreign]));
      else socket.write(reads > 2 ? Buffer.concat([foreignAnswer, ourAnswer]) : ourAnswer);
    });
    expect([await read(), await read()]).toEqual([7, 7]);
    expect(stats()).toMatchObject({ foreignRequests: 1, timeouts: 0 });
  });

  it("is not our own echo, with noise before it or without an answer behind it", async () => {
    const { read, stats, told } = await start((socket, reads) => {
      if (reads % 2 === 1) socket.write(Buffer.concat([Buffer.of(0), ours, ourAnswer]));
      else setTimeout(() => socket.write(Buffer.concat([ours, ourAnswer])), 20);
    });
    for (let i = 0; i < 6; i += 1) expect(await read()).toBe(7);
    expect(stats()).toMatchObject({ foreignRequests: 0 });
    expect(told()).toEqual([]);
  });
});

describe("what others ask", () => {
  const rtu = (...texts: string[]) => overheardIn(Buffer.concat(texts.map(frame)));

  it("is counted of Modbus RTU by whole requests, reads and writes, and not by answers", () => {
    expect(rtu("01 03 0040 0002", "01 03 04 0000 BEEF", "02 04 0000 0001")).toEqual({ requests: 2, isAwaiting: true });
    // A write and its answer are the same bytes; of several values they are not.
    expect(rtu("01 06 0001 0003", "01 06 0001 0003")).toEqual({ requests: 1, isAwaiting: false });
    expect(rtu("01 10 0001 0002 04 0001 0002", "01 10 0001 0002")).toEqual({ requests: 1, isAwaiting: false });
    // Nobody answers a broadcast; an answer with three bytes of bits is as long as a request.
    expect(rtu("00 06 0001 0003")).toEqual({ requests: 1, isAwaiting: false });
    expect(rtu("01 01 03 AABBCC", "01 83 02")).toEqual({ requests: 0, isAwaiting: false });
    expect(overheardIn(Buffer.from("FFFF00", "hex"))).toEqual({ requests: 0, isAwaiting: false });
  });

  it("is counted of DL/T 645 by the direction in the control code", () => {
    const request = requestFrame({ meterAddress: "000000000161", dataId: "00010000" });
    expect(overheardMeters(request)).toEqual({ requests: 1, isAwaiting: true });
    const answer = Buffer.from(request.subarray(4));
    answer.writeUInt8(answer.readUInt8(8) | 0x80, 8);
    answer.writeUInt8((answer.readUInt8(answer.length - 2) + 0x80) & 0xff, answer.length - 2);
    expect(overheardMeters(Buffer.concat([request, answer]))).toEqual({ requests: 1, isAwaiting: false });
    // Broadcast time: 68 99..99 68 08.
    const body = Buffer.from("68999999999999680806333333333333", "hex");
    const broadcast = Buffer.concat([
      body,
      Buffer.of(
        body.reduce((sum, byte) => (sum + byte) & 0xff, 0),
        0x16,
      ),
    ]);
    expect(overheardMeters(broadcast)).toEqual({ requests: 1, isAwaiting: false });
  });
});
