import { it } from "vitest";
import { mutations } from "./mutations.ts";
import { expectSeen, wantsAll } from "./test-mutations.ts";

const others = mutations.filter((_, i) => i % 2 === 1);

it.runIf(wantsAll)(
  "the matrix would notice the others too (JILIAN_MUTATIONS=all, as in CI)",
  { timeout: others.length * 150_000 },
  () => expectSeen(others),
);
