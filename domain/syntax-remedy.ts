/** Signs of a Chinese keyboard that look like those of YAML and are none. */
const fullWidth = new Map([..."：，“”‘’｛｝［］－＃　"].map((sign, i) => [sign, [...":,\"\"''{}[]-# "][i] as string]));

/** Texts in quotes, in which every sign stands for itself. */
const quoted = /"(?:[^"\\]|\\.)*"|'[^']*'/g;

/** What is to be done about a fault of YAML. Pure. @param code of the library @param line the text where the syntax is wrong */
export function syntaxRemedy(code: string, line: string): string {
  if (code === "DUPLICATE_KEY") return "keep one of the two keys";
  const sign = [...(line.replaceAll(quoted, "").split(" #")[0] as string)].find((one) => fullWidth.has(one));
  if (sign === undefined) return "correct the syntax at this line: indentation, quotes, brackets";
  return `write ${JSON.stringify(fullWidth.get(sign))} instead of the full-width ${JSON.stringify(sign)} at this line`;
}
