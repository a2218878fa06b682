import { existsSync, readFileSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type EnrolAnswer, enrolAnswerSchema, enrolPath, gatewayOfAltName } from "@jilian/domain/enrolment.ts";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { certificatesOf } from "@jilian/domain/tls.ts";
import { readGatewayConfig } from "../config.ts";
import { askPlatform, type Trust } from "../enrol-client.ts";
import {
  checkedCertificate,
  type Enrolment,
  enrolmentFile,
  identityFile,
  identityText,
  newKey,
  placeFor,
  platformCaFile,
  putFile,
} from "../identity.ts";
import { argumentsOf, type CommandIo, plainText, usage } from "./io.ts";

const help = `jilian-gateway enrol URL TOKEN [options]   gets this gateway's certificate, and its configuration where the platform has one

  URL                      address of the platform's interface, https://...; TOKEN is what the lead unit made, and works once
  --config FILE            the gateway's configuration; ./gateway.yaml when left out. One that is filled in already is kept
  --dir DIR                where key and certificate go; the folder of the configuration when left out. The gateway's user
                           must be able to write there: it renews the certificate by itself
  --ca FILE                authority of the platform's certificate, PEM, where no public one has signed it
  --fingerprint sha256:... the platform's certificate, in place of --ca
  --without-tls            allows http:// to another machine: the token can be read on the way; inside a VPN only

The key is made here and never leaves this box.
Exit codes: 0 done, 1 failed (the message says what to do), 2 wrong arguments (nothing was sent).
`;

type Asked = { url: URL; token: string; config: string; dir: string; trust: Trust; ca: string | undefined };
type Values = { config?: string; dir?: string; ca?: string; fingerprint?: string; "without-tls"?: boolean };

const isLoopback = (host: string) => host === "localhost" || host === "[::1]" || /^127\./.test(host);

/** What is asked for, or what is wrong with it. */
function read(positionals: readonly string[], values: Values): Asked | string {
  const [address = "", token = "", ...rest] = positionals;
  if (address === "" || token === "" || rest.length > 0) return "URL and TOKEN are needed, and nothing else";
  if (!URL.canParse(address)) return `"${plainText(address)}" is no address; expected https://platform.example`;
  const url = new URL(address);
  if (url.protocol !== "https:" && url.protocol !== "http:") return "the address must begin with https://";
  if (url.protocol === "http:" && !isLoopback(url.hostname) && !values["without-tls"])
    return "over http:// the token can be read on the way: use https://, or --without-tls inside a VPN";
  if (values.ca !== undefined && values.fingerprint !== undefined) return "--ca or --fingerprint, not both";
  const fingerprint = values.fingerprint
    ?.toLowerCase()
    .replaceAll(":", "")
    .replace(/^sha256/, "");
  if (fingerprint !== undefined && !/^[0-9a-f]{64}$/.test(fingerprint))
    return "--fingerprint must be sha256: and 64 hexadecimal digits";
  const config = resolve(values.config ?? "gateway.yaml");
  const dir = resolve(values.dir ?? dirname(config));
  for (const folder of [dir, dirname(config)])
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return `there is no folder ${folder}`;
  let ca: string | undefined;
  try {
    ca = values.ca === undefined ? undefined : readFileSync(values.ca, "utf8");
    if (ca !== undefined) certificatesOf(ca, String(values.ca));
  } catch (thrown) {
    return messageOf(thrown);
  }
  return { url, token, config, dir, ca, trust: fingerprint === undefined ? { ca } : { fingerprint } };
}

/** Writes what came, the certificate last: until then the gateway has what it had before. */
function keep(
  { url, dir, ca, trust }: Asked,
  answer: EnrolAnswer,
  putIdentity: (text: string) => void,
  keyPem: string,
): void {
  const { group, node, authority, brokerCa, certificate } = answer;
  const enrolment: Enrolment = {
    ...{ url: url.href, group, node, authority },
    ...(ca === undefined ? {} : { ca }),
    ...("fingerprint" in trust ? { byFingerprint: true } : {}),
  };
  putFile(join(dir, platformCaFile), brokerCa, 0o644);
  putFile(join(dir, enrolmentFile), `${JSON.stringify(enrolment, undefined, 2)}\n`, 0o644);
  putIdentity(identityText(keyPem, certificate));
}

