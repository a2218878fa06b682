/** A thread that uses the store of another: writes the rows it is given, reads their series, and reports what it saw. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { SampleRow } from "../../telemetry.ts";
import { connectTelemetry } from "../../thread/owner.ts";

const { port, rows } = workerData as { port: MessagePort; rows: [SampleRow, ...SampleRow[]] };
const store = connectTelemetry(port);
await store.write({ samples: rows, commits: [] });
parentPort?.postMessage(await store.read({ series: rows[0].series, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER }, 100));
await store.close();
