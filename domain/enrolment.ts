import { type Static, Type } from "typebox";
import { isId } from "./identity.ts";

/** What a gateway and the platform say to each other about certificates (X.509, RFC 5280; requests are PKCS #10, RFC 2986). */

export const enrolPath = "/gateway/v1/enrol";
export const renewPath = "/gateway/v1/renew";

const pem = (description: string) => Type.String({ minLength: 64, maxLength: 8192, description });

export const enrolQuestionSchema = Type.Object(
  {
    token: Type.String({ minLength: 1, maxLength: 100, description: "as `jilian enrol` printed it 一次性令牌" }),
    request: pem("certificate signing request, PKCS #10 in PEM; its subject is not looked at 证书签名请求"),
  },
  { additionalProperties: false },
);

export const enrolAnswerSchema = Type.Object({
  group: Type.String({ description: "Sparkplug group 工厂" }),
  node: Type.String({ description: "Sparkplug edge node 网关" }),
  certificate: pem("of the gateway, PEM 网关证书"),
  expires: Type.String({ description: "end of the certificate 证书到期时间" }),
  authority: pem("certificate of the authority that signed it, PEM 平台签发机构证书"),
  brokerCa: Type.String({
    maxLength: 65_536,
    description: "authorities of the broker's certificate, PEM 代理证书的签发机构",
  }),
  broker: Type.Object({ host: Type.String(), port: Type.Integer() }),
  configuration: Type.Union([Type.String({ maxLength: 4_194_304 }), Type.Null()], {
    description: "gateway.yaml, where the platform has one for this gateway 网关配置",
  }),
});
export type EnrolAnswer = Static<typeof enrolAnswerSchema>;

export const renewQuestionSchema = Type.Object(
  {
    certificate: pem("the certificate that is to be replaced, PEM 现用证书"),
    request: pem("certificate signing request with the new key, PKCS #10 in PEM 证书签名请求"),
    timeMs: Type.Integer({ minimum: 0, maximum: 8.6e15, description: "now, UTC ms 当前时间" }),
    signature: Type.String({
      minLength: 16,
      maxLength: 2048,
      pattern: "^[A-Za-z0-9+/]+=*$",
      description:
        "by the key of the old certificate with SHA-256 over renewalText(request, timeMs), base64 用现用私钥签名",
    }),
  },
  { additionalProperties: false },
);
export type RenewQuestion = Static<typeof renewQuestionSchema>;

export const renewAnswerSchema = Type.Object({
  certificate: pem("of the gateway, PEM 网关证书"),
  expires: Type.String({ description: "end of the certificate 证书到期时间" }),
});
export type RenewAnswer = Static<typeof renewAnswerSchema>;

/** What the key of the old certificate signs: that this request, now, is the gateway's own. */
export function renewalText(request: string, timeMs: number): string {
  return `jilian renewal 1\n${timeMs}\n${request}`;
}

const uriStart = "urn:jilian:gateway:";

/** The name of a gateway in its certificate: a URI in subjectAltName (RFC 5280, 4.2.1.6). */
export function gatewayUri({ group, node }: { group: string; node: string }): string {
  return `${uriStart}${group}/${node}`;
}

/** The gateway that a subjectAltName names, as Node.js prints it; undefined where it holds anything else or more. */
export function gatewayOfAltName(altName: string | undefined): { group: string; node: string } | undefined {
  const start = `URI:${uriStart}`;
  if (!altName?.startsWith(start)) return undefined;
  const [group = "", node = "", ...rest] = altName.slice(start.length).split("/");
  return isId(group) && isId(node) && rest.length === 0 ? { group, node } : undefined;
}
