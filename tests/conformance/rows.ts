/** All statements of the specification: those that are checked, and why the others are not. */
import { readFileSync } from "node:fs";
import type { Capture } from "./capture.ts";
import type { Row, Rows, Verdict } from "./check.ts";
import { awareRows } from "./rows-aware.ts";
import { deathRows } from "./rows-death.ts";
import { edgeRows } from "./rows-edge.ts";
import { hostRows } from "./rows-host.ts";
import { messageRows } from "./rows-messages.ts";
import { orderRows } from "./rows-order.ts";
import { payloadRows } from "./rows-payloads.ts";
import { primaryRows } from "./rows-primary.ts";
import { propertyRows } from "./rows-properties.ts";
import { serverRows } from "./rows-server.ts";
import { stateRows } from "./rows-state.ts";

export const checkedRows: Rows = {
  ...messageRows,
  ...payloadRows,
  ...propertyRows,
  ...deathRows,
  ...edgeRows,
  ...primaryRows,
  ...stateRows,
  ...hostRows,
  ...orderRows,
  ...serverRows,
  ...awareRows,
};

/** Where the product does otherwise on purpose, and why. A row here has to find fault: one that no longer does is taken out. */
export const deviations: Readonly<Record<string, string>> = {
  "tck-id-operational-behavior-data-publish-dbirth-change":
    "a heartbeat repeats an unchanged value: without it nobody could tell a living tag from a dead one",
  "tck-id-operational-behavior-data-commands-rebirth-action-1":
    "requests are gathered for 50 ms and answered once a second at most, and data goes on until then by the births that still hold: whoever asked again and again would stop it",
  "tck-id-payloads-metric-datatype-not-req":
    "our NCMD carries the datatype (DATA does not): edge nodes of other make decode a command by it",
};

export type Statement = {
  id: string;
  level: "MUST" | "SHOULD" | "MAY";
  who: "edge" | "host" | "server" | "aware";
  /** Why no capture can falsify it; undefined for one that is checked. */
  reason: string | undefined;
};

/** The statements of Sparkplug 3.0.0 by their names, in its order. */
export const statements: readonly Statement[] = readFileSync(new URL("statements.tsv", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => {
    const [id = "", level, who, reason] = line.split("\t");
    return { id, level: level as Statement["level"], who: who as Statement["who"], reason };
  });

export type Outcome = "holds" | "deviates" | "FAILS" | "not by traffic";

/** A row holds when the capture speaks to it and has no fault. */
export function outcomeOf({ id, reason }: Statement, capture: Capture): { outcome: Outcome; verdict?: Verdict } {
  if (reason !== undefined) return { outcome: "not by traffic" };
  const verdict = (checkedRows[id] as Row).check(capture);
  const holds = verdict.seen > 0 && verdict.faults.length === 0;
  if (id in deviations) return { outcome: holds ? "FAILS" : "deviates", verdict };
  return { outcome: holds ? "holds" : "FAILS", verdict };
}
