import type { Text } from "./texts.ts";
import { indicator } from "./units.ts";

/** Name of an indicator as the catalogue has it: the only name under which a dashboard shows it. @throws Error for an unknown id */
export const nameOf = (id: string): Text => ({ zh: indicator(id).zh, en: indicator(id).en });

/** The same as the heading of a narrow column: Chinese names fit as they are, long English ones get their usual short form. */
export const headingOf = (id: string, en: string): Text => ({ zh: nameOf(id).zh, en });

/** Today's part of an indicator. */
export const todayOf = (id: string): Text => ({ zh: `今日${nameOf(id).zh}`, en: `${nameOf(id).en} today` });

/** What stands beside every figure, in the words of the wall page; `data.completeness` (数据完整率) is an indicator and another thing. */
export const completenessText: Text = { zh: "完整率", en: "Completeness" };
export const estimatedShareText: Text = { zh: "估算占比", en: "Estimated share" };
export const lowerBoundText: Text = { zh: "下限值", en: "Lower bound" };
export const meanPowerText: Text = { zh: "平均功率", en: "Mean power" };
export const statusTexts: Readonly<Record<"provisional" | "final" | "revised", Text>> = {
  provisional: { zh: "暂定", en: "provisional" },
  final: { zh: "最终", en: "final" },
  revised: { zh: "修订", en: "revised" },
};
