import type { MessagePort } from "node:worker_threads";
import type { Engine, RunningEngine } from "./engine.ts";
import { type Answer, buffersOf, encodeError, type Request, type WireError } from "./protocol.ts";

/** The users of one store, over their ports. */
export type Serving = {
  /** Answers what comes over a port, and over those that are attached to it, until it is closed. */
  readonly serve: (engine: Engine, port: MessagePort) => void;
  /** Closes the store in order: users are told first. @returns what its closing failed with, if it did */
  readonly end: (close: RunningEngine["close"]) => Promise<WireError | undefined>;
  /** Closes all ports at once, by which users see that the store has failed. */
  readonly drop: () => void;
};

/** Answers calls to a store, by whichever thread has it. */
export function serving(): Serving {
  const ports = new Set<MessagePort>();

  function serve(engine: Engine, port: MessagePort): void {
    const answer = (message: Answer) =>
      port.postMessage(message, message.kind === "result" ? buffersOf(message.value) : []);
    ports.add(port);
    port.on("close", () => ports.delete(port));
    port.on("message", (request: Request) => {
      if (request.kind === "attach") {
        serve(engine, request.port);
        return;
      }
      const { id, method, args } = request;
      const call = engine[method] as (...args: readonly unknown[]) => Promise<unknown>;
      call(...args).then(
        (value) => answer({ kind: "result", id, value }),
        (thrown: unknown) => answer({ kind: "error", id, error: encodeError(thrown, method) }),
      );
    });
  }

  const drop = (): void => {
    for (const port of ports) port.close();
  };

  return {
    serve,
    end: async (close) => {
      for (const port of ports) port.postMessage({ kind: "closing" } satisfies Answer);
      const failed = await close().then(
        () => undefined,
        (thrown: unknown) => encodeError(thrown, "close the telemetry store"),
      );
      drop();
      return failed;
    },
    drop,
  };
}
