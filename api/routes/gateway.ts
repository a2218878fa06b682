import {
  enrolAnswerSchema,
  enrolPath,
  enrolQuestionSchema,
  renewAnswerSchema,
  renewPath,
  renewQuestionSchema,
} from "@jilian/domain/enrolment.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import type { Authority } from "@jilian/store/authority.ts";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { ApiDeps, App } from "../app.ts";
import { refusalBudget } from "../enrol-budget.ts";
import { auditRefusal, enrol, type Refused, renew } from "../enrolment.ts";
import type { EnrolmentConfig } from "../enrolment-config.ts";
import { problem, problemSchema } from "../problems.ts";
import type { Stats } from "../stats.ts";

/** Two certificates and a request, each of an RSA key of 4096 bits. */
const maxQuestionBytes = 32 * 1024;
const problems = [
  ...([
    "PARAMETER_INVALID",
    "ENROLMENT_REFUSED",
    "GATEWAY_CLOCK",
    "CSR_INVALID",
    "TOO_MANY_ENROLMENTS",
    "ENROLMENT_OFF",
  ] as const),
];

type Parts = { config: EnrolmentConfig; deps: ApiDeps; authority: Authority };

/**
 * One question of a gateway. Whatever is refused, the answer is the same; of too many refused ones of an address nothing is logged or
 * audited any more. What is right passes even then: behind a proxy all have one address, and who guesses must not keep gateways from
 * renewing. Guessing is hopeless by the length of a token; the bound is for the log and for eyes.
 */
function doorOf(config: EnrolmentConfig | undefined, deps: ApiDeps, stats: Pick<Stats, "count">) {
  const budget = refusalBudget();
  let toldMs = Number.NEGATIVE_INFINITY;
  let heldBack = 0;

  /** Once a second at most, whatever the number of addresses. */
  function tell({ refused, gateway }: Refused, request: FastifyRequest): void {
    if (performance.now() - toldMs < 1000) {
      heldBack += 1;
      return;
    }
    const subject = gateway && `${gateway.group}/${gateway.node}`;
    const told = { code: "ENROLMENT_REFUSED", remote: request.ip, subject, heldBack };
    request.log.warn(told, `no certificate: ${refused}`);
    [toldMs, heldBack] = [performance.now(), 0];
  }

  function refuse(refused: Refused, request: FastifyRequest, reply: FastifyReply): never {
    stats.count("refusedEnrolments");
    if (!budget.isLeft(request.ip)) {
      reply.header("retry-after", "10");
      const detail = "too many refused enrolments from this address";
      throw problem({ code: "TOO_MANY_ENROLMENTS", status: 429, detail, remedy: "try again later" });
    }
    budget.spend(request.ip);
    tell(refused, request);
    auditRefusal(deps.ledger, refused, request.ip);
    if (refused.clockMs !== undefined)
      throw problem({
        code: "GATEWAY_CLOCK",
        status: 403,
        detail: `the gateway's clock says ${isoTime(refused.clockMs)}, the platform's ${isoTime(Date.now())}`,
        remedy: "set the gateway's clock, better by NTP; the certificate then renews itself",
      });
    throw problem({
      code: "ENROLMENT_REFUSED",
      status: 403,
      detail: "the token or the certificate is wrong, used, expired or withdrawn",
      remedy: "ask the operator of the platform for a new token: jilian enrol FACTORY/GATEWAY",
    });
  }

  return async <T extends object>(
    request: FastifyRequest,
    reply: FastifyReply,
    work: (parts: Parts) => Promise<T | Refused>,
  ): Promise<T> => {
    const { authority } = deps;
    if (config === undefined || authority === undefined) {
      const remedy = "set api.enrolment in platform.yaml";
      throw problem({ code: "ENROLMENT_OFF", status: 503, detail: "gateways cannot enrol here", remedy });
    }
    const answer = await work({ config, deps, authority: await authority() }).catch((thrown: unknown) => {
      if (!(thrown instanceof JilianError) || thrown.code !== "CSR_INVALID") throw thrown;
      throw problem({ code: "CSR_INVALID", status: 422, detail: thrown.message, remedy: thrown.remedy });
    });
    return "refused" in answer ? refuse(answer, request, reply) : answer;
  };
}

/** Certificates of gateways: the first for a one-time token, each further one for the one before. */
export function addGatewayRoutes(
  app: App,
  config: EnrolmentConfig | undefined,
  deps: ApiDeps,
  stats: Pick<Stats, "count">,
): void {
  const door = doorOf(config, deps, stats);
  const common = { tags: ["gateways"], security: [] };
  const options = { config: { problems }, bodyLimit: maxQuestionBytes };

  const enrolment = {
    ...{ operationId: "enrolGateway", ...common, body: enrolQuestionSchema },
    summary: "网关注册 · Signs the first certificate of a gateway for a one-time token",
    description:
      "`jilian-gateway enrol URL TOKEN` calls this. The key is made on the box and never leaves it; the token works once.\n\n由 `jilian-gateway enrol` 调用；私钥在网关本机生成，不外传；令牌一次有效。",
    response: { 200: enrolAnswerSchema, "4xx": problemSchema, 503: problemSchema },
  };
  app.post(enrolPath, { schema: enrolment, ...options }, async (request, reply) =>
    door(request, reply, (parts) => enrol(parts, request.body, request.ip)),
  );

  const renewal = {
    ...{ operationId: "renewCertificate", ...common, body: renewQuestionSchema },
    summary: "证书续期 · Signs the next certificate of a gateway",
    description:
      "A running gateway calls this when a third of its certificate's life is left. The signature shows who asks, so that TLS may end at a proxy.\n\n网关在证书剩余三分之一有效期时自动调用；以现用私钥签名证明身份。",
    response: { 200: renewAnswerSchema, "4xx": problemSchema, 503: problemSchema },
  };
  app.post(renewPath, { schema: renewal, ...options }, async (request, reply) =>
    door(request, reply, (parts) => renew(parts, request.body, request.ip)),
  );
}
