/**
 * Whose limits an address shares: IPv4 its own, IPv6 the /64 of a subscriber line (RFC 6177), within which anyone may choose addresses.
 */
export function networkOf(address: string): string {
  const [plain = ""] = address.split("%");
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain);
  if (mapped) return mapped[1] as string;
  if (!plain.includes(":")) return plain;
  const [head = "", tail] = plain.toLowerCase().split("::");
  const groups = (text: string) => (text === "" ? [] : text.split(":"));
  const rest = tail === undefined ? [] : groups(tail);
  const zeros = Array(Math.max(0, 8 - groups(head).length - rest.length)).fill("0");
  const whole = [...groups(head), ...(tail === undefined ? [] : zeros), ...rest];
  return `${whole.slice(0, 4).join(":")}::/64`;
}
