/**
 * A process of the ledger's tests: writes revisions of one shared figure and adds to one shared number, a transaction each, and says how
 * far it is. Usage: node test-writer.ts <ledger file> <writer id> <transactions>
 */
import { setTimeout } from "node:timers/promises";
import type { Result } from "@jilian/domain/result.ts";
import { pino } from "pino";
import { openLedger } from "./ledger.ts";

const [path = "", writer = "", transactions = "0"] = process.argv.slice(2);
const ledger = openLedger({ path, log: pino({ level: "silent" }) });
const shared: Result = {
  indicator: "energy.electricity",
  level: "factory",
  entity: "shared",
  period: "hour",
  startMs: 0,
  endMs: 3_600_000,
  value: "0",
  reason: null,
  unit: "kWh",
  completeness: 1,
  estimatedShare: 0,
  lowerBound: false,
  status: "final",
  revision: 0,
  definitionVersion: 1,
  factorTable: null,
  registryVersion: "0123456789ab",
  inputWatermark: 0,
  asOfMs: 0,
  simulated: true,
};

process.stdout.write("open\n");
for (let i = 0; i < Number(transactions); i += 1) {
  ledger.transaction(() => {
    const count = (ledger.getNumber("count") ?? 0) + 1;
    ledger.setNumber("count", count);
    ledger.writeResults([
      { ...shared, value: `${writer}.${i}`, revision: count },
      { ...shared, entity: writer, value: String(i), status: "provisional" },
    ]);
  });
  process.stdout.write(`${i}\n`);
  // A moment between transactions, or SQLite's own back-off would let each writer finish before the next one starts.
  await setTimeout(Math.random() * 2);
}
ledger.close();
