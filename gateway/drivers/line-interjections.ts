/** A line that is all interjections is looked at so many times at most. */
const mostLooks = 16;

function positionsOf(received: Buffer, packet: Buffer): number[] {
  const found: number[] = [];
  for (let at = received.indexOf(packet); at >= 0 && found.length < mostLooks; at = received.indexOf(packet, at)) {
    found.push(at);
    at += packet.length;
  }
  return found;
}

const without = (bytes: Buffer, at: number, length: number): Buffer =>
  Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);

/**
 * What may have come from the line itself, where a box puts packets of its own between (and, since a network cuts as it likes, into) the
 * frames: first all bytes as they are, since data may look like a heartbeat; then without one of them, then without all. Pure.
 */
export function* readingsOf(received: Buffer, packets: readonly Buffer[]): Generator<Buffer> {
  yield received;
  let rest = received;
  let removed = 0;
  for (const packet of packets) {
    for (const at of positionsOf(received, packet)) yield without(received, at, packet.length);
    for (const at of positionsOf(rest, packet).reverse()) {
      rest = without(rest, at, packet.length);
      removed += 1;
    }
  }
  if (removed > 1) yield rest;
}

/** How many of the bytes are such packets. */
export function interjectedBytes(received: Buffer, packets: readonly Buffer[]): number {
  return packets.reduce((sum, packet) => sum + packet.length * positionsOf(received, packet).length, 0);
}
