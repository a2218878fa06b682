import fc from "fast-check";
import { expect, test } from "vitest";
import { placesOf } from "./places.ts";

test("rows are by span and time, however they come; equal times stay in the order in which they came", () => {
  const row = fc.record({ span: fc.nat(4), atMs: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(row), (rows) => {
      const spanOf = Int32Array.from(rows, ({ span }) => span);
      const timeOf = Float64Array.from(rows, ({ atMs }) => atMs);
      const { of, ends } = placesOf(spanOf, timeOf, 6);
      const placed = new Array<number>(rows.length);
      for (const [row, place] of of.entries()) placed[place] = row;
      const sorted = [...rows.keys()].sort(
        (a, b) => (spanOf[a] as number) - (spanOf[b] as number) || (timeOf[a] as number) - (timeOf[b] as number),
      );
      expect(placed).toEqual(sorted);
      expect([...ends]).toEqual([0, 1, 2, 3, 4, 5].map((span) => rows.filter((own) => own.span <= span).length));
    }),
  );
});
