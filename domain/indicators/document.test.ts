import { expect, test } from "vitest";
import { formatScaled } from "../decimal.ts";
import { nullReasons } from "../result.ts";
import { indicators, ratioIndicators } from "./catalogue.ts";
import type { IndicatorDefinition } from "./definition.ts";
import { factorTable, gridFactorName, gridFactors, gridRegions } from "./factors.ts";

const head = `# Indicators

Every indicator of the catalogue (\`domain/indicators/\`, one file each), with its formula and what makes it null. This page is written from
the catalogue: after a change run \`npx vitest run domain/indicators/document -u\`; a page that says something else than the code fails the tests.
Counters of single devices are figures too, named by their role: \`energy.import\`, \`production.total\`, ...

A figure is null with a reason, never 0 or 100 %, where a term is missing. A ratio is made of sums over machines, never of ratios.
`;

const terms = `## How the ratios of machines are made

- Terms (ISO 22400-2): PQ, GQ, SQ, RQ produced, good, scrap and rework quantity; APT actual production time, the time in a running state
  inside planned time; PBT planned busy time, from the calendar; PRI planned run time per item. What running means, the calendar and PRI stand in
  \`cluster.yaml\` (configuration.md); without them the figure is null.
- A state holds until the next reading, at most three heartbeats and never more than an hour, then it is unknown. Bad quality ends it at
  once. A minute is observed when its state is known for at least half of it; the unknown rest of it is not running.
- \`quality.*\` speak of the whole period. \`oee\` and its factors compare production, state and plan of the same minutes: planned ones that have
  ended and were observed. What nobody saw is neither running nor standing still; completeness tells how much it is. Pieces made outside
  planned time are in none of them; else E would be above 1 for overtime.
- Over several machines each term is summed over the machines that have all terms of the figure: A = ΣAPT / ΣPBT, E = Σ(PRI × PQ) / ΣAPT,
  Q = ΣGQ / ΣPQ. OEE is their exact product over the machines that have all five terms; where every machine has all, that is A × E × Q of the
  figures beside it.
- \`completeness\` is covered over due time, each summed over the machines: due is what has passed of the period (for OEE: of its planned
  time), covered what the least covered term of a machine tells. A machine that lacks a term has no part, but for those whose equipment
  figures are expected, because \`cluster.yaml\` gives its running states or its planned run time: such a one is due and not covered. A machine
  that is not planned to work in the period has no part.
- \`estimatedShare\` is that of the term of which interpolation over a gap at an edge assigned most. For planned time an edge is also where
  planned time, or an hour of it, begins or ends. \`lowerBound\` says of a ratio that one of its terms is a lower bound, because a
  counter fell without an explanation.
- Values are rounded half up, once, to six places (unit-product energy: nine), without trailing zeros.
- E above 1 stands as it is; where at least 0.9 of the time is known, a finding \`FASTER_THAN_PLANNED\` names the machine, once for each final hour.
- Figures of single machines are made when they are asked for, from minutes that have ended.
`;

const cell = (text: string) => text.replaceAll("|", "\\|");
const code = (words: readonly string[]) => words.map((word) => `\`${word}\``).join(", ");

function row({ id, zh, en, unit, levels, periods, formula, source, reasons, version }: IndicatorDefinition): string {
  const cells = [
    `\`${id}\` (v${version})`,
    `${zh} ${en}`,
    unit,
    levels.join(", "),
    periods.join(", "),
    formula,
    reasons.length > 0 ? code(reasons) : "–",
    source,
  ];
  return `| ${cells.map(cell).join(" | ")} |`;
}

function tableOf(definitions: readonly IndicatorDefinition[]): string {
  const names = ["id", "name", "unit", "levels", "periods", "formula", "null", "source"];
  return [`| ${names.join(" | ")} |`, `|${"---|".repeat(names.length)}`, ...definitions.map(row)].join("\n");
}

function document(): string {
  const ratios = new Set<IndicatorDefinition>(ratioIndicators);
  const reasons = Object.entries(nullReasons).map(([reason, { zh, en }]) => `| \`${reason}\` | ${zh} | ${en} |`);
  const factors = [
    `| ${factorTable.name} | electricity, equivalent value | ${formatScaled(factorTable.electricityPer10000, 4)} kgce/kWh |`,
    ...gridRegions.map(
      (region) =>
        `| ${gridFactorName(region)} | grid average | ${formatScaled(gridFactors.per10000[region], 4)} kgCO2/kWh |`,
    ),
  ];
  return [
    head,
    "## Connection and energy\n",
    `${tableOf(indicators.filter((definition) => !ratios.has(definition)))}\n`,
    "## Quality and equipment\n",
    `${tableOf(ratioIndicators)}\n`,
    terms,
    "## Why a figure is null\n",
    "In order of how near to a value it is; of several the last is told.\n",
    `| reason | 中文 | English |\n|---|---|---|\n${reasons.join("\n")}\n`,
    "## Factors\n",
    `Named by every figure that used one (\`factorTable\`).\n\n| table | of | factor |\n|---|---|---|\n${factors.join("\n")}\n`,
  ].join("\n");
}

test("docs/indicators.md says what the catalogue says", async () => {
  await expect(document()).toMatchFileSnapshot("../../docs/indicators.md");
});

test("ids are used once, and every indicator is complete", () => {
  const ids = indicators.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const { id, zh, en, formula, source, levels, periods, version } of indicators) {
    expect(id).toMatch(/^[a-z]+(?:\.[a-z_]+)?$/);
    for (const text of [zh, en, formula, source]) expect(text, id).not.toBe("");
    expect(levels.length * periods.length, id).toBeGreaterThan(0);
    expect(version).toBe(1);
  }
});
