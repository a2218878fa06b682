import { messageOf } from "@jilian/domain/errors.ts";
import { faultTeller } from "@jilian/domain/fault-teller.ts";
import { certificateState } from "@jilian/store/certificates.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Aedes, Client } from "aedes";
import type { Logger } from "pino";
import type { Holding } from "./certificates.ts";

export type AccessLedger = Pick<Ledger, "accessRevision" | "credentialStamp" | "certificate">;

type Parts = {
  ledger: AccessLedger;
  log: Logger;
  holdingOf: (client: Client) => Holding | undefined;
  /** Why a client has no place any more by the registry; undefined where it has one. */
  displaced: (client: Client, holding: Holding) => string | undefined;
  /** Counts and reports a client that is cut off. */
  onCut: (fault: { code: string; subject: string; detail: string }) => void;
  /** How often the ledger is asked; 1 s if absent. */
  everyMs?: number | undefined;
};

/** Why a client may not stay; undefined when it may. */
function fallen({ principal, proof }: Holding, ledger: AccessLedger, nowMs: number): string | undefined {
  if ("serial" in proof) {
    const known = ledger.certificate(proof.serial);
    if (known && certificateState(known, nowMs) === "valid") return undefined;
    return known?.revokedMs === null ? "its certificate has ended" : "its certificate was revoked";
  }
  const stamp = ledger.credentialStamp(principal.kind, principal.name);
  if (stamp !== undefined && stamp === proof.stamp) return undefined;
  return stamp === undefined ? "its password was withdrawn" : "its password was replaced";
}

/**
 * Cuts off clients whose certificate is revoked or has ended, whose password is withdrawn or replaced, or who have no place in the
 * registry any more, within a second. One number of the ledger says whether there is anything to look at in it: a client is looked at again
 * when that is another than when it was let in, so that nobody slips in between.
 */
export function watchRevocations(aedes: Aedes, parts: Parts): Disposable {
  const { ledger, log, holdingOf, displaced, onCut, everyMs = 1000 } = parts;
  const clients = new Set<Client>();
  const looked = faultTeller({
    tell: (err, heldBack) =>
      log.error({ err, heldBack, code: "BROKER_LEDGER_FAILED" }, `cannot look for revocations: ${messageOf(err)}`),
    over: () => log.info({ code: "BROKER_LEDGER_FAILED" }, "revocations can be looked for again"),
  });
  aedes.on("client", (client) => clients.add(client));
  aedes.on("clientDisconnect", (client) => clients.delete(client));

  function look(client: Client, revision: number, nowMs: number): void {
    const holding = holdingOf(client);
    if (!holding) return;
    const hasEnded = "endsMs" in holding.proof && nowMs > holding.proof.endsMs;
    const isSame = holding.revision === revision && !hasEnded;
    const why = (isSame ? undefined : fallen(holding, ledger, nowMs)) ?? displaced(client, holding);
    holding.revision = revision;
    if (why === undefined) return;
    clients.delete(client);
    onCut({ code: "BROKER_ACCESS_WITHDRAWN", subject: client.id, detail: why });
    client.close();
  }

  function poll(): void {
    try {
      const [revision, nowMs] = [ledger.accessRevision(), Date.now()];
      for (const client of clients) look(client, revision, nowMs);
      looked.well();
    } catch (thrown) {
      // The ledger may be locked for a moment; the next look comes in a second.
      looked.failed(thrown);
    }
  }
  const timer = setInterval(poll, everyMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
