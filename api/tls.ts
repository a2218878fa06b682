import { readFileSync } from "node:fs";
import type { Server } from "node:https";
import { resolve } from "node:path";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { certificatesOf, type TlsMaterial, tlsMaterial, validityFault } from "@jilian/domain/tls.ts";
import type { Logger } from "pino";
import type { ApiConfig } from "./config.ts";

/** How often the files are looked at: a certificate that was renewed counts within this time, without a restart. */
const pollMs = 30_000;
/** A certificate that ends within this time is told at every start and renewal. */
const soonMs = 14 * 86_400_000;

const read = (path: string): string => readFileSync(path, "utf8");

export type Certificate = {
  /** For `https.createServer`. */
  readonly options: TlsMaterial & { minVersion: NonNullable<ApiConfig["tls"]>["minVersion"] };
  /** Keeps a server's certificate that of the files until closed. @returns how to end that */
  readonly keepFresh: (server: Server, everyMs?: number) => { readonly look: () => void; readonly close: () => void };
};

/**
 * Reads the certificate of the interface.
 * @throws JilianError TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH. One that has ended is told in the log and used: a wall
 * that a browser warns of is better than none
 */
export function readCertificate(tls: NonNullable<ApiConfig["tls"]>, baseDir: string, log: Logger): Certificate {
  const { minVersion } = tls;
  const paths = { certFile: resolve(baseDir, tls.certFile), keyFile: resolve(baseDir, tls.keyFile) };
  let material = tlsMaterial(paths, read);
  let toldFault = "";

  function tell(what: string): void {
    const [own] = certificatesOf(material.cert as string, paths.certFile);
    if (!own) return;
    const nowMs = Date.now();
    const fault = validityFault(own, nowMs);
    const address = paths.certFile;
    const ends = own.validToDate.toISOString();
    if (fault) log.error({ code: fault.code, address, remedy: fault.remedy }, `no browser trusts it: ${fault.reason}`);
    else if (own.validToDate.getTime() - nowMs < soonMs)
      log.warn({ code: "TLS_EXPIRES_SOON", address, ends }, "the certificate of the open data interface ends soon");
    log.info({ address, subject: own.subject.replaceAll("\n", ", "), ends }, what);
  }

  /** Takes up changed files that belong together; a fault is told once, what is in use stays. */
  function look(server: Server): void {
    try {
      const now = tlsMaterial(paths, read);
      const isSame = now.cert === material.cert && now.key === material.key;
      if (!isSame) server.setSecureContext({ ...now, minVersion });
      toldFault = "";
      if (isSame) return;
      material = now;
      tell("renewed certificate of the open data interface: new connections have it");
    } catch (thrown) {
      // Certificate and key are two files: between the first and the second they do not match.
      const told = `${codeOf(thrown)} ${messageOf(thrown)}`;
      const detail = thrown instanceof JilianError ? { address: thrown.address, remedy: thrown.remedy } : {};
      if (told !== toldFault)
        log.warn({ code: codeOf(thrown), ...detail }, `the renewed certificate is not taken up: ${messageOf(thrown)}`);
      toldFault = told;
    }
  }

  tell("certificate of the open data interface");
  return {
    options: { ...material, minVersion },
    keepFresh: (server, everyMs = pollMs) => {
      const timer = setInterval(() => look(server), everyMs);
      timer.unref();
      // Who asks is told what is wrong, told already or not.
      const asked = () => {
        toldFault = "";
        look(server);
      };
      return { look: asked, close: () => clearInterval(timer) };
    },
  };
}
