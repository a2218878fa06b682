import { expect, test } from "vitest";
import { formatScaled } from "../decimal.ts";
import { findingChecks } from "../findings/catalogue.ts";
import { nullReasons } from "../result.ts";
import { indicators } from "./catalogue.ts";
import type { Indicator, IndicatorVersion } from "./definition.ts";
import { declaredFactors, factorPlaces, factorTable, gridFactorName, gridFactors, gridRegions } from "./factors.ts";
import { versionsOf } from "./in-force.ts";

const head = `# 指标 Indicators

每个指标一个文件（\`domain/indicators/\`），本页由目录生成：公式、单位、层级、周期、空值原因、出处与算例。缺项的数据为空并注明原因，
绝不以 0 或 100 % 填充；比率由各项之和相除，绝不对比率取平均。

Every indicator of the catalogue (\`domain/indicators/\`, one file each), with its formula, what makes it null, and a worked example. This page
is written from the catalogue: after a change run \`npx vitest run domain/indicators/document -u\`; a page that says something else than the
code fails the tests, and so does an example that does not come to its value. Counters of single devices are figures too, named by their
role: \`energy.import\`, \`production.total\`, ...

A figure is null with a reason, never 0 or 100 %, where a term is missing. A ratio is made of sums over machines, never of ratios.
`;

const terms = `## How the ratios of machines are made

- 术语（ISO 22400-2）：PQ 产量、GQ 合格品数、SQ 报废数、RQ 返工数；APT 实际生产时间，即计划时间内运行状态的时间；AUPT 加上换型调整时间；
  PBT 计划工作时间，取自日历；PRI 单件计划时间。运行状态、日历与 PRI 登记于 \`cluster.yaml\`，缺则为空。
- Terms (ISO 22400-2): PQ, GQ, SQ, RQ produced, good, scrap and rework quantity; APT actual production time, the time in a running state
  inside planned time, AUPT with set-up; PBT planned busy time, from the calendar; PRI planned run time per item. What running means, the calendar and PRI stand in
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
- Cp and Cpk are exact up to their last digit: sums and sums of squares are integers, and the root is drawn once.
- Figures of single machines are made when they are asked for, from minutes that have ended.
`;

const sums = `## How sums are made

- 电、气、水、汽、热、压缩空气：进线表之和，分路表在其后不再相加。Energy, cost and carbon add up the incoming meters of a carrier; feeders lie behind
  them. A line has no incoming meter: there it is its meters that lie behind no other meter of the line.
- 多个工厂：缺项的工厂使合计成为下限，全缺则为空。Of several factories one whose part is due and not known makes the sum a lower bound; where none
  is known it is null, for the reason of those that are due. A factory without such a meter has no part in it.
- An increase between two readings: 0 up to 1.2 times the rated power over the time, plus one count of the register; a fall is a rollover when
  the modulus explains it; an exchange of the meter that the registry names counts (old final - before) + (after - new initial), split at its
  moment; anything else is not told: lower bound, finding \`UNEXPLAINED_RESET\` ([contracts](contracts.md#leaves)). With transformer ratios in the
  registry energy is the register times both, exactly.
- Accounts of gateways (采集账目) tell polls and queued samples ([contracts](contracts.md#completeness-ledger)); they belong to whole hours. The completeness
  of rates that are made of them is the share of devices that have one.
- Gauges: mean and spread are of stored usable readings; the integral of a power holds each value until the next reading, at most three heartbeats.
- 阈值由试点约定（\`pilot.thresholds\`），缺省 90 %、30 天中 20 天、5 %。Thresholds are those of the pilot; by default 90 %, 20 of 30 days, 5 %.
`;

/** The indicators of which more, or less, is better. */
function betterOf(title: string, better: "more" | "less"): string {
  return `${title} is better: ${code(indicators.filter((one) => one.better === better).map(({ id }) => id))}.`;
}

const comparison = () => `## Baseline against current (降本增效)

\`GET /open/v1/metrics/comparison\` (\`domain/compare.ts\`) sets two periods beside each other: difference (current - baseline) and ratio
(current / baseline), null where one of them is, or the baseline is 0, and whether that is better or worse. Beside it stands what was made of
each product, since energy or cost of another mix is no saving.

两期对比：差值 = 本期 − 基期，比值 = 本期 ÷ 基期；任一为空或基期为 0 时为空；并说明优劣方向，列出两期各产品产量与产品结构的最大变化。

${betterOf("More", "more")}
${betterOf("Less", "less")}
Of the others, amounts, neither is: less energy with less output saves nothing.
`;

