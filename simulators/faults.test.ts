import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FaultSpec, parseFaultSpec } from "./faults.ts";
import { type ModbusServer, startModbusServer } from "./modbus-server.ts";
import { createPlant } from "./plant.ts";
import { connectRaw, type RawClient, until } from "./raw-client.ts";

const START_MS = Date.UTC(2026, 0, 5);
let nowMs = START_MS;
let server: ModbusServer;
let client: RawClient;

beforeEach(async () => {
  nowMs = START_MS;
  const plant = createPlant({ profile: "copper-casting", seed: 7, startMs: START_MS });
  server = await startModbusServer({ plant, now: () => nowMs, port: 0 });
  client = await connectRaw(server.port);
});

afterEach(async () => {
  client.close();
  await server.close();
});

const STATE = (id: string, unit = "0b"): string => `${id} 0000 0006 ${unit} 03 0000 0001`;
const STATE_OF_1 = (id: string): string => `${id} 00 00 00 05 0b 03 02 00 01`;
/** Machine 3: state at holding 4000 of unit 13, bytes swapped in this profile. */
const MACHINE_3 = (id: string): string => `${id} 0000 0006 0d 03 0fa0 0001`;
const STATE_OF_3 = (id: string): string => `${id} 00 00 00 05 0d 03 02 01 00`;
const TOTAL = "0001 0000 0006 0b 03 0002 0002";

async function readTotal(): Promise<number> {
  client.send(TOTAL);
  return Number.parseInt((await client.receive(13)).replaceAll(" ", "").slice(18), 16);
}

