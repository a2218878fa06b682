import { shortestFloat32 } from "./decimal.ts";

/** A DataSet as the payload holds it (Sparkplug 3.0, 6.4.9): a table whose columns have one datatype each. */
export type DataSet<Wire> = {
  columns: readonly string[];
  types: readonly number[];
  rows: readonly { elements: readonly { value: Wire }[] }[];
};

type Element = boolean | number | bigint | string | null;

/** JSON has no word for NaN and infinities, and no bound to its integers. */
function jsonOf(value: Element, isFloat32: boolean): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "number") return JSON.stringify(value);
  if (!Number.isFinite(value)) return "null";
  return String(isFloat32 ? Number(shortestFloat32(value)) : value);
}

/**
 * A DataSet as JSON without spaces, which is how it is stored: `{"columns":["a"],"types":["Int32"],"rows":[[1],[2]]}`.
 * @param nameOf the datatype's name; undefined for one that a table cannot hold
 * @param read gives an element by the datatype of its column, null for an absent one @throws what it throws
 * @returns undefined when its parts do not fit together
 */
export function dataSetText<Wire>(
  { columns, types, rows }: DataSet<Wire>,
  nameOf: (datatype: number) => string | undefined,
  read: (datatype: number, wire: Wire) => Element,
): string | undefined {
  const names = types.map(nameOf);
  const fits = rows.every(({ elements }) => elements.length === types.length);
  if (types.length !== columns.length || names.includes(undefined) || !fits) return undefined;
  const lines = rows.map(({ elements }) => {
    const cells = elements.map(({ value }, i) => jsonOf(read(types[i] as number, value), names[i] === "Float"));
    return `[${cells.join(",")}]`;
  });
  return `{"columns":${JSON.stringify(columns)},"types":${JSON.stringify(names)},"rows":[${lines.join(",")}]}`;
}
