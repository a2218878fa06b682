/**
 * A process of the tests of the lease: takes it and writes a number in a transaction every few milliseconds, until it has lost it.
 * Usage: node test-lease-holder.ts <ledger file> <lease ms>
 */
import { setTimeout } from "node:timers/promises";
import { codeOf } from "@jilian/domain/errors.ts";
import { fencedLedger } from "@jilian/store/leases.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { takeLease } from "./lease.ts";

const [path = "", leaseMs = ""] = process.argv.slice(2);
const ledger = openLedger({ path, log: pino({ level: "silent" }) });
const lease = await takeLease({
  ...{ ledger, isStoreOwned: false, leaseMs: Number(leaseMs) },
  onWait: () => process.stdout.write("waits\n"),
});
process.stdout.write(`holds ${lease.epoch}\n`);
const fenced = fencedLedger(ledger, lease);
try {
  for (let i = 1; ; i += 1) {
    fenced.setNumber("written", i);
    if (i === 1) process.stdout.write("writes\n");
    await setTimeout(1);
  }
} catch (error) {
  process.stdout.write(`${codeOf(error)}\n`);
}
lease.close();
ledger.close();
