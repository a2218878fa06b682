import { resolve } from "node:path";
import { type Static, Type } from "typebox";

const mebibyte = 1024 * 1024;

/** Where the history of quarter hours is kept, and how much of it; `false` keeps none. */
export const historySchema = Type.Union(
  [
    Type.Object(
      {
        path: Type.Optional(
          Type.String({ minLength: 1, description: "file of the history; beside the outbox if absent" }),
        ),
        keepDays: Type.Integer({
          default: 400,
          minimum: 1,
          maximum: 3650,
          description: "so many days of quarter hours are kept, where maxBytes has room for them",
        }),
        maxBytes: Type.Integer({
          default: 2048 * mebibyte,
          minimum: 4 * mebibyte,
          maximum: Number.MAX_SAFE_INTEGER,
          description: "size at which the oldest quarter hours are dropped",
        }),
      },
      { additionalProperties: false },
    ),
    Type.Literal(false, { description: "false: no history" }),
  ],
  { default: {} },
);

export type HistoryConfig = Static<typeof historySchema>;
export type HistorySetting = Exclude<HistoryConfig, false> & { path: string };

/** The section with its path resolved: a relative one starts at the configuration's folder. */
export function placedHistory(history: HistoryConfig, dir: string): HistoryConfig {
  return history === false || history.path === undefined ? history : { ...history, path: resolve(dir, history.path) };
}
