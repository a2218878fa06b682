/** A cell of an answer. An integer that a JavaScript number would not hold exactly is a bigint. */
export type Cell = string | number | bigint | boolean | null;

/** The rows of one group of an answer; the first column is the time, in milliseconds. */
export type Block = {
  readonly tags: Readonly<Record<string, string | null>>;
  readonly columns: readonly string[];
  readonly values: readonly (readonly Cell[])[];
};

type Statement = {
  statement_id?: number;
  error?: string;
  partial?: boolean;
  series?: { tags?: Block["tags"]; columns: string[]; values?: Cell[][]; partial?: boolean }[];
};

/** A bare integer of 16 digits and more, which a number may not hold. Inside a text it only costs time. */
const longInteger = /[[,]-?\d{16,}[\],]/;

/** JSON's own parser, but integers beyond 2^53 keep all digits. A reviver costs ten times as much, so it runs only where needed. */
function parseExact(text: string): unknown {
  if (!longInteger.test(text)) return JSON.parse(text);
  const revive = (_: string, value: unknown, context: { source?: string }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source ?? "")
      ? BigInt(context.source as string)
      : value;
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
}

/** The answers of a request's statements, in their order. @returns error: what InfluxDB says instead of one of them */
export function parseAnswer(text: string, statements: number): { blocks: Block[][]; error?: string } {
  const blocks: Block[][] = Array.from({ length: statements }, () => []);
  let answer: { results?: Statement[]; error?: string };
  try {
    answer = parseExact(text) as typeof answer;
  } catch {
    return { blocks, error: `no JSON: ${text.slice(0, 200)}` };
  }
  if (answer.error !== undefined) return { blocks, error: answer.error };
  for (const [i, { statement_id: id = i, error, partial, series = [] }] of (answer.results ?? []).entries()) {
    if (error !== undefined) return { blocks, error };
    // Silently shortened answers would be taken for the whole.
    if (partial || series.some((one) => one.partial)) {
      return { blocks, error: "the answer was cut: set max-row-limit = 0 in InfluxDB's configuration" };
    }
    for (const { tags = {}, columns, values = [] } of series) blocks[id]?.push({ tags, columns, values });
  }
  return { blocks };
}
