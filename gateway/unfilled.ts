import type { SemanticFault } from "@jilian/domain/check-config.ts";

/** What the example configuration has in place of values that somebody has to give. */
const blank = "【必填】";
/** What stands for bytes that are no UTF-8. */
const unreadable = "\ufffd";

/** Where texts of a configuration hold something, as JSON pointers; depth first. */
function pathsOf(value: unknown, what: string, path = ""): string[] {
  if (typeof value === "string") return value.includes(what) ? [path] : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, what, `${path}/${key}`));
}

/**
 * Values that nobody has filled in yet: texts like any other to a schema. Pure; nothing is looked through where the file has none.
 * @param text the file
 */
export function unfilledFaults(config: unknown, text: string): SemanticFault[] {
  if (!text.includes(blank)) return [];
  const remedy = "write what the lead unit has given in place of these words";
  return pathsOf(config, blank).map((path) => ({ path, expected: "the value for this plant", remedy }));
}

/** Values that an editor has saved in another character set: a unit m³ in GBK. A gateway runs with them, and tells them so. Pure. */
export function unreadableWarnings(config: unknown): string[] {
  return pathsOf(config, unreadable).map(
    (path) =>
      `${path}: holds characters that are no UTF-8; save the file as UTF-8 (it may be GBK now), and write the value anew`,
  );
}
