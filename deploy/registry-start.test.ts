import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { removedGateways } from "@jilian/store/registry-removed.ts";
import { followVersions } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { expect, it } from "vitest";
import { tellUnreadable } from "./registry-start.ts";

it("tells a ledger whose registry cannot be read once, however often it is asked", () => {
  const folder = mkdtempSync(join(tmpdir(), "registry-"));
  const lines: { code?: string; err?: string; msg: string }[] = [];
  const log = pino({}, { write: (line: string) => lines.push(JSON.parse(line)) });
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: pino({ level: "silent" }) });
  ledger.close();
  const looked = tellUnreadable(log, "removed gateways cannot be looked for");
  const isRemoved = removedGateways(followVersions(ledger), systemClock, looked, 0);
  for (let i = 0; i < 100; i += 1) expect(isRemoved("f/g")).toBe(false);
  expect(lines).toEqual([
    expect.objectContaining({
      ...{ code: "REGISTRY_UNREADABLE", msg: "removed gateways cannot be looked for", heldBack: 0 },
      err: expect.any(String),
    }),
  ]);
  rmSync(folder, { recursive: true });
});
