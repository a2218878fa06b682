import { createPrivateKey, type KeyObject, sign, type X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { certificatesOf } from "@jilian/domain/tls.ts";
import type { Logger } from "pino";
import type { GatewayConfig } from "./config.ts";
import type { Trust } from "./enrol-client.ts";
import {
  checkedCertificate,
  type Enrolment,
  identityText,
  type NewKey,
  newKey,
  placeFor,
  readEnrolment,
} from "./identity.ts";
import { atMostEvery } from "./log-limit.ts";
import { backOffMs, wait } from "./schedule.ts";

export type RenewalStats = {
  /** End of the certificate in use, UTC ms. */
  readonly endsMs: number;
  readonly renewals: number;
  /** Attempts that failed since the last one that did not. */
  readonly failures: number;
  readonly lastFailure: { readonly atMs: number; readonly reason: string } | undefined;
};

export type Renewal = {
  /** Undefined where the gateway has no certificate. */
  readonly stats: () => RenewalStats | undefined;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export type RenewalParts = {
  /** The configuration in use. */
  readonly config: () => Pick<GatewayConfig, "broker">;
  /** The file has another certificate now: the next connection has it. */
  readonly onRenewed: () => Promise<void>;
  readonly log: Logger;
  /** How often the certificate is looked at, and what failed is tried again; for tests. */
  readonly lookMs?: number;
  readonly retryMinMs?: number;
};

const defaultLookMs = 600_000;
const retryMs = { retryMinMs: 60_000, retryMaxMs: 6 * 3_600_000 };
/** A certificate is renewed when this part of its life is left. */
const part = 1 / 3;
/** When one that cannot renew itself is told of. */
const soonMs = 14 * 86_400_000;

type Identity = { file: string; certificate: X509Certificate; key: KeyObject; enrolment: Enrolment | undefined };

/** The certificate in use, as the connection to the broker reads it. */
function identityOf({ broker }: Pick<GatewayConfig, "broker">): Identity | undefined {
  const { certFile, keyFile } = broker.tls ?? {};
  if (certFile === undefined || keyFile === undefined) return undefined;
  const [certificate] = certificatesOf(readFileSync(certFile, "utf8"), certFile);
  const key = createPrivateKey(readFileSync(keyFile, "utf8"));
  // Two files cannot be replaced in one step: those that `enrol` writes are one.
  const enrolment = certFile === keyFile ? readEnrolment(dirname(certFile)) : undefined;
  return certificate && { file: certFile, certificate, key, enrolment };
}

export function isDue({ validFromDate, validToDate }: X509Certificate, nowMs: number): boolean {
  const [fromMs, toMs] = [validFromDate.getTime(), validToDate.getTime()];
  return toMs - nowMs < (toMs - fromMs) * part;
}

/** The platform's interface as it was known at the enrolment. The answer is held against the authority kept since then in any case. */
function trustOf({ ca, byFingerprint }: Enrolment): Trust {
  // The interface's certificate is renewed more often than ours: its fingerprint then says nothing any more. What is sent is public.
  return byFingerprint ? { isAnswerSigned: true } : { ca };
}

async function renewOnce(
  identity: Identity,
  enrolment: Enrolment,
  next: NewKey,
  signal: AbortSignal,
): Promise<X509Certificate> {
  // HTTP, TLS and schemas: some MB for what is done once in months.
  const [{ renewAnswerSchema, renewalText, renewPath }, { askPlatform }] = await Promise.all([
    import("@jilian/domain/enrolment.ts"),
    import("./enrol-client.ts"),
  ]);
  const place = placeFor(identity.file, 0o600);
  try {
    const timeMs = Date.now();
    const question = {
      ...{ certificate: identity.certificate.toString(), request: next.request, timeMs },
      signature: sign("sha256", Buffer.from(renewalText(next.request, timeMs)), identity.key).toString("base64"),
    };
    const asking = { trust: trustOf(enrolment), answer: renewAnswerSchema, signal };
    const answer = await askPlatform(new URL(enrolment.url), renewPath, question, asking);
    const renewed = checkedCertificate(answer.certificate, next.key, enrolment.authority);
    place.put(identityText(next.keyPem, answer.certificate));
    return renewed;
  } finally {
    place.giveUp();
  }
}

/**
 * Renews the certificate of a running gateway when a third of its life is left, for as long as it takes: what fails is told, shown in the
 * status, and tried again. Nothing in it throws.
 */
export function startRenewal(parts: RenewalParts): Renewal {
  const { config, onRenewed, log, lookMs = defaultLookMs, retryMinMs = retryMs.retryMinMs } = parts;
  const closing = new AbortController();
  const tellEnd = atMostEvery(86_400_000);
  let endsMs: number | undefined;
  let renewals = 0;
  let failures = 0;
  let lastFailure: RenewalStats["lastFailure"];
  /** Kept until there is a certificate for it: the platform gives the same one again when its answer was lost. */
  let next: NewKey | undefined;

  function note(thrown: unknown): void {
    failures += 1;
    lastFailure = { atMs: Date.now(), reason: messageOf(thrown) };
    const remedy = thrown instanceof JilianError ? thrown.remedy : "see the cause";
    const ends = endsMs === undefined ? undefined : new Date(endsMs).toISOString();
    log.warn(
      { code: "CERTIFICATE_NOT_RENEWED", cause: codeOf(thrown), ends, failures, remedy },
      `the certificate is not renewed yet: ${messageOf(thrown)}`,
    );
  }

  function tellEnds(identity: Identity): void {
    if (identity.certificate.validToDate.getTime() - Date.now() > soonMs) return;
    const ends = identity.certificate.validToDate.toISOString();
    const remedy = "enrol this gateway again before it ends: jilian-gateway enrol URL TOKEN";
    tellEnd(() =>
      log.warn({ code: "CERTIFICATE_ENDS_SOON", ends, remedy }, "the certificate cannot renew itself and ends soon"),
    );
  }

  /** @returns how long to wait until the next look, ms */
  async function look(): Promise<number> {
    const identity = identityOf(config());
    endsMs = identity?.certificate.validToDate.getTime();
    if (!identity) return lookMs;
    if (!identity.enrolment) {
      tellEnds(identity);
      return lookMs;
    }
    if (!isDue(identity.certificate, Date.now())) return lookMs;
    next ??= newKey();
    const renewed = await renewOnce(identity, identity.enrolment, next, closing.signal);
    next = undefined;
    renewals += 1;
    failures = 0;
    lastFailure = undefined;
    endsMs = renewed.validToDate.getTime();
    log.info({ code: "CERTIFICATE_RENEWED", ends: renewed.validToDate.toISOString() }, "certificate renewed");
    await onRenewed();
    return lookMs;
  }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      const waitMs = await look().catch((thrown: unknown) => {
        if (closing.signal.aborted) return 0;
        note(thrown);
        return backOffMs(failures - 1, { ...retryMs, retryMinMs });
      });
      await wait(waitMs, closing.signal).catch(() => undefined);
    }
  }
  const running = run();
  return {
    stats: () => (endsMs === undefined ? undefined : { endsMs, renewals, failures, lastFailure }),
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await running;
    },
  };
}
