/**
 * Breaks the product on purpose: preloaded into every process and worker (NODE_OPTIONS), it replaces the snippets of one mutation
 * (mutations.ts, by name in JILIAN_MUTATION) as their files are loaded. Nothing on disk changes. A snippet that is not there exactly once
 * ends the process: a mutation must not rot unseen.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { type Edit, mutated, mutationOf } from "./mutations.ts";

const root = new URL("../../", import.meta.url);
const edits = new Map<string, Edit[]>();
for (const edit of mutationOf(process.env.JILIAN_MUTATION ?? "").edits) {
  const url = new URL(edit.file, root).href;
  edits.set(url, [...(edits.get(url) ?? []), edit]);
}
// Told at once, whether this process loads the file or not.
for (const [url, own] of edits) mutated(readFileSync(fileURLToPath(url), "utf8"), own);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    // Workspace links are resolved to the files themselves.
    const own = edits.get(url.split("?")[0] as string);
    if (!own) return loaded;
    const source =
      typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString("utf8");
    return { ...loaded, source: mutated(source, own) };
  },
});
