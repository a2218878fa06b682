import { describe, expect, it } from "vitest";
import { type Account, addGap, decodeAccount, encodeAccount, gapReason, maxGapReasons, noCounts } from "./account.ts";

const hour = 1_772_323_200_000;
const account: Account = {
  ...noCounts,
  hourMs: hour,
  part: "0123abcd",
  scheduled: 3600,
  answered: 3590,
  polled: 71_800,
  suppressed: 64_000,
  queued: 7_800,
  droppedFull: 12,
  gapMs: { MODBUS_TIMEOUT: 9_800, GATEWAY_DOWN: 200 },
};

describe("an account", () => {
  it("comes back as it was, and what is 0 is not sent", () => {
    expect(decodeAccount(encodeAccount(account))).toEqual(account);
    const empty = { ...noCounts, hourMs: hour, part: "0123abcd", gapMs: {} };
    expect(encodeAccount(empty)).toBe(`{"v":1,"hour":${hour},"part":"0123abcd"}`);
    expect(decodeAccount(encodeAccount(empty))).toEqual(empty);
  });

  it("is refused whole when anything in it is not as agreed", () => {
    const good = JSON.parse(encodeAccount(account)) as Record<string, unknown>;
    const many = Object.fromEntries(Array.from({ length: maxGapReasons + 1 }, (_, i) => [`R${i}`, 1]));
    const bad: Record<string, unknown>[] = [
      { v: 2 },
      { hour: hour + 1 },
      { hour: String(hour) },
      { hour: -3_600_000 },
      { part: "0123ABCD" },
      { part: undefined },
      { queued: -1 },
      { queued: 1.5 },
      { queued: null },
      { lost: 3 },
      { gapMs: [] },
      { gapMs: { "a b": 1 } },
      { gapMs: { MODBUS_TIMEOUT: -1 } },
      { gapMs: many },
    ];
    for (const change of bad) {
      const text = JSON.stringify({ ...good, ...change });
      expect(() => decodeAccount(text), text).toThrow(expect.objectContaining({ code: "ACCOUNT_INVALID" }));
    }
    for (const text of ["", "null", "[]", "7", "{"])
      expect(() => decodeAccount(text), text).toThrow(expect.objectContaining({ code: "ACCOUNT_INVALID" }));
  });

  it("has room for so many reasons, the others go together, and it stays readable", () => {
    const gapMs: Record<string, number> = {};
    for (let i = 0; i < 40; i += 1) addGap(gapMs, `R${i}`, 1);
    addGap(gapMs, "R3", 5);
    expect(gapMs).toMatchObject({ R3: 6, OTHER: 40 - (maxGapReasons - 1) });
    expect(decodeAccount(encodeAccount({ ...account, gapMs })).gapMs).toEqual(gapMs);
  });

  it("takes a code that no reason looks like for OTHER", () => {
    expect([gapReason("MODBUS_TIMEOUT"), gapReason("econnreset"), gapReason("")]).toEqual([
      "MODBUS_TIMEOUT",
      "OTHER",
      "OTHER",
    ]);
  });
});
