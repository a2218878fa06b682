import { setTimeout as pause } from "node:timers/promises";
import { messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { type EventStream, eventText, retryMs } from "./event-stream.ts";

/** How often a display hears something: an unchanged document is not sent again, only that it is still so. */
const turnMs = 1000;

/** The wall's document; everything but `nowMs` as text that is the same while it says the same. */
export type WallDocument = { nowMs: number; rest: string };

/** The wall's document for all displays of this process. */
export type WallFeed = {
  /** Shows the document on a stream until that ends or its key is withdrawn; never rejects. */
  readonly show: (display: EventStream, mayLook: () => boolean) => Promise<void>;
};

/** One text for all displays: of 4,000 devices it is a megabyte, and written for each anew it would cost more than all else here. */
export function createWallFeed(
  document: () => Promise<WallDocument>,
  textOf: (document: WallDocument) => string,
  log: Logger,
): WallFeed {
  let made: { of: WallDocument; text: string } | undefined;
  let faulty = false;

  function stateText(of: WallDocument): string {
    if (made?.of !== of) made = { of, text: eventText({ event: "state", data: textOf(of) }) };
    return made.text;
  }

  async function current(): Promise<WallDocument | undefined> {
    try {
      const found = await document();
      faulty = false;
      return found;
    } catch (error) {
      // Said once. The displays hear nothing meanwhile and say themselves that they show old data.
      if (!faulty) log.error({ code: "WALL_DOCUMENT", err: messageOf(error) }, "the wall's document cannot be made");
      faulty = true;
      return undefined;
    }
  }

  async function show(display: EventStream, mayLook: () => boolean): Promise<void> {
    const { signal } = display;
    let shown: string | undefined;
    await display.send(`retry: ${retryMs}\n\n`);
    while (!signal.aborted && mayLook()) {
      const now = await current();
      if (now && now.rest !== shown) {
        shown = now.rest;
        await display.send(stateText(now));
      } else if (now) await display.send(eventText({ event: "now", data: `{"nowMs":${now.nowMs}}` }));
      await pause(turnMs, undefined, { signal }).catch(() => undefined);
    }
  }

  return {
    show: (display, mayLook) =>
      show(display, mayLook).catch((error: unknown) => {
        log.error({ code: "WALL_STREAM", err: error }, "a stream of the wall failed");
      }),
  };
}
