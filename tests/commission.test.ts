import { probeCommand } from "@jilian/gateway/commands/probe.ts";
import { readCommand } from "@jilian/gateway/commands/read.ts";
import { call, configText, testIo } from "@jilian/gateway/commands/test-io.ts";
import { type Simulator, startSimulator } from "@jilian/simulators/simulator.ts";
import { afterAll, beforeAll, expect, test } from "vitest";

/** The commands of commissioning against a plant that shares no code with them: seven units, every byte order. */

let simulator: Simulator;
let port: number;
beforeAll(async () => {
  let nowMs = Date.UTC(2026, 0, 5, 2);
  const plants = [{ profile: "copper-casting", seed: 7, startMs: nowMs - 7_200_000 } as const];
  simulator = await startSimulator({ plants, now: () => nowMs });
  port = simulator.plants[0]?.port ?? 0;
  nowMs += 1;
});
afterAll(() => simulator.close());

const probe = (...args: string[]) =>
  call(probeCommand, ["modbus", `127.0.0.1:${port}`, "--requests-per-second", "1000", "--timeout-ms", "100", ...args]);

/** What the display of a device would show, with the decimals of its unit: from the log of what was served. */
function displayed(name: string): string {
  const [plant] = simulator.plants;
  const point = plant?.registerMap.points.find((one) => one.name === name);
  const raw = plant?.served({ point: name }).at(-1)?.raw;
  if (point === undefined || raw === undefined) throw new Error(`${name} was not read`);
  return ((Number(raw) * point.scale.numerator) / point.scale.denominator).toFixed(2);
}

test("probe finds the units of a simulated plant and every register that it has", async () => {
  const { code, out } = await probe("--units", "1-4,9,11-13", "--max-requests", "4000");
  expect(code).toBe(0);
  expect(out).toContain("units that answer: 1, 2, 3, 4, 11, 12, 13  (8 asked");
  expect(out).not.toContain("not looked through");
  const missed = (simulator.plants[0]?.registerMap.points ?? []).filter(({ unitId, table, address, quantity }) => {
    const unit = out.split(/^unit /m).find((text) => text.startsWith(`${unitId} `)) ?? "";
    const line = unit.split("\n").find((text) => text.trim().startsWith(table)) ?? "";
    const ranges = [...(line.split(";")[0] ?? "").matchAll(/(\d+)(?:-(\d+))?/g)];
    return !ranges.some(([, from, to = from]) => Number(from) <= address && address + quantity - 1 <= Number(to));
  });
  expect(missed.map(({ name }) => name)).toEqual([]);
});

test.each([
  [1, "input", "0-20", "incoming-meter/voltage-l1", "float32, order: ABCD"],
  [1, "holding", "100-120", "incoming-meter/power-active", "float64, order: ABCD"],
  [2, "input", "30-50", "feeder-1/power-active", "float32, order: CDAB"],
  [2, "input", "30-50", "feeder-1/voltage-l1", "int16, order: ABCD, scale: { numerator: 1, denominator: 10 }"],
  [3, "input", "0-10", "feeder-2/voltage-l1", "float64, order: BADC"],
  [3, "holding", "500-512", "feeder-2/power-active", "int32, order: BADC, scale: { numerator: 1, denominator: 1000 }"],
  [4, "holding", "20-30", "feeder-3/voltage-l1", "float32, order: DCBA"],
  [4, "input", "1000-1004", "feeder-3/power-active", "float32, order: DCBA"],
])("unit %i %s %s: the display's value of %s gives %s first", async (unit, table, range, name, how) => {
  const where = ["--units", `${unit}`, "--range", `${table}:${range}`];
  await probe(...where);
  const { code, out } = await probe(...where, "--expect", displayed(name));
  const address = simulator.plants[0]?.registerMap.points.find((point) => point.name === name)?.address;
  const matches = out.split("\n").filter((line) => line.includes("{ table"));
  expect(code, out).toBe(0);
  const place = matches.findIndex((line) => line.includes(`address: ${address}, type: ${how} }`));
  // Neighbours may show the same value, as three phases do.
  expect([0, 1, 2], out).toContain(place);
});

test("read calls a simulator one", async () => {
  const device = `
- id: meter
  driver: modbus-tcp
  host: 127.0.0.1
  port: ${port}
  unitId: 1
  tags:
    - { name: voltage-l1, table: input, address: 0, type: float32, unit: V }`;
  const { code, out } = await call(readCommand, ["gateway.yaml"], testIo(configText(device)));
  expect(code).toBe(0);
  expect(out).toContain("simulated, no plant: meter");
  expect(out).toMatch(/voltage-l1 +2\d\d/);
});
