import { DataType } from "@jilian/domain/datatypes.ts";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { dayMs, hourMs, minuteMs } from "@jilian/domain/periods.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import { expect, test } from "vitest";
import { always, testRegistry } from "../test-world.ts";
import { createEngine } from "./engine.ts";
import { clock, everything, settle, startOver, useWorld, world } from "./test-engine.ts";

/** Midnight in Shanghai. */
const t0 = Date.UTC(2026, 9, 31, 16, 0);
const days = 1;
const nowMs = t0 + days * dayMs + 20 * minuteMs;

useWorld(nowMs);

const versions = always(testRegistry(false));
const ids = ["energy.electricity", "devices.online", "oee.availability"];
const setting = () => ({
  ...{ ...world, versions, clock, provisionalIntervalMs: 0, txPerTick: 1000 },
  catalogue: indicators.filter(({ id }) => ids.includes(id)),
});

const hourly = { simulated: false, heartbeatMs: hourMs };
const energy = {
  ...{ group: "f1", node: "gw-1", device: "meter-1", metric: "e" },
  definition: { name: "e", datatype: DataType.Double, role: "energy.import", unit: "kWh", ...hourly },
} as const;
const state = {
  ...{ group: "f1", node: "gw-1", device: "press-1", metric: "s" },
  definition: { name: "s", datatype: DataType.Int32, role: "machine.state", ...hourly },
} as const;

/** Stores readings in one transaction: hours since t0 and value, of both. */
async function store(readings: readonly (readonly [hour: number, value: number])[]): Promise<void> {
  const series = await world.telemetry.ensureSeries([energy, { ...energy, group: "f2" }, state]);
  const samples = series.flatMap((id, i) =>
    readings.map(([hour, value]) => {
      const sourceTimeMs = t0 + hour * hourMs + i * 7000;
      const times = { sourceTimeMs, gatewayTimeMs: sourceTimeMs, ingestTimeMs: clock.now() };
      return { series: id, value: i === 2 ? value % 3 : value, status: 0, ...times };
    }),
  );
  await world.telemetry.write({ samples, commits: [] });
}

/** A store that notes each row that is written of leaves, online time and states. */
function counting() {
  const written: string[] = [];
  const writeLeaves: Telemetry["writeLeaves"] = async (leaves, connections, states = []) => {
    for (const { series, minuteMs: minute } of leaves) written.push(`leaf ${series} ${minute}`);
    for (const { device, minuteMs: minute } of connections) written.push(`online ${device} ${minute}`);
    for (const { series, minuteMs: minute } of states) written.push(`state ${series} ${minute}`);
    await world.telemetry.writeLeaves(leaves, connections, states);
  };
  return { telemetry: { ...world.telemetry, writeLeaves }, taken: () => written.splice(0) };
}

const backlog = Array.from({ length: days * 24 }, (_, hour) => [hour, hour * 60] as const);
const rowsPerTick = 500;
/** Rows that are made at once: a day of a series or some devices, and what is known of a gap between two readings. */
const atOnce = 3 * 1440;

test("a tick over sparse readings is bounded by the leaves that it makes, each is made once, and the figures are those of one tick", async () => {
  await store(backlog);
  const whole = await createEngine({ ...setting(), rowsPerTick: Number.POSITIVE_INFINITY });
  await settle(whole);
  await whole.close();
  const expected = await everything();
  expect(expected.size).toBeGreaterThan(100);
  await startOver();
  await store(backlog);
  const { telemetry, taken } = counting();
  const all: string[] = [];
  const most: number[] = [];
  // An engine that ends amid the readings of a transaction has vouched for none of them.
  for (const ticks of [3, Number.POSITIVE_INFINITY]) {
    const engine = await createEngine({ ...setting(), telemetry, rowsPerTick });
    all.splice(0);
    let caughtUp = false;
    for (let n = 0; n < ticks && !caughtUp; n += 1) {
      ({ caughtUp } = await engine.tick({ thorough: true }));
      const rows = taken();
      most.push(rows.length);
      all.push(...rows.filter((row) => row.startsWith("leaf")));
      if (ticks === 3) expect(world.ledger.getNumber("kpi.foldedTx")).toBe(0);
    }
    await engine.close();
  }
  expect(most.length).toBeGreaterThan(6);
  expect(Math.max(...most)).toBeLessThan(rowsPerTick + atOnce);
  expect(new Set(all).size).toBe(all.length);
  expect(await everything()).toEqual(expected);
});

test("what one reading tells of a long gap is one step, and what the next one tells another", async () => {
  const gap = 24;
  await store([[-gap, 0]]);
  await store([[0, 600]]);
  const { telemetry, taken } = counting();
  const engine = await createEngine({ ...setting(), telemetry, rowsPerTick });
  const leaves: number[] = [];
  for (let caughtUp = false; !caughtUp; ) {
    ({ caughtUp } = await engine.tick());
    leaves.push(taken().filter((row) => row.startsWith("leaf")).length);
  }
  await engine.close();
  const ofGap = gap * 60 + 1;
  expect(leaves.reduce((sum, n) => sum + n)).toBe(2 * ofGap);
  expect(Math.max(...leaves)).toBe(ofGap);
});
