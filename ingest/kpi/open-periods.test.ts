import { hourMs, minuteMs, watermarkMs } from "@jilian/domain/periods.ts";
import { expect, test } from "vitest";
import { engineOf, figure, store, t0 } from "./test-completeness.ts";
import { clock, settle, useWorld, world } from "./test-engine.ts";

useWorld(t0);

const rate = () => figure("devices.online_rate");

test("a period that runs speaks of the time until now, however long a reading holds and whatever a fast clock says", async () => {
  const engine = await engineOf();
  clock.set(t0 + 10 * minuteMs + 20_000);
  // Silent for 8 minutes, then a reading that holds for 15; and one of a minute that has not begun.
  const readings = [
    [t0 + 8 * minuteMs, 1],
    [t0 + 10 * minuteMs + 5000, 2],
    [t0 + 12 * minuteMs, 102],
  ] as const;
  await store(readings, "energy", "meter-1", { heartbeatMs: 5 * minuteMs });
  await settle(engine);
  // Of f2's three devices one for 140 of 620 s.
  expect(rate()).toMatchObject({ value: "0.075269" });
  // The increase of 100 in 115 s after the last reading belongs to this minute as far as it lies in it.
  expect(figure()).toMatchObject({ value: "48.826086" });
  clock.set(t0 + 10 * minuteMs + 50_000);
  await settle(engine);
  expect(rate()).toMatchObject({ value: "0.087179" });
  clock.set(t0 + 12 * minuteMs);
  await settle(engine);
  expect(figure()).toMatchObject({ value: "101" });
  expect(rate()).toMatchObject({ value: "0.111111" });
  clock.set(t0 + hourMs + watermarkMs);
  await settle(engine);
  // The last of them holds until 10:27.
  expect(rate()).toMatchObject({ value: "0.105556", status: "final" });
});

test("a metric that is new changes no earlier minute: what it comes to is what folding anew comes to", async () => {
  let engine = await engineOf();
  // Half a minute of each is covered.
  await store(Array.from({ length: 10 }, (_, i) => [t0 + i * minuteMs, i] as const));
  clock.set(t0 + 20 * minuteMs);
  await settle(engine);
  // It holds for a quarter of an hour, and is known to no earlier minute.
  const slow = { role: "temperature", unit: "°C", heartbeatMs: 5 * minuteMs };
  await store([[t0 + 15 * minuteMs, 41]], "temperature", "meter-1", slow);
  clock.set(t0 + hourMs + watermarkMs);
  await settle(engine);
  const final = { value: "0.111111", status: "final", revision: 0 };
  expect(rate()).toMatchObject(final);
  await engine.close();
  world.ledger.setNumber("kpi.foldedTx", 0);
  engine = await engineOf();
  await settle(engine);
  expect(rate()).toMatchObject(final);
});

test("a device whose clock is ahead is online when that time has come", async () => {
  const engine = await engineOf();
  clock.set(t0 + minuteMs + 10_000);
  await store([[t0 + minuteMs + 30_000, 1]]);
  await settle(engine);
  expect(figure("devices.online")).toMatchObject({ value: "0" });
  clock.set(t0 + minuteMs + 31_000);
  await settle(engine);
  expect(figure("devices.online")).toMatchObject({ value: "1" });
});

test("what a fast clock says of the minute of now across a gap is an estimate", async () => {
  const engine = await engineOf();
  clock.set(t0 + 5 * minuteMs + 30_000);
  await store([
    [t0, 0],
    [t0 + 10 * minuteMs, 10],
  ]);
  await settle(engine);
  // Six minutes of ten; where it will be in the end is told, its course is not.
  expect(figure()).toMatchObject({ value: "6", estimatedShare: 1 });
  clock.set(t0 + 10 * minuteMs);
  await settle(engine);
  expect(figure()).toMatchObject({ value: "10", estimatedShare: 0 });
});
