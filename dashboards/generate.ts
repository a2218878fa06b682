import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { provisioningFiles } from "./provisioning.ts";

/** Writes the provisioning anew: `node dashboards/generate.ts`. */
const target = join(import.meta.dirname, "provisioning");
rmSync(target, { recursive: true, force: true });
for (const [path, content] of provisioningFiles()) {
  const file = join(target, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}
