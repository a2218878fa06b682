import { expect, it } from "vitest";
import { append, greatestOf, leastOf } from "./lists.ts";

const many = Array.from({ length: 300_000 }, (_, i) => i);

it("adds more items to a list than the stack holds", () => {
  expect(() => [].push(...(many as never[]))).toThrow(RangeError);
  const list = [-1];
  append(list, many);
  expect([list.length, list[0], list[1], list.at(-1)]).toEqual([300_001, -1, 0, 299_999]);
});

it("finds the least and the greatest of more numbers than the stack holds, and of none", () => {
  expect([leastOf(many), greatestOf(many)]).toEqual([0, 299_999]);
  expect([leastOf([]), greatestOf([])]).toEqual([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  expect([leastOf(new Set([3, -2, 5])), greatestOf(new Set([3, -2, 5]))]).toEqual([-2, 5]);
});
