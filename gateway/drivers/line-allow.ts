import { BlockList, isIP } from "node:net";

/** Who may dial in: addresses and networks, as `allow` of a line that listens has them. Pure. */

const familyOf = (address: string) => (isIP(address) === 4 ? "ipv4" : "ipv6");

/** An address of IPv4 that came over a socket of IPv6 (RFC 4291, 2.5.5.2) as people write it; the zone of a local one is left out. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
}

type Network = { readonly address: string; readonly prefix: number | undefined };

/** @returns undefined for what is neither an address nor a network in CIDR notation (RFC 4632, 3.1; RFC 4291, 2.3) */
function parse(text: string): Network | undefined {
  const [, address = "", digits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = isIP(address);
  const prefix = digits === undefined ? undefined : Number(digits);
  if (family === 0 || (prefix ?? 0) > (family === 4 ? 32 : 128)) return undefined;
  return { address, prefix };
}

export function isAllowable(text: string): boolean {
  return parse(text) !== undefined;
}

/**
 * Tells by the address of a peer whether it may dial in.
 * @param allow each of them {@link isAllowable}; everybody may where it is left out
 */
export function admission(allow: readonly string[] | undefined): (peer: string) => boolean {
  if (allow === undefined) return () => true;
  const list = new BlockList();
  for (const { address, prefix } of allow.flatMap((text) => parse(text) ?? [])) {
    if (prefix === undefined) list.addAddress(address, familyOf(address));
    else list.addSubnet(address, prefix, familyOf(address));
  }
  return (peer) => isIP(peer) !== 0 && list.check(peer, familyOf(peer));
}
