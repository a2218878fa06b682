import { expect, it } from "vitest";
import { type Leveled, levelSwitch } from "./log-levels.ts";

it("switches every logger of a tree, and gives each its own level back", () => {
  const { onChild, force, forced } = levelSwitch("info");
  const [root, quiet]: [Leveled, Leveled] = [{ level: "info" }, { level: "warn" }];
  onChild(root);
  onChild(quiet);
  force("debug");
  const late: Leveled = { level: "debug" };
  onChild(late);
  expect([root.level, quiet.level, forced()]).toEqual(["debug", "debug", "debug"]);
  force(undefined);
  expect([root.level, quiet.level, late.level, forced()]).toEqual(["info", "warn", "info", undefined]);
});

it("keeps what it knows small when loggers come and go, and loses none that lives", () => {
  const { onChild, force } = levelSwitch("info");
  const kept: Leveled[] = [];
  for (let i = 0; i < 5000; i += 1) {
    const child = { level: "info" };
    onChild(child);
    if (i % 100 === 0) kept.push(child);
  }
  force("trace");
  expect(kept.every(({ level }) => level === "trace")).toBe(true);
});
