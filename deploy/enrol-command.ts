import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import { certificatesOf } from "@jilian/domain/tls.ts";
import { openAuthority } from "@jilian/store/authority.ts";
import { certificateState, type GatewayCertificate } from "@jilian/store/certificates.ts";
import { newToken, tokenHash } from "@jilian/store/enrolment-token.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { PlatformConfig } from "./config.ts";
import { placeServerCertificate } from "./server-certificate.ts";

export const enrolHelp = `jilian enrol, certificates, revoke: certificates of gateways 网关证书

  jilian enrol FACTORY/GATEWAY --config platform.yaml         makes a one-time token for a registered gateway and prints it once
      --hours N                   how long it can be used (default 24, at most 720)
  jilian certificates [FACTORY/GATEWAY] --config ...          serial, gateway, issued, expires, state (valid, expired, revoked)
  jilian certificates broker HOST[,HOST...] --config ...      signs a certificate for the broker with the platform's own authority
      --days N                    its life (default 825)
  jilian revoke FACTORY/GATEWAY|SERIAL --config ...           withdraws every certificate, token and password of a gateway, or one
                                                              certificate; open connections end within seconds
Exit codes: 0 done, 1 failed, 2 wrong arguments (nothing was changed).
`;

export type EnrolOptions = { hours?: string | undefined; days?: string | undefined };

export type EnrolCommandParts = {
  options: EnrolOptions;
  config: PlatformConfig;
  /** Folder that relative paths of the configuration start at. */
  baseDir: string;
  dataDir: string;
  /** Names of the registered gateways, `factory/gateway`; of the registry that was applied last, undefined where none was. */
  gateways: (ledger: Ledger) => { known: ReadonlySet<string>; applied: ReadonlySet<string> | undefined };
  withLedger: <T>(work: (ledger: Ledger) => T) => T;
  /** `user@host` of who calls. */
  caller: string;
  say: (text: string) => void;
  /** Ends the program with code 2. */
  refuse: (text: string) => never;
};

const hourMs = 3_600_000;
const longestHours = 720;

function placeOf(name: string): { group: string; node: string } {
  const [group = "", node = ""] = name.split("/");
  return { group, node };
}

function numberOf(text: string | undefined, most: number, standard: number, refuse: EnrolCommandParts["refuse"]) {
  if (text === undefined) return standard;
  const value = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  return value >= 1 && value <= most ? value : refuse(`"${text}" is not a whole number from 1 to ${most}`);
}

/** What a person at the box needs to trust an interface whose certificate no public authority has signed. */
function trustLines({ config, baseDir }: EnrolCommandParts): string {
  const { tls } = config.api;
  if (!tls) return "";
  const path = resolve(baseDir, tls.certFile);
  try {
    const [own] = certificatesOf(readFileSync(path, "utf8"), path);
    const fingerprint = own?.fingerprint256.replaceAll(":", "").toLowerCase();
    return `where the box does not know who signed this platform's certificate, add:\n  --fingerprint sha256:${fingerprint}\n`;
  } catch (thrown) {
    // The token is made, and is shown this once.
    return `note: no fingerprint: api.tls.certFile cannot be read yet: ${messageOf(thrown)}\n`;
  }
}

function audit(ledger: Ledger, parts: EnrolCommandParts, action: string, subject: string, detail: object): void {
  const entry = { atMs: Date.now(), actor: parts.caller, origin: "command" };
  ledger.addAudit({ ...entry, action, subject, detail: JSON.stringify(detail) });
}

function makeToken(name: string, parts: EnrolCommandParts): void {
  const { options, config, withLedger, say, refuse } = parts;
  const { enrolment } = config.api;
  const remedy = "add api.enrolment with brokerHost, the address of the broker as gateways reach it";
  if (!enrolment) refuse(`gateways cannot enrol: api.enrolment is not set\n  remedy: ${remedy}`);
  const hours = numberOf(options.hours, longestHours, 24, refuse);
  const token = newToken();
  const nowMs = Date.now();
  const expiresMs = nowMs + hours * hourMs;
  const { valid, isApplied } = withLedger((ledger) => {
    const { known, applied } = parts.gateways(ledger);
    if (!known.has(name)) {
      refuse(
        `gateway ${name} is not in the registry\n  known: ${[...known].join(", ")}\n  remedy: add it to cluster.yaml first`,
      );
    }
    ledger.transaction(() => {
      ledger.addToken({ hash: tokenHash(token), ...placeOf(name), createdMs: nowMs, expiresMs });
      audit(ledger, parts, "enrolment.token", `gateway ${name}`, { expires: isoTime(expiresMs) });
    });
    const all = ledger.certificates(placeOf(name));
    const isValid = (one: GatewayCertificate) => certificateState(one, nowMs) === "valid";
    return { valid: all.filter(isValid).length, isApplied: applied?.has(name) ?? true };
  });
  const url = enrolment?.publicUrl ?? "https://PLATFORM";
  say(`token:    ${token}\nexpires:  ${isoTime(expiresMs)}\n`);
  say(`on the box 在网关上执行:\n  sudo jilian-gateway enrol ${url} ${token}\n`);
  if (!isApplied) say("note: the box is refused before: jilian registry apply cluster.yaml\n");
  if (valid > 0)
    say(
      `note: ${valid} certificates of it stay valid; when a box is gone: jilian certificates ${name}, jilian revoke SERIAL\n`,
    );
  say(trustLines(parts));
}

