import fc from "fast-check";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { describe, expect, it } from "vitest";
import { quickFit, unfit } from "./quick-check.ts";
import { fillDefaults } from "./tagged-union.ts";

const strict = { additionalProperties: false } as const;
const flat = Type.Object(
  { kind: Type.Literal("flat"), n: Type.Integer({ default: 4, minimum: 2, maximum: 9 }) },
  strict,
);
const deep = Type.Object(
  {
    kind: Type.Literal("deep"),
    text: Type.Optional(Type.String({ minLength: 2, maxLength: 3, pattern: "^[a-zé👍🏽]" })),
    scale: Type.Object({ by: Type.Number({ default: 1, exclusiveMinimum: 0 }) }, { ...strict, default: {} }),
    list: Type.Array(Type.Union([Type.Number(), Type.String()]), { minItems: 1, maxItems: 2, default: [1] }),
    words: Type.Optional(Type.Record(Type.String(), Type.Union([Type.Integer(), Type.Boolean()]))),
    mode: Type.Union([Type.Literal("a"), Type.Literal("b")], { default: "a" }),
    part: Type.Union([Type.Object({ n: Type.Integer({ default: 7 }) }, strict), Type.Literal(false)], { default: {} }),
  },
  strict,
);
const schema = Type.Object(
  { things: Type.Array(Type.Union([flat, deep])), loose: Type.Optional(Type.Object({ b: Type.Boolean() })) },
  strict,
);

const odd = fc.constantFrom<unknown>(
  null,
  "",
  "a",
  "aé",
  "👍🏽",
  "abcd",
  "a\r\n",
  0,
  -0,
  1,
  2,
  9,
  10,
  2.5,
  Number.NaN,
  Infinity,
  true,
  [],
  {},
  [1],
  { by: 2 },
  { n: 3 },
  { n: "3" },
  { x: 1 },
  undefined,
);
const thing = fc.record(
  Object.fromEntries([
    ["kind", fc.constantFrom<unknown>("flat", "deep", "deep", "other", 1)],
    ["n", fc.oneof(fc.constantFrom<unknown>(2, 9), odd)],
    ["text", fc.oneof(fc.constantFrom<unknown>("ab", "abc"), odd)],
    ["scale", fc.oneof(fc.constantFrom<unknown>({}, { by: 3 }, { by: 0 }), odd)],
    ["list", fc.oneof(fc.array(odd, { maxLength: 3 }), odd)],
    ["words", fc.oneof(fc.dictionary(fc.constantFrom("0", "a", "constructor"), odd), odd)],
    ["mode", fc.oneof(fc.constantFrom<unknown>("a", "b"), odd)],
    ["part", fc.oneof(fc.constantFrom<unknown>(false, {}, { n: 1 }), odd)],
    ["extra", odd],
  ] as const),
  { requiredKeys: [] },
);
const wholes = fc.record(
  { things: fc.array(thing, { maxLength: 2 }), loose: fc.oneof(fc.constant({ b: true, c: 1 }), odd) },
  { requiredKeys: ["things"] },
);

describe("the quick check", () => {
  it("fits nothing that the schema library does not, and gives the same value", () => {
    let fitted = 0;
    const property = fc.property(wholes, (drawn) => {
      const value = quickFit(schema, structuredClone(drawn));
      if (value === unfit) return;
      fitted += 1;
      const filled = fillDefaults(schema, structuredClone(drawn));
      expect(Value.Errors(schema, filled)).toEqual([]);
      expect(value).toStrictEqual(filled);
    });
    fc.assert(property, { numRuns: 3000 });
    expect(fitted).toBeGreaterThan(300);
  });

  it("keeps every bound", () => {
    const { properties: whole } = flat;
    const leaves = { ...whole, ...deep.properties };
    const bounds = [
      1,
      2,
      9,
      10,
      2.5,
      0,
      -1,
      "a",
      "ab",
      "abcd",
      "AB",
      "👍🏽",
      "éé",
      "a\r\n",
      [],
      [1, 2, 3],
      ["a"],
      { by: 0 },
      false,
      { n: 1 },
    ];
    for (const [name, leaf] of Object.entries(leaves)) {
      for (const value of bounds) {
        const fits = quickFit(Type.Object({ leaf }), { leaf: structuredClone(value) }) !== unfit;
        const filled = fillDefaults(Type.Object({ leaf }), { leaf: structuredClone(value) });
        const isPart = name === "text" && typeof value === "string" && /[^ -~]/.test(value);
        if (!isPart) expect([name, value, fits]).toEqual([name, value, Value.Check(Type.Object({ leaf }), filled)]);
      }
    }
  });

  it("fits what is right, with defaults that no two values share", () => {
    const value = { things: [{ kind: "deep" }, { kind: "deep", text: "ab" }, { kind: "flat" }] };
    const filled = quickFit(schema, structuredClone(value)) as { things: { scale: object; list: object }[] };
    expect(filled).toStrictEqual(fillDefaults(schema, value));
    expect(filled.things[0]?.scale).not.toBe(filled.things[1]?.scale);
    expect(filled.things[0]?.list).not.toBe(filled.things[1]?.list);
  });

  it("leaves a schema with a keyword that it does not know to the library", () => {
    expect(quickFit(Type.Number({ multipleOf: 5 }), 5)).toBe(unfit);
    expect(quickFit(Type.Object({ a: Type.Array(Type.Null()) }), { a: [null] })).toBe(unfit);
    expect(quickFit(Type.Object({ a: Type.Optional(Type.Tuple([Type.Number()])) }), {})).toStrictEqual({});
  });
});
