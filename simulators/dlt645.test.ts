import { once } from "node:events";
import { duplexPair } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Dlt645FaultSpec, parseDlt645Fault } from "./dlt645-faults.ts";
import { createMeter, meterDigits, plantMeterValues } from "./dlt645-meter.ts";
import { createDlt645Line, type Dlt645Server, startDlt645Server } from "./dlt645-server.ts";
import { createPlant } from "./plant.ts";
import { connectRaw, type RawClient, until } from "./raw-client.ts";

/** Requests and answers are bytes written by hand: the frames of fixtures that others have published (hwhale.com/article/138066). */
const ENERGY = "68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16";
const ENERGY_026 = "68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8a 16";
const VOLTAGE = "68 61 01 00 00 00 00 68 11 04 33 34 34 35 17 16";
const VOLTAGE_1001 = "68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16";
const values = { "00010000": "00000026", "00010100": "00000026", "02010100": "1001" };

let server: Dlt645Server;
let client: RawClient;
beforeEach(async () => {
  const other = createMeter({ address: "000000000162", values: () => values, tellsSimulated: false });
  server = await startDlt645Server({
    meters: [createMeter({ address: "000000000161", values: () => values, maxDataBytes: 5 }), other],
    port: 0,
  });
  client = await connectRaw(server.port);
});
afterEach(async () => {
  client.close();
  await server.stop();
});

const bytesIn = (hex: string): number => hex.split(" ").length;
async function expectAnswer(request: string, answer: string): Promise<void> {
  client.send(request);
  expect(await client.receive(bytesIn(answer))).toBe(answer);
  expect(client.pending()).toBe(0);
}

describe("a meter", () => {
  it("answers published requests with the published bytes, also behind wake-up bytes and noise, cut and joined", async () => {
    await expectAnswer(ENERGY, ENERGY_026);
    await expectAnswer(`fe fe fe fe ${VOLTAGE}`, VOLTAGE_1001);
    await expectAnswer(`68 00 16 ff ${ENERGY}`, ENERGY_026);
    client.send(ENERGY.slice(0, 20));
    client.send(ENERGY.slice(20));
    expect(await client.receive(bytesIn(ENERGY_026))).toBe(ENERGY_026);
    await expectAnswer(ENERGY.replaceAll(" ", "") + VOLTAGE, `${ENERGY_026} ${VOLTAGE_1001}`);
    expect(server.stats()).toMatchObject({ requests: 6, answers: 6, unanswered: 0 });
  });

  it("refuses what it does not have, and writes, which are counted", async () => {
    await expectAnswer("68 61 01 00 00 00 00 68 11 04 33 33 34 36 17 16", "68 61 01 00 00 00 00 68 d1 01 35 39 16");
    // Clear the meter (1AH), as nobody should ever ask.
    await expectAnswer("68 61 01 00 00 00 00 68 1a 00 4c 16", "68 61 01 00 00 00 00 68 da 01 37 44 16");
    expect(server.stats().writesRefused).toBe(1);
    expect(server.requests.map(({ control }) => control)).toEqual([0x11, 0x1a]);
  });

  it("tells its address to whoever asks with AA, and both do where two are on the line", async () => {
    client.send("68 AA AA AA AA AA AA 68 13 00 DF 16");
    const answers = await client.receive(2 * 18);
    expect(answers.slice(0, 53)).toBe("68 61 01 00 00 00 00 68 93 06 94 34 33 33 33 33 5f 16");
    expect(answers.slice(54, 74)).toBe("68 62 01 00 00 00 00");
  });

  it("puts a block together, in frames as long as it is told", async () => {
    const first = "68 61 01 00 00 00 00 68 b1 09 33 32 34 33 59 33 33 33 59";
    client.send("68 61 01 00 00 00 00 68 11 04 33 32 34 33 13 16");
    expect(await client.receive(21)).toContain(first);
    client.send("68 61 01 00 00 00 00 68 12 05 33 32 34 33 34 49 16");
    expect(await client.receive(20)).toContain("68 61 01 00 00 00 00 68 92 08 33 32 34 33 33 33 33 34");
  });

  it("is silent to frames with a wrong sum and to other addresses", async () => {
    client.send(ENERGY.replace("14 16", "15 16"));
    client.send("68 63 01 00 00 00 00 68 11 04 33 33 34 33 16 16");
    await expectAnswer(ENERGY, ENERGY_026);
    expect(server.stats()).toMatchObject({ requests: 2, unanswered: 1 });
  });
});

