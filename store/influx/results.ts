import { append } from "@jilian/domain/lists.ts";
import type { Result } from "@jilian/domain/result.ts";
import type { MinuteResultQuery } from "../telemetry.ts";
import type { Cell } from "./answer.ts";
import type { InfluxClient } from "./client.ts";
import { fromTagValue, lineFloat, lineTag, lineText, type Point, tagIs, within } from "./text.ts";

/**
 * Rows of figures read at a time. A block of the store holds the figures of many hours, and is unpacked whole for the few that are asked
 * for: once for each page.
 */
const resultsPerQuery = 200_000;

const tags = ["entity", "indicator", "level", "period"] as const;

/** What of a figure its tags and its time do not tell, in a list: the store unpacks names as often as it unpacks values. */
function bodyOf(result: Result): string {
  const { value, reason, completeness, estimatedShare, lowerBound, status, revision, definitionVersion } = result;
  const { factorTable, registryVersion, inputWatermark, asOfMs, simulated, unit, endMs } = result;
  const says = [value, reason, completeness, estimatedShare, lowerBound, status, revision, definitionVersion];
  return JSON.stringify([...says, factorTable, registryVersion, inputWatermark, asOfMs, simulated, unit, endMs]);
}

type Body = [
  ...[Result["value"], Result["reason"], Result["completeness"], Result["estimatedShare"], Result["lowerBound"]],
  ...[Result["status"], Result["revision"], Result["definitionVersion"], Result["factorTable"]],
  ...[
    Result["registryVersion"],
    Result["inputWatermark"],
    Result["asOfMs"],
    Result["simulated"],
    Result["unit"],
    number,
  ],
];

/** A row of the time, the body and the tags. Stores of before hold the whole figure with its names. */
function toResult([startMs, body, ...names]: readonly Cell[]): Result {
  const told = JSON.parse(String(body)) as Body | Result;
  if (!Array.isArray(told)) return told;
  const [value, reason, completeness, estimatedShare, lowerBound, status, revision, definitionVersion, ...more] = told;
  const [factorTable, registryVersion, inputWatermark, asOfMs, simulated, unit, endMs] = more;
  const [entity = "", indicator = "", level, period] = names.map((name) => fromTagValue(String(name ?? "")));
  return {
    ...{ indicator, entity, level: level as Result["level"], period: period as Result["period"] },
    ...{
      startMs: Number(startMs),
      endMs,
      value,
      reason,
      unit,
      completeness,
      estimatedShare,
      lowerBound,
      status,
      revision,
    },
    ...{ definitionVersion, factorTable, registryVersion, inputWatermark, asOfMs, simulated },
  };
}

/**
 * A figure as displays read it. `value` is absent where it is null and may then be left over from before: `known` tells. `result` is what
 * else there is of it.
 */
export function resultPoint(result: Result): Point {
  const share = (value: number | null) => lineFloat(value ?? -1);
  const fields = [
    ...(result.value === null ? [] : [`value=${lineFloat(Number(result.value))}`]),
    `known=${result.value !== null}`,
    `text=${lineText(result.value ?? "")}`,
    `reason=${lineText(result.reason ?? "")}`,
    `completeness=${share(result.completeness)}`,
    `estimated_share=${share(result.estimatedShare)}`,
    `lower_bound=${result.lowerBound}`,
    `simulated=${result.simulated}`,
    `status=${lineText(result.status)}`,
    `revision=${result.revision}i`,
    `unit=${lineText(result.unit)}`,
    `result=${lineText(bodyOf(result))}`,
  ];
  const head = `kpi${tags.map((name) => lineTag(name, result[name])).join("")}`;
  return { head, fields: fields.join(","), timeMs: result.startMs };
}

const text = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Figures by start, entity and indicator. InfluxDB orders by time only, so rows are read in pages of whole times: the next page begins
 * with the last time of a full one.
 */
export async function readResults(client: InfluxClient, query: MinuteResultQuery): Promise<Result[]> {
  const { level, period, indicator, entity, entities, limit } = query;
  if (entities?.length === 0) return [];
  const rules = Object.entries({ level, period, indicator, entity })
    .filter((rule): rule is [string, string] => rule[1] !== undefined && rule[1] !== "")
    .map(([name, value]) => tagIs(name, value));
  if (entities) rules.push(`(${entities.map((one) => tagIs("entity", one)).join(" OR ")})`);
  const columns = ["result", ...tags].map((name) => `"${name}"`).join(", ");
  const select = async (fromMs: number, toMs: number, most: string) => {
    const where = [...rules, within(fromMs, toMs)].join(" AND ");
    const [block] = await client.query(`SELECT ${columns} FROM "kpi" WHERE ${where} ORDER BY time ASC${most}`);
    return (block?.values ?? []).map(toResult);
  };
  const found: Result[] = [];
  const perPage = Math.min(Math.max(limit, 1), resultsPerQuery);
  for (let fromMs = query.fromMs; fromMs < query.toMs && found.length < limit; ) {
    const page = await select(fromMs, query.toMs, ` LIMIT ${perPage}`);
    const lastMs = page.at(-1)?.startMs;
    if (lastMs === undefined || page.length < perPage) {
      append(found, page);
      break;
    }
    if (page[0]?.startMs === lastMs) {
      append(found, await select(lastMs, lastMs + 1, ""));
      fromMs = lastMs + 1;
    } else {
      for (const result of page) if (result.startMs < lastMs) found.push(result);
      fromMs = lastMs;
    }
  }
  found.sort((a, b) => a.startMs - b.startMs || text(a.entity, b.entity) || text(a.indicator, b.indicator));
  return found.slice(0, Math.max(0, limit));
}
