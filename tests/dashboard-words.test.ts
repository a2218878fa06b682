import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { indicators } from "@jilian/domain/indicators/catalogue.ts";
import { describe, expect, it, test } from "vitest";

/**
 * The Chinese dashboards call a thing as its indicator, or the wall page, calls it. A label is taken apart into those names and a few
 * words that join them; what is left over is a word that somebody invented.
 */
const root = resolve(fileURLToPath(import.meta.url), "../..");
const { words } = (await import(new URL("../api/wall/text.js", import.meta.url).href)) as {
  words: { zh: Record<string, unknown> };
};
const wall = (key: string) => {
  const word = words.zh[key];
  if (typeof word !== "string") throw new Error(`the wall page has no word ${key}`);
  return word;
};
const wallWords = ["networked", "demo", "online", "offline", "power", "completeness", "lowerBound", "no_data"].map(
  wall,
);
const states = [wall("provisional"), wall("final"), "修订"];
const joining = [
  ..."今日 每小时 每日 各工厂 各设备 明细 24小时 部分 工厂 网关 设备 日期 状态 指标 原因 全部".split(" "),
  // What neither the wall nor an indicator shows.
  ...[
    "数据性质",
    "实测数据",
    "数据更新至",
    "估算占比",
    "在线状态",
    "缺少的数字与原因",
    "网关下无设备在线",
    "设备在线率低或平台无数据",
  ],
  "低",
];
const names = new Map(indicators.map(({ id, zh }) => [zh, id]));
const longestFirst = (list: Iterable<string>) => [...new Set(list)].sort((a, b) => b.length - a.length);
const known = longestFirst([...names.keys(), ...wallWords, ...states, ...joining]);

/** A label in known words; whatever else is in it stands in `rest`. */
function takeApart(label: string) {
  const found: string[] = [];
  let rest = label;
  for (const word of known) {
    if (!rest.includes(word)) continue;
    found.push(word);
    rest = rest.replaceAll(word, " ");
  }
  return { found, rest: rest.replace(/[\s—（）]/g, "") };
}

type Panel = {
  title: string;
  targets?: { alias?: string; query: string }[];
  fieldConfig?: { defaults: { mappings?: unknown }; overrides: { properties: { id: string; value: unknown }[] }[] };
};
const boards = ["cluster-wall", "energy", "connectivity"].map((name) => {
  const text = readFileSync(join(root, `dashboards/provisioning/dashboards/zh/${name}.json`), "utf8");
  return { name, panels: (JSON.parse(text) as { panels: Panel[] }).panels };
});
const alertTitles = [
  ...readFileSync(join(root, "dashboards/provisioning/alerting/jilian.yaml"), "utf8").matchAll(
    /^\s+title: "?([^"\n]+)"?$/gm,
  ),
].map(([, title]) => title ?? "");

const mappedTexts = (mappings: unknown) =>
  [...JSON.stringify(mappings ?? []).matchAll(/"text":"([^"]+)"/g)].map(([, text]) => text ?? "");
function labelsOf({ title, targets = [], fieldConfig }: Panel): string[] {
  const properties = (fieldConfig?.overrides ?? []).flatMap((override) => override.properties);
  const headings = properties.flatMap(({ id, value }) => (id === "displayName" ? [String(value)] : []));
  // The table of missing figures has every indicator and reason, straight from the catalogue.
  const lists = title === "缺少的数字与原因" ? [] : properties.filter(({ id }) => id === "mappings");
  const aliases = targets.flatMap(({ alias = "" }) => (alias.startsWith("$") ? [] : [alias]));
  const mapped = [fieldConfig?.defaults.mappings, ...lists.map(({ value }) => value)].flatMap(mappedTexts);
  return [title, ...headings, ...aliases, ...mapped].filter((label) => /\p{Script=Han}/u.test(label));
}

describe.each(boards)("labels of $name", ({ panels }) => {
  it("are made of the names of indicators and the words of the wall page", () => {
    const labels = panels.flatMap(labelsOf);
    expect(labels.length).toBeGreaterThan(10);
    expect(labels.filter((label) => takeApart(label).rest !== "")).toEqual([]);
  });

  it("name an indicator only where it is shown", () => {
    for (const panel of panels) {
      const read = new Set(
        (panel.targets ?? []).flatMap(({ query }) =>
          [...query.matchAll(/"indicator" = '([^']+)'/g)].map(([, id]) => id),
        ),
      );
      const ofConnection = (panel.targets ?? []).some(({ query }) => query.includes('FROM "connection"'));
      if (ofConnection || (read.has("devices.online") && read.has("devices.registered")))
        read.add("devices.online_rate");
      for (const label of labelsOf(panel))
        for (const word of takeApart(label).found)
          if (names.has(word)) expect([...read], `${panel.title}: ${label}`).toContain(names.get(word));
    }
  });
});

test("titles of the alert rules are made of the same words", () => {
  expect(alertTitles).toHaveLength(3);
  expect(alertTitles.filter((title) => takeApart(title).rest !== "")).toEqual([]);
});
