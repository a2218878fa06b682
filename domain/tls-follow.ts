import { codeOf, JilianError, messageOf } from "./errors.ts";
import { type ReadText, type TlsMaterial, type TlsPaths, tlsMaterial } from "./tls.ts";

/** What is told of files that cannot be taken up. */
export type TlsFollowFault = { readonly code: string; readonly address?: string | undefined; readonly remedy?: string };

/**
 * Certificate and key of a server, taken up anew when their files change.
 * @param tell is told of a fault, in fields and words, as often as another one comes
 * @throws JilianError TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH when the files are wrong at the start
 */
export function followTls(paths: TlsPaths, read: ReadText, tell: (fault: TlsFollowFault, text: string) => void) {
  let material = tlsMaterial(paths, read);
  let toldFault = "";

  function tellOnce(thrown: unknown): void {
    const told = `${codeOf(thrown)} ${messageOf(thrown)}`;
    const detail = thrown instanceof JilianError ? { address: thrown.address, remedy: thrown.remedy } : {};
    // Certificate and key are two files: between the first and the second they do not match.
    if (told !== toldFault)
      tell({ code: codeOf(thrown), ...detail }, `the renewed certificate is not taken up: ${messageOf(thrown)}`);
    toldFault = told;
  }

  return {
    current: (): TlsMaterial => material,
    /**
     * Takes the files as they are now, when they have changed and belong together; what is in use stays otherwise. A fault is told once, and
     * again to who asks for it.
     * @param take may throw: they may belong together and be refused all the same, a key of 1024 bits is too small for OpenSSL
     * @returns whether others are in use now
     */
    renew: (take: (material: TlsMaterial) => void, isAsked: boolean): boolean => {
      if (isAsked) toldFault = "";
      try {
        const now = tlsMaterial(paths, read);
        const isSame = now.cert === material.cert && now.key === material.key && now.ca === material.ca;
        if (!isSame) take(now);
        toldFault = "";
        material = now;
        return !isSame;
      } catch (thrown) {
        tellOnce(thrown);
        return false;
      }
    },
  };
}
