import { ActivateSessionRequest, CreateSessionRequest, type OPCUAClient } from "node-opcua-client";
import { expect, it } from "vitest";
import type { OpcuaLibrary } from "./opcua-library.ts";
import { knowSessions } from "./opcua-start.ts";

it("a session is waited for no longer than until it is told, though whoever wanted it fails at that", async () => {
  const library = { opcua: { CreateSessionRequest } } as unknown as OpcuaLibrary;
  const told: (() => void)[] = [];
  const client = { performMessageTransaction: (_request: object, done: () => void) => void told.push(done) };
  const untilNoneIsMade = knowSessions(library, client as unknown as OPCUAClient, 100);
  client.performMessageTransaction(new ActivateSessionRequest(), () => undefined);
  await untilNoneIsMade();
  client.performMessageTransaction(new CreateSessionRequest(), () => {
    throw new Error("a defect of the library, which catches it");
  });
  let isOver = false;
  const over = untilNoneIsMade().then(() => {
    isOver = true;
  });
  await Promise.resolve();
  expect(isOver).toBe(false);
  expect(told[1]).toThrow("a defect");
  await over;
});
