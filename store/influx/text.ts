/**
 * Text as line protocol and InfluxQL take it. Line protocol has no way to write a control character in a tag, nor a backslash before a
 * comma, a space, an equals sign or the end: those become two hexadecimal digits after U+241B (the symbol for escape), which hardly any
 * name holds; a name that does has it doubled. Everything else, Chinese included, stands in the store as it is.
 */
const escapeSign = "␛";
const tagUnsafe = new RegExp(`[${escapeSign}\\\\\\u0000-\\u001f\\u007f]`, "g");
const tagEscape = new RegExp(`${escapeSign}(${escapeSign}|[0-9a-f]{2})`, "g");

/** A tag's value as the store holds it. A lone surrogate becomes U+FFFD, as it would in UTF-8. */
export function tagValue(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(tagUnsafe, (sign) =>
      sign === escapeSign ? escapeSign + escapeSign : escapeSign + sign.charCodeAt(0).toString(16).padStart(2, "0"),
    );
}

/** The text that a tag's value stands for. */
export function fromTagValue(stored: string): string {
  return stored.replaceAll(tagEscape, (_, code: string) =>
    code === escapeSign ? escapeSign : String.fromCharCode(Number.parseInt(code, 16)),
  );
}

/** A point whose key is the text before the fields and the time: of two with one key, the later one is written. */
export type Point = { head: string; fields: string; timeMs: number };

/** `,name=value` of a line; nothing for an empty text, as a tag cannot be empty: it is absent, and absent reads as empty. */
export function lineTag(name: string, text: string): string {
  return text === "" ? "" : `,${name}=${tagValue(text).replaceAll(/[,= ]/g, "\\$&")}`;
}

/** A string field's value in a line; line breaks may stand in it. */
export function lineText(text: string): string {
  return `"${text.toWellFormed().replaceAll(/["\\]/g, "\\$&")}"`;
}

/** A float field's value in a line, to the same bits. */
export function lineFloat(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** A string literal of InfluxQL. */
export function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, "\\$&").replaceAll("\n", "\\n")}'`;
}

/** A name of InfluxQL: a database. */
export function quotedName(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}

/** The condition that a tag has the value of a text, which must not be empty. */
export function tagIs(name: string, text: string): string {
  return `"${name}" = ${quoted(tagValue(text))}`;
}

/** Nanoseconds since 1970 of the last millisecond that InfluxDB's time can hold, 2262-04-11. */
export const lastTimeMs = 9_223_372_036_853;

/** A time for InfluxQL, in nanoseconds, which every version takes; a time may be infinite where a caller means "all". */
function timeLiteral(ms: number): string {
  const bound = Math.min(Math.max(Math.ceil(ms), 0), lastTimeMs + 1);
  return bound === 0 ? "0" : `${bound}000000`;
}

/** The condition that a time lies in [fromMs, toMs). */
export function within(fromMs: number, toMs: number): string {
  return `time >= ${timeLiteral(fromMs)} AND time < ${timeLiteral(toMs)}`;
}
