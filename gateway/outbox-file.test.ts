import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { outboxSchemaVersion } from "./outbox-schema.ts";
import { type OutboxBench, outboxBench, sample } from "./test-outbox.ts";

const fixture = (version: number) => join(import.meta.dirname, `fixtures/outbox-v${version}.db`);
const versions = Array.from({ length: outboxSchemaVersion }, (_, i) => i + 1);
const t = 1_750_000_000_000;

let bench: OutboxBench;
beforeEach(() => {
  bench = outboxBench();
});
afterEach(() => bench.close());

/** Files as released programs left them on gateways: a new schema version needs one more here, made by the program before it. */
describe.each(versions)("an outbox of schema version %i", (version) => {
  test("is taken over: pending readings, epochs, counters, what was set aside", async () => {
    expect(existsSync(fixture(version))).toBe(true);
    copyFileSync(fixture(version), bench.path);
    const before = new DatabaseSync(bench.path);
    expect(before.prepare("PRAGMA user_version").get()).toEqual({ user_version: version });
    before.close();

    const outbox = bench.start();
    const found = outbox.pending(0, 100).map(({ record }) => record);
    expect(found).toMatchObject([
      {
        epoch: "af13bdcc427f0343",
        offset: 0,
        writtenAtMs: t + 1000,
        device: "meter",
        samples: [
          { metricId: 1, value: 2n ** 60n, status: 0, sourceTimeMs: t + 10, gatewayTimeMs: t + 13 },
          { metricId: 2, value: 0.1, status: 0, sourceTimeMs: t + 20, gatewayTimeMs: t + 23 },
          { metricId: 3, value: true, status: 0, sourceTimeMs: t + 30, gatewayTimeMs: t + 33 },
          { metricId: 4, value: "炉", status: 0, sourceTimeMs: t + 40, gatewayTimeMs: t + 43 },
        ],
      },
      {
        epoch: "330dea2666a565b6",
        offset: 0,
        writtenAtMs: t + 4000,
        device: "press",
        samples: [{ metricId: 5, value: -5, status: 0x80000000, sourceTimeMs: t + 70, gatewayTimeMs: t + 73 }],
      },
    ]);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 2, droppedSamples: 0, setAsideRecords: 1 });
    expect([outbox.lastSourceTimeMs("meter"), outbox.lastSourceTimeMs("press")]).toEqual([t + 60, t + 70]);
    expect(outbox.nextBdSeq()).toBe(2);
    expect([outbox.pendingOf("meter"), outbox.pendingOf("press")]).toEqual([1, 1]);
    expect(outbox.stats().pendingBytes).toBeGreaterThan(2 * 32);
    expect(outbox.asides(10)).toMatchObject([{ device: "meter", reason: "for a test" }]);
    expect(outbox.identity).toMatchObject({ box: expect.stringMatching(/^[0-9a-f]{16}$/), starts: version });
    expect(outbox.notes("")).toEqual(new Map(version >= 2 ? [["kept", "a note"]] : []));
    // A boot is known since version 2: of an older file nobody can tell how it ended, and it ended in order as a rule.
    expect(outbox.raisedMs).toBe(0);
    // It goes on as one of this version: what was there is freed by its own epoch, what is new is written.
    expect(outbox.commit("af13bdcc427f0343", [[0, 10]])).toBe(1);
    expect(outbox.write("meter", [sample(1, 1n)])).toBeDefined();
    await bench.stop(outbox);
    const after = new DatabaseSync(bench.path);
    expect(after.prepare("PRAGMA user_version").get()).toEqual({ user_version: outboxSchemaVersion });
    expect(after.prepare("SELECT reason, device FROM set_aside").all()).toEqual([
      { reason: "for a test", device: "meter" },
    ]);
    after.close();
  });
});

test("an outbox of the version after this program's is refused and left as it is", async () => {
  copyFileSync(fixture(outboxSchemaVersion), bench.path);
  bench.tamper(`PRAGMA user_version = ${outboxSchemaVersion + 1}`);
  expect(() => bench.start()).toThrow(
    expect.objectContaining({ code: "OUTBOX_NEWER", remedy: expect.stringContaining("newer") }),
  );
  const db = new DatabaseSync(bench.path);
  expect(db.prepare("SELECT count(*) AS records FROM record").get()).toEqual({ records: 2 });
  db.close();
});
