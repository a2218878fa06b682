import type { LineConfig, SerialLine } from "./line-config.ts";

type Address = { readonly host: string; readonly port: number };

export const addressOf = ({ host, port }: Address) => `${host.toLowerCase()}:${port}`;

/** The bytes of a registration or heartbeat. */
export function packetBytes(packet: string): Buffer {
  return packet.startsWith("hex:") ? Buffer.from(packet.slice(4), "hex") : Buffer.from(packet, "utf8");
}

/** What a line is the only one to have. */
export function placeOf(line: LineConfig): string {
  if (line.kind === "serial") return line.path;
  if (line.kind === "tcp") return addressOf(line);
  return `listen ${line.port} ${line.registration === undefined ? "" : packetBytes(line.registration).toString("hex")}`;
}

/** How a port is set, as people write it: `9600 baud 8N1`. */
export function settingText({
  baudRate,
  parity,
  stopBits,
}: Pick<SerialLine, "baudRate" | "parity" | "stopBits">): string {
  return `${baudRate} baud 8${{ none: "N", even: "E", odd: "O" }[parity]}${stopBits}`;
}
