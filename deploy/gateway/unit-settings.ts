import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Node.js options and variables with which the unit of the packed gateway starts it: what is measured is to run the same way. */
export function unitSettings(root: string): { flags: string[]; env: Record<string, string> } {
  const unit = readFileSync(join(root, "deploy/gateway/files/jilian-gateway.service"), "utf8");
  const flags = /^ExecStart=\S+ ((?:--\S+ )*)/m.exec(unit)?.[1]?.trim().split(" ") ?? [];
  const words = /^Environment=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  const env = Object.fromEntries(words.map((word) => word.split("=") as [string, string]));
  return { flags, env };
}
