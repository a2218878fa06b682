/**
 * Preloaded into every process and thread of the tests (NODE_OPTIONS): where a package is imported that was bundled, its bundle is loaded.
 * The product's own files stay as they are.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

const manifest = new URL("manifest.json", process.env.JILIAN_TEST_PACKAGES);
/** By the URL of a package's own entry, that of its bundle. */
const bundles = new Map(Object.entries(JSON.parse(readFileSync(manifest, "utf8")) as Record<string, string>));

registerHooks({
  resolve: (specifier, context, next) => {
    const found = next(specifier, context);
    const bundle = context.conditions.includes("import") ? bundles.get(found.url) : undefined;
    return bundle === undefined ? found : { url: bundle, format: "module", shortCircuit: true };
  },
});