function list(name: string | undefined, { withLedger, say }: EnrolCommandParts): void {
  const nowMs = Date.now();
  const all = withLedger((ledger) => ledger.certificates(name === undefined ? undefined : placeOf(name)));
  if (all.length === 0) say("none 无证书\n");
  for (const one of all) {
    const { serial, group, node, issuedMs, expiresMs, revokedMs } = one;
    const revoked = revokedMs === null ? "" : ` ${isoTime(revokedMs)}`;
    const times = `issued ${isoTime(issuedMs)}  expires ${isoTime(expiresMs)}`;
    say(`${serial}  ${`${group}/${node}`.padEnd(40)} ${times}  ${certificateState(one, nowMs)}${revoked}\n`);
  }
}

function revokeOne(serial: string, parts: EnrolCommandParts): void {
  const found = parts.withLedger((ledger) => {
    const certificate = ledger.certificate(serial);
    return certificate && ledger.transaction(() => revokeAll([certificate], ledger, parts)) > 0
      ? certificate
      : undefined;
  });
  if (!found) {
    const remedy = "see the serials with: jilian certificates --config ...";
    parts.refuse(`there is no certificate ${serial} that is valid\n  remedy: ${remedy}`);
  }
  parts.say(
    `certificate ${serial} of ${found.group}/${found.node}: revoked 已吊销; its open connection ends within seconds\n`,
  );
}

/** @returns how many it revoked */
function revokeAll(certificates: readonly GatewayCertificate[], ledger: Ledger, parts: EnrolCommandParts): number {
  const nowMs = Date.now();
  const revoked = certificates.filter(({ serial }) => ledger.revokeCertificate(serial, nowMs));
  for (const { serial, group, node } of revoked)
    audit(ledger, parts, "certificate.revoke", `gateway ${group}/${node}`, { serial });
  return revoked.length;
}

function revokeGateway(name: string, parts: EnrolCommandParts): void {
  const { withLedger, say, refuse } = parts;
  const gateway = placeOf(name);
  const done = withLedger((ledger) =>
    ledger.transaction(() => {
      const certificates = revokeAll(ledger.certificates(gateway), ledger, parts);
      const tokens = ledger.withdrawTokens(gateway, Date.now());
      if (tokens > 0) audit(ledger, parts, "enrolment.withdraw", `gateway ${name}`, { tokens });
      const password = ledger.revokeCredential("gateway", name);
      if (password) audit(ledger, parts, "credential.revoke", `gateway ${name}`, {});
      return { certificates, tokens, password };
    }),
  );
  const { certificates, tokens, password } = done;
  if (certificates + tokens === 0 && !password) {
    const remedy = "see who has access with: jilian certificates, jilian credential list";
    refuse(`${name} has no certificate, token or password\n  remedy: ${remedy}`);
  }
  const what = `${certificates} certificates, ${tokens} tokens, ${password ? "its password" : "no password"}`;
  say(`${name}: withdrawn 已停用: ${what}; open connections end within seconds\n`);
}

/** RFC 1123, 2.1, with a first label of `*` or none; the last label is not a number, which would be an address that is wrong. */
const isHostName = /^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*(?!\d+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;

async function signServer(names: string, parts: EnrolCommandParts): Promise<void> {
  const hosts = names.split(",").filter((name) => name !== "");
  const wrong = hosts.find((host) => host.length > 253 || !(isIP(host) || isHostName.test(host)));
  if (hosts.length === 0 || wrong !== undefined) parts.refuse(`"${wrong ?? ""}" is no name or address of a machine`);
  const days = numberOf(parts.options.days, 825, 825, parts.refuse);
  const authority = await openAuthority(parts.dataDir);
  const { pem, key } = await authority.issueServer(hosts, days, Date.now());
  const files = placeServerCertificate(parts.dataDir, pem, key);
  parts.withLedger((ledger) => audit(ledger, parts, "certificate.broker", hosts.join(","), { days }));
  parts.say(
    `${files.certFile}\n${files.keyFile}\nname them in platform.yaml, broker.tls.certFile and keyFile; a running broker takes them up by itself\n`,
  );
}

/**
 * Runs `jilian enrol`, `jilian certificates` and `jilian revoke`. A wrong argument ends the program through `refuse`.
 * @throws what the ledger and the authority throw
 */
export async function enrolCommand(command: string, words: readonly string[], parts: EnrolCommandParts): Promise<void> {
  const [first, second, ...rest] = words;
  const isGateway = (name: string | undefined): name is string => /^[^/]+\/[^/]+$/.test(name ?? "");
  if (rest.length > 0) parts.refuse(enrolHelp);
  if (command === "certificates" && first === "broker" && second !== undefined) return await signServer(second, parts);
  if (second !== undefined) parts.refuse(enrolHelp);
  if (command === "enrol" && isGateway(first)) makeToken(first, parts);
  else if (command === "certificates" && (first === undefined || isGateway(first))) list(first, parts);
  else if (command === "revoke" && isGateway(first)) revokeGateway(first, parts);
  else if (command === "revoke" && first !== undefined && /^[0-9A-Fa-f]{8,40}$/.test(first))
    revokeOne(first.toUpperCase(), parts);
  else parts.refuse(enrolHelp);
}

/** Says what went wrong as every command does. @returns whether it is a fault with a remedy */
export function explain(thrown: unknown, complain: (text: string) => void): boolean {
  if (!(thrown instanceof JilianError)) return false;
  complain(`${thrown.code}: ${thrown.message}\n  remedy: ${thrown.remedy}\n`);
  return true;
}