const cell = (text: string) => text.replaceAll("|", "\\|");
const code = (words: readonly string[]) => words.map((word) => `\`${word}\``).join(", ");

function row(indicator: IndicatorVersion): string {
  const { id, zh, en, unit, levels, periods, formula, formulaZh, source, reasons, version } = indicator;
  const cells = [
    `\`${id}\` (v${version})`,
    `${zh} ${en}`,
    unit,
    levels.join(", "),
    periods.join(", "),
    `${formulaZh}<br>${formula}`,
    reasons.length > 0 ? code(reasons) : "–",
    source,
  ];
  return `| ${cells.map(cell).join(" | ")} |`;
}

function tableOf(definitions: readonly IndicatorVersion[]): string {
  const names = [
    "id",
    "名称 name",
    "单位 unit",
    "层级 levels",
    "周期 periods",
    "公式 formula",
    "空值 null",
    "出处 source",
  ];
  return [`| ${names.join(" | ")} |`, `|${"---|".repeat(names.length)}`, ...definitions.map(row)].join("\n");
}

function exampleOf({ id, zh, example }: Indicator): string {
  return `- \`${id}\` ${zh}：${example.zh}<br>${example.en}`;
}

/** What people look for together. */
const chapters: readonly [title: string, of: (id: string) => boolean][] = [
  ["## 连接与数据 Connection and data", (id) => /^(factories|enterprises|devices|data)\./.test(id)],
  ["## 能源、费用与碳 Energy, cost and carbon", (id) => /^(energy|cost|carbon)\./.test(id)],
  ["## 质量与设备 Quality and equipment", (id) => /^(production|quality|oee)/.test(id)],
  ["## 报警 Alarms", (id) => /^alarms\./.test(id)],
];

function factorRows(): string[] {
  const units = { electricity: "kgce/kWh", heat: "kgce/MJ", water: "kgce/m3", compressed_air: "kgce/m3" };
  const coal = Object.entries(factorTable.per100000).map(
    ([carrier, factor]) =>
      `| ${factorTable.name} | ${carrier} | ${formatScaled(factor, factorPlaces)} ${units[carrier as keyof typeof units]} |`,
  );
  const declared = Object.entries(declaredFactors).map(
    ([carrier, unit]) => `| as declared in the registry | ${carrier} | ${unit}, by measured heat |`,
  );
  const grids = gridRegions.map(
    (region) =>
      `| ${gridFactorName(region)} | grid average | ${formatScaled(gridFactors.per10000[region], 4)} kgCO2/kWh |`,
  );
  return [...coal, ...declared, ...grids];
}

function document(): string {
  const reasons = Object.entries(nullReasons).map(([reason, { zh, en }]) => `| \`${reason}\` | ${zh} | ${en} |`);
  const findings = findingChecks.map(
    ({ code: id, zh, en, periods }) => `| \`${id}\` | ${zh} | ${en} | ${periods.join(", ")} |`,
  );
  const tables = chapters.flatMap(([title, of]) => {
    const own = indicators.filter(({ id }) => of(id));
    return [
      `${title}\n`,
      `${tableOf(own.flatMap(versionsOf))}\n`,
      "算例 Worked examples:\n",
      `${own.map(exampleOf).join("\n")}\n`,
    ];
  });
  return [
    head,
    ...tables,
    sums,
    terms,
    comparison(),
    "## 空值原因 Why a figure is null\n",
    "In order of how near to a value it is; of several the last is told. Before its period has begun any figure is `not_due`.\n",
    `| reason | 中文 | English |\n|---|---|---|\n${reasons.join("\n")}\n`,
    "## 问题 Findings\n",
    `Checks of a factory's sums when a period has become final, and again when late data changes them (\`domain/findings/\`, one file each); each is kept once for a subject, with count, last time and what closed it.\n\n| code | 中文 | English | of |\n|---|---|---|---|\n| \`UNEXPLAINED_RESET\` | 不明复位 | an increase of a counter cannot be told | day, when it is folded |\n${findings.join("\n")}\n`,
    "## 系数 Factors\n",
    `Named by every figure that used one (\`factorTable\`).\n\n| table | of | factor |\n|---|---|---|\n${factorRows().join("\n")}\n`,
  ].join("\n");
}

test("docs/indicators.md says what the catalogue says", async () => {
  await expect(document()).toMatchFileSnapshot("../../docs/indicators.md");
});

test("every indicator stands in one chapter", () => {
  for (const { id } of indicators) expect(chapters.filter(([, of]) => of(id)).length, id).toBe(1);
});
