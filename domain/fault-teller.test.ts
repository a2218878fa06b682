import { expect, it } from "vitest";
import { messageOf } from "./errors.ts";
import { faultTeller } from "./fault-teller.ts";

function world() {
  const lines: string[] = [];
  let atMs = 5;
  const teller = faultTeller({
    tell: (thrown, heldBack) => lines.push(`${messageOf(thrown)} +${heldBack}`),
    over: () => lines.push("over"),
    againMs: 3_600_000,
    calmMs: 60_000,
    nowMs: () => atMs,
  });
  /** A look each second. */
  const look = (seconds: number, outcome: (second: number) => string | undefined) => {
    for (let i = 0; i < seconds; i += 1) {
      const message = outcome(i);
      if (message === undefined) teller.well();
      else teller.failed(new Error(message));
      atMs += 1000;
    }
    return lines.splice(0);
  };
  return look;
}

it("tells a fault once, again once an hour with what was held back, and its end", () => {
  const look = world();
  expect(look(100, () => undefined)).toEqual([]);
  expect(look(3600, () => "locked")).toEqual(["locked +0"]);
  expect(look(7200, () => "locked")).toEqual(["locked +3599", "locked +3599"]);
  expect(look(59, () => undefined)).toEqual([]);
  expect(look(2, () => undefined)).toEqual(["over"]);
  expect(look(100, () => undefined)).toEqual([]);
  expect(
    look(10, () => "locked"),
    "a new one, and nothing held back of the one before",
  ).toEqual(["locked +0"]);
});

it("tells each other fault once, takes what fails now and then for one, and is not flooded by ever new messages", () => {
  const look = world();
  expect(look(600, (i) => (i % 2 === 0 ? "locked" : undefined))).toEqual(["locked +0"]);
  expect(look(600, (i) => (i % 2 === 0 ? "gone" : "locked"))).toEqual(["gone +299"]);
  expect(look(1000, (i) => `other ${i}`)).toHaveLength(6);
  expect(look(70, () => undefined)).toEqual(["over"]);
});
