import { expect, it } from "vitest";
import { interjectedBytes, readingsOf } from "./line-interjections.ts";

const packets = [Buffer.from("ping"), Buffer.from("id")];
const readings = (text: string) => [...readingsOf(Buffer.from(text), packets)].map(String);

it("reads first what came, then without one packet of the box, then without all", () => {
  expect(readings("abc")).toEqual(["abc"]);
  expect(readings("apingb")).toEqual(["apingb", "ab"]);
  expect(readings("idapingbping")).toEqual(["idapingbping", "idabping", "idapingb", "apingbping", "ab"]);
  expect(readings("pin")).toEqual(["pin"]);
});

it("is bounded where nothing but packets comes", () => {
  expect(readings("ping".repeat(1000)).length).toBeLessThanOrEqual(18);
});

it("counts the bytes of packets, which are no noise", () => {
  expect(interjectedBytes(Buffer.from("idapingbping"), packets)).toBe(10);
});