describe("faults", () => {
  it.each<[Dlt645FaultSpec, string]>([
    [{ kind: "wrongChecksum" }, ENERGY_026.replace("8a 16", "8b 16")],
    [{ kind: "errorAnswer", error: 0x04 }, "68 61 01 00 00 00 00 68 d1 01 37 3b 16"],
    [{ kind: "preamble", bytes: 3 }, `fe fe fe ${ENERGY_026}`],
    [{ kind: "echo" }, `${ENERGY} ${ENERGY_026}`],
    [{ kind: "slowBytes", gapMs: 1 }, ENERGY_026],
    [{ kind: "late", delayMs: 5 }, ENERGY_026],
    [{ kind: "otherMeter" }, `68 99 00 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 c1 16 ${ENERGY_026}`],
    [{ kind: "otherMeter", instead: true }, "68 99 00 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 c1 16"],
    [{ kind: "otherData" }, "68 61 01 00 00 00 00 68 91 08 32 32 32 32 59 33 33 33 85 16"],
    [{ kind: "noise" }, `00 68 68 00 ff 68 11 22 33 44 55 66 68 01 08 ${ENERGY_026}`],
  ])("%o strikes as often as it is told, and the meter and identifier it is told", async (fault, answer) => {
    server.startFault({ ...fault, times: 1, address: "000000000161", dataId: "00010000" });
    await expectAnswer(VOLTAGE, VOLTAGE_1001);
    await expectAnswer(ENERGY, answer);
    await expectAnswer(ENERGY, ENERGY_026);
    expect(server.faults()).toEqual([]);
  });

  it("silent is counted, and over when it is cleared", async () => {
    const { id } = server.startFault({ kind: "silent" });
    client.send(ENERGY);
    await until("the request", () => server.stats().unanswered === 1);
    expect(server.clearFaults(id)).toBe(1);
    await expectAnswer(ENERGY, ENERGY_026);
  });

  it("tells every complaint at once", () => {
    const given = { kind: "errorAnswer", address: "161", times: 0 } as unknown as Dlt645FaultSpec;
    expect(parseDlt645Fault(given)).toEqual({
      errors: [expect.stringContaining("address"), expect.stringContaining("times"), expect.stringContaining("error")],
    });
    expect(() => server.startFault(given)).toThrow(TypeError);
    expect(() => server.startFault({ kind: "deaf" } as unknown as Dlt645FaultSpec)).toThrow("expected one of silent");
  });

  it("of the network: a cut ends every connection, and new ones are welcome", async () => {
    server.cut();
    expect(await client.ended).toBe("ECONNRESET");
    client = await connectRaw(server.port);
    await expectAnswer(ENERGY, ENERGY_026);
    expect(server.connections()).toBe(1);
  });
});

it("serves any stream of bytes, as a pseudo-terminal is one", async () => {
  const line = createDlt645Line([createMeter({ address: "000000000161", values: () => values })]);
  const [near, far] = duplexPair();
  line.serve(far);
  near.write(Buffer.from(ENERGY.replaceAll(" ", ""), "hex"));
  const [answer] = (await once(near, "data")) as [Buffer];
  expect(answer.toString("hex")).toBe(ENERGY_026.replaceAll(" ", ""));
  line.close();
});

it("writes numbers as a meter holds them", () => {
  expect(meterDigits(26, 8)).toBe("00000026");
  expect(meterDigits(-123_456, 6)).toBe("923456");
  expect(meterDigits(-799_999, 6)).toBe("f99999");
  for (const [counts, digits] of [
    [10_000, 4],
    [-8000, 4],
    [0.5, 4],
  ] as const) {
    expect(() => meterDigits(counts, digits)).toThrow(RangeError);
  }
});

it("shows a hundredth of what a plant's meter truly counts, on every plant and at any time", () => {
  for (const profile of ["copper-casting", "aluminium-extrusion", "copper-rolling"] as const) {
    const plant = createPlant({ profile, seed: 7, startMs: 0 });
    for (const timeMs of [0, 600_000, 3_600_000]) {
      plant.advanceTo(timeMs);
      for (const device of ["incoming-meter", "feeder-1", "feeder-2", "feeder-3"] as const) {
        const shown = plantMeterValues(plant, device);
        const trueKWh = plant.quantity(device, "energyImport") / 1e6 / 100;
        expect(Math.abs((Number(shown["00010000"]) / 100 - trueKWh) % 1_000_000)).toBeLessThan(0.01);
        expect(Number(shown["02010100"]) / 10).toBeCloseTo(plant.quantity(device, "voltageL1") / 1000, 0);
      }
    }
  }
});
