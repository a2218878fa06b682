/** Ids of factories, gateways, devices: they become Sparkplug topic levels, file names and URLs (Sparkplug 3.0, 4.1: no + / #). */
export const idPattern = "^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$";
/** The same in words. */
export const idWords = "of small letters, digits and . _ - (these three not at its ends), at most 64 characters";

export function isId(text: string): boolean {
  return new RegExp(idPattern).test(text);
}

/** A device's address over the whole cluster: `factory/gateway/device`. */
export function deviceKey(group: string, node: string, device: string): string {
  return `${group}/${node}/${device}`;
}

/** The key of the device that something is of: a series, a birth, an account. */
export const deviceKeyOf = (of: { readonly group: string; readonly node: string; readonly device: string }): string =>
  deviceKey(of.group, of.node, of.device);

/** The factory of a device's address, or of a line's. */
export function factoryOf(key: string): string {
  return key.slice(0, key.indexOf("/"));
}

const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY";
const weights = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];

/** Check character of a unified social credit code (统一社会信用代码), from its first 17 (GB 32100-2015, annex A; ISO 7064 style, mod 31). */
export function creditCodeCheck(first17: string): string | undefined {
  let sum = 0;
  for (const [i, weight] of weights.entries()) {
    const value = alphabet.indexOf(first17[i] ?? "");
    if (value < 0) return undefined;
    sum += value * weight;
  }
  return alphabet[(31 - (sum % 31)) % 31];
}

/** True for 18 characters of the code's alphabet (no I, O, S, V, Z) whose last is the check character. */
export function isCreditCode(code: string): boolean {
  return code.length === 18 && creditCodeCheck(code) === code[17];
}

/** Two processes run under the name of one gateway: what the broker and ingest, who each find out by themselves, say of it. */
export const clonedGateway =
  "two processes push each other out under this name: stop one, and give each a name and a password of its own";
