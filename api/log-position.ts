import type { ChangeLog } from "@jilian/store/ledger.ts";
import { problem } from "./problems.ts";

/** Refuses a position that this change log cannot have given. @throws a 409 that says how to begin again */
export function checkPosition({ id, last }: ChangeLog, position: number, logId: string | undefined): void {
  const again = "begin again with after=0; what you have stored of the old log is not in this one";
  if (logId !== undefined && logId !== id) {
    throw problem({
      code: "LOG_REPLACED",
      status: 409,
      detail: `this is change log "${id}", the position belongs to "${logId}"`,
      remedy: again,
    });
  }
  if (position <= last) return;
  throw problem({
    code: "CHANGE_AHEAD",
    status: 409,
    detail: `the change log ends at ${last}, the position is ${position}: the ledger was replaced by an older copy`,
    remedy: again,
  });
}
