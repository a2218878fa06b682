/** Writes one outbox record after the other to the store named by the first argument, and prints each offset once acknowledged. */
import { pino } from "pino";
import { makeSeries, sample } from "../../telemetry-fixtures.ts";
import { openTelemetry } from "../telemetry.ts";

const path = process.argv[2] as string;
const store = await openTelemetry({ path, memoryLimitMb: 256, threads: 2, log: pino({ level: "silent" }) });
const names = Array.from({ length: 7 }, (_, i) => `metric ${i}`);
const series = await makeSeries(store, names);
const [committed] = await store.committed();
for (let offset = (committed?.ranges[0]?.[1] ?? -1) + 1; ; offset += 1) {
  await store.write({
    samples: series.map((id) => sample(id, offset, BigInt(offset))),
    commits: [{ group: "f", node: "g", epoch: "e", ranges: [[offset, offset]] }],
  });
  process.stdout.write(`${offset}\n`);
}
