import type { LineCounter, parseDocument } from "yaml";
import type { Fault } from "./check-config.ts";

/** Signs of a Chinese keyboard that look like those of YAML and are none. */
const fullWidth = new Map([..."：，“”‘’｛｝［］－＃　"].map((sign, i) => [sign, [...":,\"\"''{}[]-# "][i] as string]));

/** Texts in quotes, in which every sign stands for itself. */
const quoted = /"(?:[^"\\]|\\.)*"|'[^']*'/g;

/** What is to be done about a fault of YAML. Pure. @param code of the library @param line the text where the syntax is wrong */
function syntaxRemedy(code: string, line: string): string {
  if (code === "DUPLICATE_KEY") return "keep one of the two keys";
  const sign = [...(line.replaceAll(quoted, "").split(" #")[0] as string)].find((one) => fullWidth.has(one));
  if (sign === undefined) return "correct the syntax at this line: indentation, quotes, brackets";
  return `write ${JSON.stringify(fullWidth.get(sign))} instead of the full-width ${JSON.stringify(sign)} at this line`;
}

/** The faults of a text as YAML; none when it can be read. Pure. */
export function syntaxFaults(
  document: ReturnType<typeof parseDocument>,
  counter: LineCounter,
  text: string,
  file: string,
): Fault[] {
  if (document.errors.length === 0) return [];
  // Once: a wrong sign in each of ten thousand lines is as many faults.
  const lines = text.split("\n");
  return document.errors.map((e) => {
    const { line } = counter.linePos(e.pos[0]);
    const remedy = syntaxRemedy(e.code, lines[line - 1] ?? "");
    return { file, line, path: "", found: e.message, expected: "YAML 1.2", remedy };
  });
}
