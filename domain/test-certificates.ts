/** Certificates for tests, made by the `openssl` program as an administrator would make them. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

function openssl(args: readonly string[], cwd: string): void {
  // A library of OPC UA that shares the process leaves this variable set to "undefined", a file that is not there.
  const { OPENSSL_CONF: _, ...env } = process.env;
  execFileSync("openssl", args, { cwd, env, stdio: ["ignore", "ignore", "pipe"] });
}

/** False where there is no `openssl`: then tests of TLS are skipped, and say so. */
export const hasOpenssl: boolean = (() => {
  try {
    openssl(["version"], tmpdir());
    return true;
  } catch {
    return false;
  }
})();

export type CertificateFiles = { certFile: string; keyFile: string };
export type Authority = {
  caFile: string;
  /** Makes a key and a certificate for names as in subjectAltName: `DNS:localhost`, `IP:127.0.0.1`. Times are ms from now. */
  issue: (name: string, options?: { names?: string; fromMs?: number; toMs?: number }) => CertificateFiles;
};

const dayMs = 86_400_000;
/** YYYYMMDDHHMMSSZ, as `openssl ca` wants it. */
const stamp = (ms: number) => `${new Date(Date.now() + ms).toISOString().replaceAll(/[-:T]/g, "").slice(0, 14)}Z`;

const caConfig = `[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
`;

/** An authority of its own in a folder below `dir`. */
export function makeAuthority(dir: string, authority: string): Authority {
  const cwd = join(dir, authority);
  mkdirSync(cwd);
  writeFileSync(join(cwd, "ca.cnf"), caConfig);
  writeFileSync(join(cwd, "index.txt"), "");
  writeFileSync(join(cwd, "serial"), "01\n");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl(
    ["req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", `/CN=${authority}`],
    cwd,
  );
  return {
    caFile: join(cwd, "ca.pem"),
    issue: (name, { names = "DNS:localhost,IP:127.0.0.1", fromMs = -dayMs, toMs = 30 * dayMs } = {}) => {
      const [certFile, keyFile] = [join(cwd, `${name}.pem`), join(cwd, `${name}.key`)];
      openssl(["req", "-new", ...key, "-keyout", keyFile, "-out", `${name}.csr`, "-subj", `/CN=${name}`], cwd);
      writeFileSync(join(cwd, "ext.cnf"), `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`);
      const times = ["-startdate", stamp(fromMs), "-enddate", stamp(toMs)];
      const signer = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"];
      openssl([...signer, ...times, "-extfile", "ext.cnf", "-in", `${name}.csr`, "-out", certFile], cwd);
      if (!existsSync(certFile)) throw new Error(`openssl made no certificate for ${name}`);
      return { certFile, keyFile };
    },
  };
}

/** Certificate and key that belong together, but that OpenSSL serves nobody with: its key is too small (security level 2). */
export function makeWeak({ certFile, keyFile }: CertificateFiles): void {
  const key = ["-newkey", "rsa:1024", "-nodes", "-keyout", keyFile];
  openssl(["req", "-x509", ...key, "-out", certFile, "-days", "30", "-subj", "/CN=weak"], tmpdir());
}

/** A folder for one test file; remove it at the end. */
export function certificateFolder(): { dir: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), "jilian-tls-"));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}
