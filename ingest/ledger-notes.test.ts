import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ledger } from "@jilian/store/ledger.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { hasSmallDisks, smallDisk } from "@jilian/store/test-disk.ts";
import { expect, test } from "vitest";
import { ledgerNotes } from "./ledger-notes.ts";
import { manualClock, silent } from "./test-world.ts";

const clock = manualClock(Date.UTC(2026, 10, 22, 2, 0));
const finding = (subject: string) => ({ code: "SAMPLE_CONFLICT", subject, detail: "x" });

function withLedger(folder: string, work: (ledger: Ledger) => void): void {
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: silent });
  try {
    work(ledger);
  } finally {
    ledger.close();
  }
}

test("a finding is noted at most every ten seconds for one code and subject", () => {
  const folder = mkdtempSync(join(tmpdir(), "notes-"));
  withLedger(folder, (ledger) => {
    const notes = ledgerNotes({ ledger, clock, log: silent });
    for (let n = 0; n < 50; n += 1) for (const subject of ["a", "b"]) notes.finding(finding(subject));
    expect(ledger.findings(9)).toMatchObject([
      { subject: "a", count: 1 },
      { subject: "b", count: 1 },
    ]);
  });
  rmSync(folder, { recursive: true });
});

test.skipIf(!hasSmallDisks())(
  "a full disk under the ledger: notes are counted as failed, and taken again once there is room",
  () => {
    const disk = smallDisk(1);
    try {
      withLedger(disk.path, (ledger) => {
        let failures = 0;
        const notes = ledgerNotes({
          ledger,
          clock,
          log: silent,
          onFailure: () => {
            failures += 1;
          },
        });
        const full = join(disk.path, "full");
        for (let size = 2 ** 20; size >= 1; size /= 2) {
          try {
            writeFileSync(full, Buffer.alloc(size), { flag: "a" });
          } catch {
            // The disk is full by less than this.
          }
        }
        const birth = { group: "f1", node: "gw-1", device: "press-1", firstBirthMs: 1 };
        // What is left of the journal's last page may take a few.
        for (let n = 0; failures < 4 && n < 1000; n += 1) {
          notes.finding(finding(`subject ${n}`));
          notes.birth({ ...birth, device: `device-${n}` });
        }
        expect(failures).toBeGreaterThanOrEqual(4);
        expect(notes.together((to) => to.noteFinding(finding("together"), 0))).toBe(false);
        rmSync(full);
        const before = failures;
        notes.finding(finding("later"));
        notes.birth(birth);
        expect(notes.together((to) => to.noteFinding(finding("together"), 0))).toBe(true);
        expect(failures).toBe(before);
        expect(ledger.findings(5000).map(({ subject }) => subject)).toEqual(
          expect.arrayContaining(["later", "together"]),
        );
        expect(ledger.firstBirths()).toContainEqual(birth);
      });
    } finally {
      disk.remove();
    }
  },
);
