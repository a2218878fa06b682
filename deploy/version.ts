import { readFileSync } from "node:fs";

/** Of the program. */
export const version = (
  JSON.parse(readFileSync(new URL("./package.json", import.meta.url), "utf8")) as { version: string }
).version;

/** Versions of the program, of Node.js, and of the files it writes. */
export async function versions(): Promise<string> {
  const [duckdb, sqlite] = await Promise.all([
    import("@jilian/store/duckdb/schema.ts"),
    import("@jilian/store/sqlite/schema.ts"),
  ]);
  const schemas = `telemetry schema ${duckdb.migrations.length}\nledger schema ${sqlite.migrations.length}\n`;
  return `jilian ${version}\nNode.js ${process.version}\n${schemas}`;
}
