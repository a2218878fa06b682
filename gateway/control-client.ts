import { once } from "node:events";
import { createConnection } from "node:net";
import { createInterface } from "node:readline";
import { codeOf, JilianError } from "@jilian/domain/errors.ts";
import { type ControlLine, type ControlRequest, controlPath } from "./control.ts";

const answerMs = 30_000;

function unanswered(path: string, message: string, cause?: unknown): JilianError {
  return new JilianError(`the running gateway gave no answer: ${message}`, {
    code: "CONTROL_UNANSWERED",
    action: "ask the running gateway",
    address: path,
    remedy: "run the command as the user of the gateway; look for CONTROL_ in its log",
    cause,
  });
}

/**
 * Asks the gateway that runs on an outbox file, and gives its answer line by line.
 * @returns false when no gateway listens there
 * @throws JilianError CONTROL_UNANSWERED
 */
export async function askGateway(
  outboxPath: string,
  request: ControlRequest,
  onLine: (line: ControlLine) => void,
): Promise<boolean> {
  const path = controlPath(outboxPath);
  const socket = createConnection(path);
  try {
    await once(socket, "connect");
  } catch (thrown) {
    if (["ENOENT", "ECONNREFUSED", "ENOTSOCK"].includes(codeOf(thrown))) return false;
    throw unanswered(path, String(thrown), thrown);
  }
  socket.setTimeout(answerMs, () => socket.destroy(new Error(`nothing within ${answerMs} ms`)));
  socket.write(`${JSON.stringify(request)}\n`);
  let isWhole = false;
  try {
    for await (const text of createInterface({ input: socket })) {
      const line = JSON.parse(text) as ControlLine;
      isWhole = line.type === "done" || line.type === "status" || line.type === "error";
      onLine(line);
    }
  } catch (thrown) {
    throw unanswered(path, String(thrown), thrown);
  } finally {
    socket.destroy();
  }
  if (!isWhole) throw unanswered(path, "it ended before its last line");
  return true;
}
