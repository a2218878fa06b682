/** What every ledger must do with tokens and certificates of gateways, and with the number that tells of withdrawn access. */
import { expect, it } from "vitest";
import { certificateState } from "./certificates.ts";
import { newToken, tokenHash } from "./enrolment-token.ts";
import type { Ledger } from "./ledger.ts";

const gateway = { group: "f1", node: "gw-1" };

/** @param another the same ledger, opened a second time */
export function certificateTests(ledger: () => Ledger, another: () => Ledger): void {
  it("keeps a token's hash, however it is typed, and lets it be used once before its end", () => {
    const token = newToken();
    expect(token).toMatch(/^([0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{5}$/);
    const hash = tokenHash(token);
    const typed = token.toLowerCase().replaceAll("-", " ").replaceAll("0", "o").replaceAll("1", "l");
    expect(tokenHash(` ${typed}`)).toBe(hash);
    expect(tokenHash(newToken())).not.toBe(hash);
    ledger().addToken({ hash, ...gateway, createdMs: 0, expiresMs: 1000 });
    expect(another().token(hash)).toEqual({ hash, ...gateway, createdMs: 0, expiresMs: 1000, usedMs: null });
    expect([1000, 999, 999].map((nowMs) => another().useToken(hash, nowMs))).toEqual([false, true, false]);
    ledger().addToken({ hash: "other", ...gateway, createdMs: 0, expiresMs: 1000 });
    expect(ledger().withdrawTokens(gateway, 10)).toBe(1);
    expect([ledger().useToken("other", 10), ledger().token("none")]).toEqual([false, undefined]);
  });

  it("counts every change of access, of whichever process, and tells one secret from the next", () => {
    const name = "f1/gw-1";
    const other = another();
    const before = ledger().accessRevision();
    expect(ledger().credentialStamp("gateway", name)).toBeUndefined();
    other.setCredential({ kind: "gateway", name, ...gateway }, "first secret");
    const first = ledger().credentialStamp("gateway", name);
    other.setCredential({ kind: "gateway", name, ...gateway }, "second secret");
    expect(ledger().credentialStamp("gateway", name)).not.toBe(first);
    expect(ledger().accessRevision()).toBe(before + 2);
    other.revokeCredential("gateway", name);
    expect(ledger().accessRevision()).toBe(before + 3);
    const one = { serial: "0A", ...gateway, issuedMs: 1, expiresMs: 5, renews: null, keyHash: "k", pem: "p" };
    other.addCertificate(one);
    const issued = ledger().accessRevision();
    const revoke = (serial: string, nowMs: number) => other.revokeCertificate(serial, nowMs);
    expect([revoke("0A", 3), revoke("0A", 4), revoke("0B", 4)]).toEqual([true, false, false]);
    expect(ledger().accessRevision()).toBe(issued + 1);
    const found = ledger().certificate("0A");
    expect(found).toEqual({ ...one, revokedMs: 3 });
    expect([ledger().certificates(), ledger().certificates({ group: "f1", node: "gw-2" })]).toEqual([[found], []]);
  });

  it("shows certificates by gateway, the newest first, and how each stands", () => {
    const of = (serial: string, node: string, issuedMs: number) => {
      ledger().addCertificate({
        serial,
        group: "f1",
        node,
        issuedMs,
        expiresMs: 5,
        renews: null,
        keyHash: "",
        pem: "",
      });
    };
    of("A", "gw-2", 1);
    of("B", "gw-1", 1);
    of("C", "gw-1", 2);
    expect(
      another()
        .certificates()
        .map(({ serial }) => serial),
    ).toEqual(["C", "B", "A"]);
    const [one] = ledger().certificates(gateway);
    if (!one) throw new Error("no certificate");
    const states = [certificateState({ ...one, revokedMs: 3 }, 9), certificateState(one, 5), certificateState(one, 6)];
    expect(states).toEqual(["revoked", "valid", "expired"]);
  });
}
