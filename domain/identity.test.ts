import { describe, expect, it } from "vitest";
import { creditCodeCheck, deviceKey, isCreditCode, isId } from "./identity.ts";

describe("ids", () => {
  it.each(["a", "7", "zhuji-1", "gw.01_b", "a".repeat(64)])("allows %s", (id) => expect(isId(id)).toBe(true));
  it.each(["", "A", "-a", "a-", ".", "a/b", "a+", "#", "a b", "温度", "a\n", "a".repeat(65)])("refuses %j", (id) =>
    expect(isId(id)).toBe(false),
  );
  it("address a device over the cluster", () => expect(deviceKey("f", "g", "d")).toBe("f/g/d"));
});

describe("unified social credit code", () => {
  // The example of GB 32100-2015, and invented codes whose check characters were worked out by the standard's other description: the
  // weight of place i is 3^(i-1) mod 31.
  const alphabetOf31 = "0123456789ABCDEFGHJKLMNPQRTUWXY";
  const checked = (first17: string) => {
    const sum = [...first17].reduce((total, c, i) => total + BigInt(alphabetOf31.indexOf(c)) * 3n ** BigInt(i), 0n);
    return first17 + alphabetOf31[Number((31n - (sum % 31n)) % 31n)];
  };
  const published = [
    "91350100M000100Y43",
    checked("91440200MA4DEM001"),
    checked("91440200000000100"),
    checked("Y1WXT0QRPNM12345U"),
  ];

  it.each(published)("%s holds", (code) => {
    expect(isCreditCode(code)).toBe(true);
    expect(creditCodeCheck(code.slice(0, 17))).toBe(code[17]);
  });

  it("finds every single wrong character and every swap of two neighbours that differ", () => {
    const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY";
    for (const code of published) {
      for (let i = 0; i < 18; i += 1) {
        for (const other of alphabet) {
          if (other !== code[i]) expect(isCreditCode(code.slice(0, i) + other + code.slice(i + 1))).toBe(false);
        }
        const [a = "", b = ""] = code.slice(i, i + 2);
        if (b !== "" && a !== b) expect(isCreditCode(code.slice(0, i) + b + a + code.slice(i + 2))).toBe(false);
      }
    }
  });

  it.each([
    "",
    "91350100M000100Y4",
    "91350100M000100Y433",
    "91350100m000100y43",
    "91350100I000100Y43",
    "91350100M000100Y4 ",
  ])("refuses %j", (code) => expect(isCreditCode(code)).toBe(false));
});
