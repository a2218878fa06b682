import { hourOf } from "@jilian/domain/account.ts";
import { systemClock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import { expect, test } from "vitest";
import { startAccounts } from "./accounts.ts";
import { collectInto } from "./assembly.ts";
import { bench, benchPerTest } from "./test-outbox.ts";

benchPerTest();

test("a changed metric is so from after the device's last reading on, whose clock runs behind that of the accounts", () => {
  // Amid an hour: the account of another one would be a second, a millisecond later.
  const nowMs = hourOf(systemClock.now()) + 30 * minuteMs;
  let passedMs = 0;
  const clock = { ...systemClock, now: () => nowMs + passedMs };
  const outbox = bench.start({ clock });
  const devices = [{ id: "meter", pollIntervalMs: 1000 }];
  const accounts = startAccounts({
    devices,
    outbox,
    clock,
    onWritten: () => undefined,
    tickMs: Number.POSITIVE_INFINITY,
  });
  const nothing = () => undefined;
  const edge = { deviceDefinitions: nothing, deviceConnection: nothing, recordWritten: nothing };
  const events = collectInto(outbox, edge, accounts);
  const definition = (unit: string) => ({ name: "a", datatype: DataType.Double, unit, simulated: false });
  events.onDefinitions("meter", [definition("kWh")]);
  accounts.polls.answered("meter", { polled: 1, suppressed: 0, bad: 0 });
  const readMs = nowMs - 20 * minuteMs;
  events.onSamples("meter", [{ metric: "a", value: 1, status: 0, sourceTimeMs: readMs, gatewayTimeMs: nowMs }]);
  passedMs = 6 * minuteMs;
  accounts.tick();
  expect(outbox.lastSourceTimeMs("meter")).toBe(nowMs + passedMs);
  events.onDefinitions("meter", [definition("MWh")]);
  expect(outbox.metrics()[0]).toMatchObject({ definition: { unit: "MWh" }, sinceMs: readMs + 1 });
  accounts.close();
});
