import type { DatabaseSync } from "node:sqlite";
import {
  curedBy,
  type Finding,
  type FindingLedger,
  type FindingLook,
  type FindingPeriod,
  maxFindingPeriods,
} from "../findings.ts";
import type { Ledger } from "../ledger.ts";

/** Step of the ledger's schema. A finding of before says nothing of its periods: it stays open. */
export const findingSchema = `
   ALTER TABLE finding ADD COLUMN closed_ms INTEGER;
   ALTER TABLE finding ADD COLUMN closed_by TEXT;
   CREATE TABLE finding_period (
     period TEXT NOT NULL, start_ms INTEGER NOT NULL, place TEXT NOT NULL, code TEXT NOT NULL, subject TEXT NOT NULL,
     detail TEXT NOT NULL, raised_ms INTEGER NOT NULL, closed_ms INTEGER, closed_by TEXT, input_watermark INTEGER NOT NULL,
     registry_version TEXT NOT NULL, PRIMARY KEY (period, start_ms, place, code, subject)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX finding_period_subject ON finding_period (code, subject, start_ms);`;

const columns = `period, start_ms AS startMs, place, code, subject, detail, raised_ms AS raisedMs, closed_ms AS closedMs,
  closed_by AS closedBy, input_watermark AS inputWatermark, registry_version AS registryVersion`;

const droppedName = "findings.dropped";

/** Findings of the embedded ledger. @param most periods kept at most */
export function findingLedger(
  db: DatabaseSync,
  transaction: Ledger["transaction"],
  most = maxFindingPeriods,
): FindingLedger {
  const upsert = db.prepare(
    `INSERT INTO finding (code, subject, detail, first_ms, last_ms, count) VALUES (?1, ?2, ?3, ?4, ?4, 1)
     ON CONFLICT DO UPDATE SET detail = ?3, first_ms = min(first_ms, ?4), last_ms = max(last_ms, ?4), count = count + 1,
       closed_ms = NULL, closed_by = NULL`,
  );
  const newest = db.prepare(
    `SELECT code, subject, detail, first_ms AS firstMs, last_ms AS lastMs, count, closed_ms AS closedMs, closed_by AS closedBy
     FROM finding ORDER BY last_ms DESC, code, subject LIMIT ?`,
  );
  const tell = db.prepare("UPDATE finding SET detail = ?3 WHERE code = ?1 AND subject = ?2");
  const close = db.prepare("UPDATE finding SET closed_ms = ?3, closed_by = ?4 WHERE code = ?1 AND subject = ?2");
  const ofPlace = db.prepare(`SELECT ${columns} FROM finding_period WHERE period = ? AND start_ms = ? AND place = ?`);
  const put = db.prepare(
    `INSERT INTO finding_period VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL, NULL, ?8, ?9) ON CONFLICT DO UPDATE SET detail = ?6,
       raised_ms = CASE WHEN closed_ms IS NULL THEN raised_ms ELSE ?7 END, closed_ms = NULL, closed_by = NULL,
       input_watermark = ?8, registry_version = ?9`,
  );
  const closePeriod = db.prepare(
    `UPDATE finding_period SET closed_ms = ?6, closed_by = ?7
     WHERE period = ?1 AND start_ms = ?2 AND place = ?3 AND code = ?4 AND subject = ?5`,
  );
  const lastOpen = db.prepare(
    `SELECT detail FROM finding_period WHERE code = ? AND subject = ? AND closed_ms IS NULL ORDER BY start_ms DESC LIMIT 1`,
  );
  const ofSubject = db.prepare(
    `SELECT ${columns} FROM finding_period WHERE code = ? AND subject = ? ORDER BY start_ms, period, place LIMIT ?`,
  );
  const count = db.prepare("SELECT count(*) AS n FROM finding_period");
  const drop = db.prepare(
    `DELETE FROM finding_period WHERE (period, start_ms, place, code, subject) IN
       (SELECT period, start_ms, place, code, subject FROM finding_period ORDER BY start_ms LIMIT ?)`,
  );
  const addDropped = db.prepare("INSERT INTO number VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2");
  const dropped = db.prepare("SELECT value FROM number WHERE name = ?");
  const readPeriod = (row: object) => ({ ...row }) as FindingPeriod;

  function judge(look: FindingLook, nowMs: number): boolean {
    const { period, startMs, place, inputWatermark, registryVersion } = look;
    const key = [period, startMs, place] as const;
    const nameOf = ({ code, subject }: Pick<Finding, "code" | "subject">) => `${code} ${subject}`;
    const before = new Map(ofPlace.all(...key).map((row) => [nameOf(readPeriod(row)), readPeriod(row)]));
    let grows = false;
    for (const finding of look.found) {
      const { code, subject, detail } = finding;
      const known = before.get(nameOf(finding));
      before.delete(nameOf(finding));
      if (known?.closedMs === null && known.detail === detail) continue;
      put.run(...key, code, subject, detail, nowMs, inputWatermark, registryVersion);
      grows ||= known === undefined;
      if (known?.closedMs === null) tell.run(code, subject, String(lastOpen.get(code, subject)?.detail));
      else upsert.run(code, subject, detail, nowMs);
    }
    for (const gone of before.values()) {
      const { code, subject, closedMs } = gone;
      if (closedMs !== null || !look.codes.includes(code)) continue;
      const cure = curedBy(gone, look);
      closePeriod.run(...key, code, subject, nowMs, cure);
      const open = lastOpen.get(code, subject);
      if (open) tell.run(code, subject, String(open.detail));
      else close.run(code, subject, nowMs, cure);
    }
    return grows;
  }

  function dropOldest(): void {
    const over = Number(count.get()?.n) - most;
    if (over > 0) addDropped.run(droppedName, Number(drop.run(over).changes));
  }

  return {
    noteFinding: ({ code, subject, detail }, atMs) => {
      upsert.run(code, subject, detail, atMs);
    },
    judgeFindings: (looks, nowMs) =>
      transaction(() => {
        let grows = false;
        for (const look of looks) grows = judge(look, nowMs) || grows;
        if (grows) dropOldest();
      }),
    findings: (limit) => newest.all(limit).map((row) => ({ ...row }) as Finding),
    findingPeriods: (code, subject, limit) => ofSubject.all(code, subject, limit).map(readPeriod),
    droppedFindingPeriods: () => Number(dropped.get(droppedName)?.value ?? 0),
  };
}
