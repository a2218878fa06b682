import { exceptionText } from "../drivers/modbus-errors.ts";
import type { Registers } from "./match.ts";
import { type Ask, findRanges, isBits, readGiven, type TableFinding } from "./ranges.ts";
import type { ProbeSession, Table } from "./session.ts";

export const tables: readonly Table[] = ["holding", "input", "coil", "discrete"];

export type GivenRange = { readonly table: Table; readonly from: number; readonly to: number };

export type UnitFinding = {
  readonly unitId: number;
  /** Vendor, product code, revision, as far as it tells. */
  readonly identity: readonly string[];
  /** None where the probe was over before: it is only known that the unit answers. */
  readonly tables: readonly TableFinding[];
  readonly registers: readonly Registers[];
};

export type ProbeOptions = {
  readonly units: readonly number[];
  /** Only these are read; every table is searched where there are none. */
  readonly given: readonly GivenRange[];
  readonly progress: (line: string) => void;
};

/** A gateway to a serial line answers so for a unit that is not there. */
const notThere = [10, 11];
const progressUnits = 10;

/** The units that answer at all, with whatever. */
async function unitsThere(session: ProbeSession, { units, progress }: ProbeOptions): Promise<number[]> {
  const found: number[] = [];
  for (const [i, unitId] of units.entries()) {
    if (session.over() !== undefined) break;
    const answer = await session.read(unitId, "holding", 0, 1);
    const isThere = answer !== undefined && !("exception" in answer && notThere.includes(answer.exception));
    if (isThere) {
      found.push(unitId);
      progress(`unit ${unitId} answers${"exception" in answer ? ` (${exceptionText(answer.exception)})` : ""}`);
    }
    const asked = i + 1;
    if (asked % progressUnits === 0 && asked < units.length) progress(`${asked} of ${units.length} units asked`);
  }
  return found;
}

/** Objects 0, 1, 2 of the basic identification: MODBUS Application Protocol V1.1b3, 6.21. */
function identityOf(objects: Readonly<Record<number, string>>): string[] {
  return ["vendor", "product", "revision"].flatMap((what, id) => (objects[id] ? [`${what} ${objects[id]}`] : []));
}

async function examine(
  session: ProbeSession,
  unitId: number,
  { given, progress }: ProbeOptions,
  most: number,
): Promise<UnitFinding> {
  const endAt = session.sent() + most;
  const identity = identityOf(await session.identify(unitId));
  const found: TableFinding[] = [];
  const registers: Registers[] = [];
  const asked = given.length > 0 ? given : tables.map((table) => ({ table, from: 0, to: -1 }));
  for (const [i, { table, from, to }] of asked.entries()) {
    // What one table leaves is for those that follow.
    const tableEnd = session.sent() + Math.floor((endAt - session.sent()) / (asked.length - i));
    const may = () => session.over() === undefined && session.sent() < tableEnd;
    const ask: Ask = async (address, quantity) => {
      const answer = await session.read(unitId, table, address, quantity);
      return answer === undefined ? undefined : "exception" in answer ? answer.exception : answer.bytes;
    };
    const words = new Map<number, number>();
    const finding =
      given.length > 0
        ? await readGiven(table, { from, to }, ask, may, words)
        : await findRanges(table, ask, may, words);
    found.push(finding);
    if (!isBits(table)) registers.push({ unitId, table, words });
    progress(`unit ${unitId} ${table}: ${finding.ranges.length} ranges, ${session.sent()} requests so far`);
  }
  return { unitId, identity, tables: found, registers };
}

/**
 * Finds out what is behind a Modbus address: which units answer, what of their tables is readable, in what blocks, and what they call
 * themselves. Reads only (functions 1-4 and 43/14), in the bounds of the session.
 * @param maxRequests of the session: what is left after the search for units is divided evenly among those found
 */
export async function probeUnits(
  session: ProbeSession,
  options: ProbeOptions,
  maxRequests: number,
): Promise<UnitFinding[]> {
  const there = await unitsThere(session, options);
  const found: UnitFinding[] = [];
  for (const [i, unitId] of there.entries()) {
    if (session.over() !== undefined) {
      found.push({ unitId, identity: [], tables: [], registers: [] });
      continue;
    }
    const share = Math.floor((maxRequests - session.sent()) / (there.length - i));
    found.push(await examine(session, unitId, options, share));
  }
  return found;
}
