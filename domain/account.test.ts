import { describe, expect, it } from "vitest";
import {
  type Account,
  addDroppedTag,
  addGap,
  decodeAccount,
  encodeAccount,
  gapReason,
  maxCount,
  maxDroppedTags,
  maxGapMs,
  maxGapReasons,
  noCounts,
} from "./account.ts";

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
  droppedTags: { 温度: 11, "": 1 },
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
      // Numbers with which sums would not be exact, or not be.
      { queued: maxCount + 1 },
      { queued: Number.MAX_SAFE_INTEGER },
      { gapMs: { MODBUS_TIMEOUT: maxGapMs + 1 } },
      { hour: 2560 * 3_600_000_000 },
      { droppedTags: [] },
      { droppedTags: null },
      { droppedTags: { a: -1 } },
      { droppedTags: { a: "1" } },
      { droppedTags: { ["x".repeat(101)]: 1 } },
      { droppedTags: Object.fromEntries(Array.from({ length: maxDroppedTags + 2 }, (_, i) => [`t${i}`, 1])) },
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

  it("names so many dropped metrics, and counts every sample of the others", () => {
    const own: Account = { ...noCounts, hourMs: hour, part: "0123abcd", gapMs: {} };
    for (let i = 0; i < 80; i += 1) addDroppedTag(own, `t${i}`, 2);
    for (const odd of ["", "__proto__", "constructor", "x".repeat(101)]) addDroppedTag(own, odd, 1);
    addDroppedTag(own, "t0", 5);
    expect(own.droppedTags).toMatchObject({ t0: 7, "": 2 * (80 - maxDroppedTags) + 4 });
    expect(Object.keys(own.droppedTags ?? {})).toHaveLength(maxDroppedTags + 1);
    expect(decodeAccount(encodeAccount(own))).toEqual(own);
  });

  it("can always be read back, whatever the clock did", () => {
    const gapMs: Record<string, number> = {};
    for (let i = 0; i < 40; i += 1) addGap(gapMs, "CLOCK_SET_BACK", 3_600_000);
    expect(decodeAccount(encodeAccount({ ...account, gapMs, scheduled: 1e15 }))).toMatchObject({
      gapMs: { CLOCK_SET_BACK: maxGapMs },
      scheduled: maxCount,
    });
  });

  it("takes a code that no reason looks like for OTHER", () => {
    expect([gapReason("MODBUS_TIMEOUT"), gapReason("econnreset"), gapReason("")]).toEqual([
      "MODBUS_TIMEOUT",
      "OTHER",
      "OTHER",
    ]);
  });
});
