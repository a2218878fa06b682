import type { DatabaseSync } from "node:sqlite";
import type { DefinitionSince } from "@jilian/domain/indicators/in-force.ts";
import type { DefinitionLedger } from "../ledger.ts";

/** Step of the ledger's schema. Rows are only ever added. */
export const definitionSchema = `
   CREATE TABLE definition_version (
     id INTEGER PRIMARY KEY, indicator TEXT NOT NULL, version INTEGER NOT NULL, from_ms INTEGER NOT NULL
   ) STRICT;`;

/** Since when versions of definitions are in force, in the embedded ledger. */
export function definitionLedger(db: DatabaseSync): DefinitionLedger {
  const all = db.prepare("SELECT indicator, version, from_ms AS fromMs FROM definition_version ORDER BY id");
  const insert = db.prepare("INSERT INTO definition_version (indicator, version, from_ms) VALUES (?, ?, ?)");
  const made = db.prepare(
    "SELECT indicator, max(definition_version) AS version FROM result GROUP BY indicator ORDER BY indicator",
  );
  return {
    definitionVersions: () => all.all().map((row) => ({ ...row }) as DefinitionSince),
    addDefinitionVersion: ({ indicator, version, fromMs }) => {
      insert.run(indicator, version, fromMs);
    },
    figureVersions: () => made.all().map((row) => ({ ...row }) as Pick<DefinitionSince, "indicator" | "version">),
  };
}
