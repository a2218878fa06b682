/**
 * For bench:broker, as a process of its own. `broker-clients.ts idle PORT BROKER`: holds as many connections as it is asked for by a
 * number. `broker-clients.ts tls PORT CA-FILE`: makes handshakes one after another on some connections at once, none of them resumed;
 * answers "done" with their number.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { accepted, answer, clientsPerAccount, connectBytes, idleAccounts, secretOf } from "./broker-setting.ts";

const [way, port, caFile] = process.argv.slice(2) as [string, string, string];
const atOnce = 16;

async function hold(held: Socket[], wanted: number): Promise<void> {
  while (held.length < wanted) {
    const account = idleAccounts[Math.floor(held.length / clientsPerAccount)] as string;
    const connect = connectBytes(`${account}-${held.length}`, account, secretOf(account));
    held.push(await accepted(Number(port), connect));
  }
  process.send?.(held.length);
}

let done = 0;
/** A handshake, and the next one. It is done for both sides when the server's ticket has come (RFC 8446, 4.6.1). */
function shake(ca: string): void {
  const socket = connectTls({ port: Number(port), host: "127.0.0.1", servername: "localhost", ca });
  let isDone = false;
  socket.once("session", () => {
    isDone = true;
    done += 1;
    socket.end();
  });
  socket.on("close", () => shake(ca));
  socket.on("error", (error) => {
    if (!isDone) throw error;
  });
}

if (way === "tls") {
  const ca = readFileSync(caFile, "utf8");
  for (let i = 0; i < atOnce; i += 1) shake(ca);
  answer({ done: () => done });
} else {
  const held: Socket[] = [];
  process.on("message", (wanted) => void hold(held, Number(wanted)));
  process.on("disconnect", () => process.exit(0));
}
process.send?.("ready");
