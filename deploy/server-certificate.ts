import { randomBytes } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Puts a file in the place of another, whole. */
function put(path: string, text: string, mode: number): void {
  const own = `${path}.${randomBytes(4).toString("hex")}`;
  writeFileSync(own, text, { mode, flush: true });
  renameSync(own, path);
}

/**
 * Writes key and certificate of the broker to the data folder. They are two files, and a broker that looks between the two finds that they
 * do not match and looks again.
 */
export function placeServerCertificate(
  dataDir: string,
  pem: string,
  key: string,
): { certFile: string; keyFile: string } {
  const files = { certFile: join(dataDir, "broker.pem"), keyFile: join(dataDir, "broker.key") };
  put(files.keyFile, `${key}\n`, 0o600);
  put(files.certFile, `${pem}\n`, 0o644);
  return files;
}
