import { messageOf } from "@jilian/domain/errors.ts";
import { append } from "@jilian/domain/lists.ts";

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

const lineFeed = 0x0a;

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

/** What InfluxDB answers to one request: one text, or one for each piece, a line each. */
type Piece = { results?: Statement[]; error?: string };

/** Adds the rows of a piece to those before: a series that was said to go on goes on. @returns whether more of the statement follows */
function addSeries(blocks: Block[], series: NonNullable<Statement["series"]>, goesOn: boolean): boolean {
  for (const [i, { tags = {}, columns, values = [] }] of series.entries()) {
    const before = blocks.at(-1);
    if (i === 0 && goesOn && before) append(before.values as Cell[][], values);
    else blocks.push({ tags, columns, values });
  }
  return series.at(-1)?.partial === true;
}

export type AnswerReader = {
  /** The next bytes of the answer. */
  readonly take: (chunk: Buffer) => void;
  /** The answers of the statements, in their order, when all bytes are there. `error`: what InfluxDB says instead of one of them. */
  readonly end: () => { blocks: Block[][]; error?: string };
};

/**
 * Reads the answer to a request's statements as it comes: each piece, a line, as soon as it is whole. Nothing of its text is kept then; a
 * text of more than half a gigabyte could not be made at all.
 */
export function answerReader(statements: number): AnswerReader {
  const blocks: Block[][] = Array.from({ length: statements }, () => []);
  /** Statements of which the last piece has said that more follows, and whether it was of its last series. */
  const open = new Map<number, boolean>();
  const answered = new Set<number>();
  let begun: Buffer[] = [];
  let error: string | undefined;

  function takePiece({ results = [], error: own }: Piece): void {
    error = own;
    for (const [i, { statement_id: id = i, error: told, partial = false, series = [] }] of results.entries()) {
      error ??= told;
      if (error !== undefined) return;
      answered.add(id);
      const goesOn = addSeries(blocks[id] ?? [], series, open.get(id) === true);
      if (goesOn || partial) open.set(id, goesOn);
      else open.delete(id);
    }
  }

  function takeLine(line: Buffer): void {
    if (error !== undefined) return;
    try {
      const text = line.toString("utf8");
      if (text.trim() !== "") takePiece(parseExact(text) as Piece);
    } catch (thrown) {
      error = `no JSON (${messageOf(thrown)}): ${line.toString("utf8", 0, 200)}`;
    }
  }

  function endLine(): void {
    const line = begun.length === 1 ? (begun[0] as Buffer) : Buffer.concat(begun);
    begun = [];
    takeLine(line);
  }
  return {
    take: (chunk) => {
      let from = 0;
      // In UTF-8 no other sign has this byte in it; in JSON it stands between pieces only.
      for (let at = chunk.indexOf(lineFeed); at >= 0; at = chunk.indexOf(lineFeed, from)) {
        begun.push(chunk.subarray(from, at));
        endLine();
        from = at + 1;
      }
      if (from < chunk.length) begun.push(chunk.subarray(from));
    },
    end: () => {
      endLine();
      if (error !== undefined) return { blocks, error };
      // Silently shortened answers would be taken for the whole.
      if (open.size > 0)
        return { blocks, error: "the answer was cut: set max-row-limit = 0 in InfluxDB's configuration" };
      if (answered.size < statements) return { blocks, error: `${answered.size} answers to ${statements} statements` };
      return { blocks };
    },
  };
}
