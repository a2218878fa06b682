import type { DatabaseSync } from "node:sqlite";
import type { LeaseLedger, LeaseView } from "../leases.ts";
import type { Ledger } from "../ledger.ts";

/** Step of the ledger's schema. Figures of before were written without a lease. */
export const leaseSchema = `
   CREATE TABLE lease (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, beat INTEGER NOT NULL, holder TEXT) STRICT, WITHOUT ROWID;
   ALTER TABLE result ADD COLUMN lease_epoch INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE result_history ADD COLUMN lease_epoch INTEGER NOT NULL DEFAULT 0;`;

/** SQLite's code for a lock that was not to be had in time. */
const busy = 5;

/** Leases of the embedded ledger. `transaction` must take the write lock at its start. */
export function leaseLedger(db: DatabaseSync, transaction: Ledger["transaction"]): LeaseLedger {
  const one = db.prepare("SELECT epoch, beat, holder FROM lease WHERE name = ?");
  const take = db.prepare(
    "INSERT INTO lease VALUES (?1, 1, 1, ?2) ON CONFLICT DO UPDATE SET epoch = epoch + 1, beat = beat + 1, holder = ?2 RETURNING epoch",
  );
  const renew = db.prepare("UPDATE lease SET beat = beat + 1 WHERE name = ? AND epoch = ? AND holder IS NOT NULL");
  const release = db.prepare("UPDATE lease SET holder = NULL WHERE name = ? AND epoch = ?");
  function lease(name: string): LeaseView | undefined {
    const row = one.get(name);
    return row && ({ ...row } as LeaseView);
  }
  return {
    lease,
    takeLease: (name, holder, seen) => {
      try {
        return transaction(() => {
          const now = lease(name);
          const isAlive = now && now.holder !== null && (now.epoch !== seen?.epoch || now.beat !== seen.beat);
          return isAlive ? undefined : Number(take.get(name, holder)?.epoch);
        });
      } catch (error) {
        // A process that stands still in the midst of a write keeps everybody out until it goes on or is ended.
        if ((error as { errcode?: unknown }).errcode === busy) return undefined;
        throw error;
      }
    },
    renewLease: (name, epoch) => renew.run(name, epoch).changes === 1,
    releaseLease: (name, epoch) => {
      release.run(name, epoch);
    },
  };
}