describe("cut", () => {
  it("resets all connections and new ones until it is cleared", async () => {
    await server.startFault({ kind: "cut" });
    expect(await client.ended).toBe("ECONNRESET");
    // The reset may overtake the client's own notice of being connected.
    const again = connectRaw(server.port).then(
      ({ ended }) => ended,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(await again).toBe("ECONNRESET");
    expect(server.stats().requests).toBe(0);
    expect(await server.clearFaults()).toBe(1);
    client = await connectRaw(server.port);
    client.send(STATE("0001"));
    expect(await client.receive(11)).toBe(STATE_OF_1("00 01"));
  });

  it("closes the port with `refuse`, and opens the same one again", async () => {
    await server.startFault({ kind: "cut", refuse: true });
    expect(await client.ended).toBe("ECONNRESET");
    await expect(connectRaw(server.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await server.clearFaults();
    client = await connectRaw(server.port);
    client.send(STATE("0001"));
    expect(await client.receive(11)).toBe(STATE_OF_1("00 01"));
  });

  it("of one unit resets the connection that asks it, after what was answered before", async () => {
    await server.startFault({ kind: "cut", unitId: 11 });
    client.send(`${MACHINE_3("0001")} ${STATE("0002")} ${MACHINE_3("0003")}`);
    expect(await client.receive(11)).toBe(STATE_OF_3("00 01"));
    expect(await client.ended).toBe("ECONNRESET");
    expect(server.served.reads().map(({ unitId }) => unitId)).toEqual([13]);
    expect(server.stats().unsent).toBe(1);
  });
});

describe("silent", () => {
  it("of one unit leaves the others alone", async () => {
    const fault = await server.startFault({ kind: "silent", unitId: 11 });
    client.send(`${STATE("0001")} ${MACHINE_3("0002")}`);
    expect(await client.receive(11)).toBe(STATE_OF_3("00 02"));
    expect(server.stats().unanswered).toBe(1);
    expect(server.faults()).toEqual([fault]);
    await server.clearFaults("id" in fault ? fault.id : -1);
    client.send(STATE("0003"));
    expect(await client.receive(11)).toBe(STATE_OF_1("00 03"));
  });

  it("of the server answers nobody, and is spent after `times` requests", async () => {
    await server.startFault({ kind: "silent", times: 2 });
    client.send(`${STATE("0001")} ${MACHINE_3("0002")} ${STATE("0003")}`);
    expect(await client.receive(11)).toBe(STATE_OF_1("00 03"));
    expect(client.pending()).toBe(0);
    expect(server.faults()).toEqual([]);
  });
});

describe("freeze", () => {
  it("keeps the values of its moment while the truth goes on", async () => {
    const first = await readTotal();
    nowMs += 60_000;
    await server.startFault({ kind: "freeze", unitId: 11 });
    nowMs += 60_000;
    const frozen = await readTotal();
    expect(frozen).toBe(Number(server.plant.truthAt(START_MS + 60_000).registers["machine-1/production-total"]));
    expect(frozen).toBeGreaterThan(first + 29);
    expect(server.served.reads()[1]).toMatchObject({ timeMs: nowMs, valuesTimeMs: START_MS + 60_000 });
    expect(Number(server.plant.truth().registers["machine-1/production-total"])).toBeGreaterThan(frozen + 29);
    await server.clearFaults();
    expect(await readTotal()).toBe(Number(server.plant.truth().registers["machine-1/production-total"]));
  });
});

describe("slow", () => {
  it("takes its time for each answer, one after the other, while other units answer at once", async () => {
    await server.startFault({ kind: "slow", unitId: 11, delayMs: 60 });
    const beganMs = performance.now();
    client.send(`${STATE("0001")} ${STATE("0002")} ${MACHINE_3("0003")}`);
    expect(await client.receive(11)).toBe(STATE_OF_3("00 03"));
    expect(performance.now() - beganMs).toBeLessThan(60);
    expect(await client.receive(22)).toBe(`${STATE_OF_1("00 01")} ${STATE_OF_1("00 02")}`);
    // Timers may fire up to a millisecond early.
    expect(performance.now() - beganMs).toBeGreaterThan(117);
  });

  it("answers with the values of the moment of answering", async () => {
    await server.startFault({ kind: "slow", delayMs: 40 });
    client.send(TOTAL);
    await until("the request is taken", () => server.stats().requests === 1);
    nowMs += 60_000;
    await client.receive(13);
    expect(server.served.reads()[0]).toMatchObject({ timeMs: START_MS + 60_000, delivery: "normal" });
  });

  it("leaves nothing behind when the server closes", async () => {
    await server.startFault({ kind: "slow", delayMs: 600_000 });
    client.send(STATE("0001"));
    await until("the request is taken", () => server.stats().requests === 1);
    await server.close();
    await client.ended;
    expect(server.stats().readsAnswered).toBe(0);
  });
});

describe("exception", () => {
  it("strikes a unit, or reads that touch a range", async () => {
    await server.startFault({ kind: "exception", code: 6, unitId: 13 });
    await server.startFault({ kind: "exception", code: 4, unitId: 11, table: "holding", address: 3, quantity: 2 });
    client.send(MACHINE_3("0001"));
    expect(await client.receive(9)).toBe("00 01 00 00 00 03 0d 83 06");
    client.send("0002 0000 0006 0b 03 0000 0004");
    expect(await client.receive(9)).toBe("00 02 00 00 00 03 0b 83 04");
    client.send("0003 0000 0006 0b 03 0000 0001");
    expect(await client.receive(11)).toBe(STATE_OF_1("00 03"));
    client.send("0004 0000 0006 0b 01 0000 0001");
    expect(await client.receive(10)).toBe("00 04 00 00 00 04 0b 01 01 01");
  });
});

describe("late and false replies", () => {
  it("lateReply answers with the old value, after later answers, and the log says late", async () => {
    const first = Number(server.plant.truth().registers["machine-1/production-total"]);
    await server.startFault({ kind: "lateReply", delayMs: 50, times: 1 });
    client.send("0007 0000 0006 0b 03 0002 0002");
    await until("the request is taken", () => server.stats().requests === 1);
    nowMs += 60_000;
    client.send(STATE("0008"));
    expect(await client.receive(11)).toBe(STATE_OF_1("00 08"));
    const late = await client.receive(13);
    expect(late.slice(0, 26)).toBe("00 07 00 00 00 07 0b 03 04");
    expect(Number.parseInt(late.replaceAll(" ", "").slice(18), 16)).toBe(first);
    expect(server.served.reads().map(({ delivery, timeMs }) => [delivery, timeMs - START_MS])).toEqual([
      ["normal", 60_000],
      ["late", 0],
    ]);
  });

  it("wrongTransactionId answers under the next number", async () => {
    await server.startFault({ kind: "wrongTransactionId", times: 1 });
    client.send(STATE("ffff"));
    expect(await client.receive(11)).toBe(STATE_OF_1("00 00"));
    expect(server.served.reads()[0]?.delivery).toBe("wrongTransactionId");
  });
});

describe("truncated", () => {
  it.each([
    [undefined, "00 01 00 00 00"],
    [9, "00 01 00 00 00 05 0b 03 02"],
    [259, "00 01 00 00 00 05 0b 03 02 00"],
  ])("with bytes %s cuts the answer and closes, and counts nothing as served", async (bytes, expected) => {
    await server.startFault({ kind: "truncated", times: 1, ...(bytes === undefined ? {} : { bytes }) });
    client.send(STATE("0001"));
    expect(await client.ended).toBe("end");
    expect(await client.receive((expected.length + 1) / 3)).toBe(expected);
    expect(client.pending()).toBe(0);
    expect(server.served.reads()).toEqual([]);
  });
});

describe("counterReset", () => {
  it("restarts the register at 0; the truth knows and goes on", async () => {
    nowMs += 60_000;
    const before = await readTotal();
    const reset = await server.startFault({ kind: "counterReset", point: "machine-1/production-total" });
    expect(reset).toMatchObject({ point: "machine-1/production-total", finalRaw: BigInt(before) });
    expect(await readTotal()).toBe(0);
    nowMs += 60_000;
    const after = await readTotal();
    expect(server.plant.truth().machines[0]?.production.total).toBe(before + after);
    await expect(server.startFault({ kind: "counterReset", point: "machine-1/state" })).rejects.toThrow(RangeError);
  });
});

describe("parseFaultSpec", () => {
  it.each<[unknown, RegExp[]]>([
    [null, [/object/]],
    [{ kind: "explode" }, [/kind: found "explode", expected one of cut, silent/]],
    [{ kind: "slow" }, [/delayMs: found undefined/]],
    [{ kind: "slow", delayMs: -1, unitId: 256, why: 1 }, [/unitId/, /delayMs/, /why: no field/]],
    [{ kind: "exception", code: 0, table: "coils" }, [/code/, /table/, /address: needed/]],
    [{ kind: "cut", unitId: 1, refuse: true }, [/refuse/]],
    [{ kind: "truncated", times: 0 }, [/times/]],
    [{ kind: "counterReset" }, [/point/]],
  ])("tells every complaint about %j", (input, complaints) => {
    const parsed = parseFaultSpec(input);
    if (!("errors" in parsed)) throw new Error("was accepted");
    expect(parsed.errors).toHaveLength(complaints.length);
    for (const [i, complaint] of complaints.entries()) expect(parsed.errors[i]).toMatch(complaint);
  });

  it("holds at the server's door too", async () => {
    await expect(server.startFault({ kind: "slow" } as unknown as FaultSpec)).rejects.toThrow(TypeError);
  });
});
