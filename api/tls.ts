import { readFileSync } from "node:fs";
import type { Server } from "node:https";
import { resolve } from "node:path";
import { certificatesOf, type TlsMaterial, validityFault } from "@jilian/domain/tls.ts";
import { followTls } from "@jilian/domain/tls-follow.ts";
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
  const files = followTls(paths, read, (fault, text) => log.warn(fault, text));

  function tell(what: string): void {
    const [own] = certificatesOf(files.current().cert as string, paths.certFile);
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

  function look(server: Server, isAsked: boolean): void {
    if (files.renew((material) => server.setSecureContext({ ...material, minVersion }), isAsked))
      tell("renewed certificate of the open data interface: new connections have it");
  }

  tell("certificate of the open data interface");
  return {
    options: { ...files.current(), minVersion },
    keepFresh: (server, everyMs = pollMs) => {
      const timer = setInterval(() => look(server, false), everyMs);
      timer.unref();
      return { look: () => look(server, true), close: () => clearInterval(timer) };
    },
  };
}