/** The lines of a configuration that use the certificate. */
function brokerLines({ config, dir }: Asked, { group, node, broker }: EnrolAnswer): string[] {
  const place = (file: string) => (dir === dirname(config) ? file : join(dir, file));
  const identity = place(identityFile);
  return [
    `group: ${group}`,
    `node: ${node}`,
    "broker:",
    `  host: ${broker.host}`,
    `  port: ${broker.port}`,
    `  tls: { caFile: ${place(platformCaFile)}, certFile: ${identity}, keyFile: ${identity} }`,
  ];
}

const isWhole = (text: string) => readGatewayConfig(text, "gateway.yaml").ok;
const readIfThere = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : undefined);

/** What was done about the configuration, and what to do next. */
function placeConfiguration(asked: Asked, answer: EnrolAnswer): string[] {
  const { config } = asked;
  const { configuration } = answer;
  const check = `next: jilian-gateway check --config ${config}, then start the gateway; one that runs already, again`;
  const there = readIfThere(config);
  if (configuration === null) {
    const fill = `write these lines in ${config}, in place of what is there (user name and password are not needed any more):`;
    return [
      `the platform has no configuration for this gateway; ${fill}`,
      "",
      ...brokerLines(asked, answer),
      "",
      check,
    ];
  }
  const name = basename(config);
  const isOther = there !== undefined && there !== configuration;
  if (isOther && isWhole(there)) {
    putFile(`${config}.new`, configuration, 0o640);
    return [`${config} is filled in already and was kept; that of the platform is ${name}.new: compare them`, check];
  }
  // The example that an installation puts there is not lost either.
  if (isOther) renameSync(config, `${config}.before`);
  putFile(config, configuration, 0o640);
  return [`configuration: ${config}${isOther ? ` (what was there is ${name}.before)` : ""}`, check];
}

async function enrol(asked: Asked, { print, complain, signal }: CommandIo): Promise<void> {
  const { url, token, dir, trust } = asked;
  const path = join(dir, identityFile);
  const place = placeFor(path, 0o600);
  try {
    const { key, keyPem, request } = newKey();
    const answer = await askPlatform(url, enrolPath, { token, request }, { trust, answer: enrolAnswerSchema, signal });
    const certificate = checkedCertificate(answer.certificate, key, answer.authority);
    const named = gatewayOfAltName(certificate.subjectAltName);
    if (named?.group !== answer.group || named.node !== answer.node)
      complain("note: the certificate names another gateway");
    keep(asked, answer, place.put, keyPem);
    print(`this box is now ${answer.group}/${answer.node}`);
    print(
      `key and certificate: ${path} (the key was made here; the certificate ends ${answer.expires} and renews itself)`,
    );
    print(`authority of the platform's broker: ${join(dir, platformCaFile)}`);
    for (const line of placeConfiguration(asked, answer)) print(line);
  } finally {
    place.giveUp();
  }
}

/** `jilian-gateway enrol`: gets the certificate of this gateway for a one-time token. @returns the exit code */
export async function enrolCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const text = { type: "string" } as const;
  const options = { config: text, dir: text, ca: text, fingerprint: text, "without-tls": { type: "boolean" } } as const;
  const parsed = argumentsOf(args, options, help, io);
  if (typeof parsed === "number") return parsed;
  const asked = read(parsed.positionals, parsed.values);
  if (typeof asked === "string") return usage(asked, help, io);
  try {
    await enrol(asked, io);
    return 0;
  } catch (thrown) {
    if (!(thrown instanceof JilianError)) throw thrown;
    io.complain(`${thrown.code}: ${plainText(thrown.message)}\n  remedy: ${plainText(thrown.remedy)}`);
    return 1;
  }
}
