import { Type } from "typebox";
import { defaultLimit, maxLimit } from "./limits.ts";

/** Query parameters that several routes take. An unknown parameter is a fault: a misspelt filter would widen an answer in silence. */
export const strict = { additionalProperties: false } as const;
export const idParameter = Type.String({ minLength: 1, maxLength: 200, description: "id, as the lists give it 标识" });
export const timeParameter = Type.String({
  minLength: 1,
  maxLength: 40,
  description: "ISO 8601 with offset, or ms since 1970 时间",
});
export const limitParameter = Type.Integer({
  minimum: 1,
  maximum: maxLimit,
  description: `rows of a page, ${defaultLimit} if absent 每页行数`,
});
export const cursorParameter = Type.String({
  minLength: 1,
  maxLength: 2000,
  description: "`next` of the page before 上一页的 next",
});

/** A place in the change log. */
export const positionParameter = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: "number of the last change that you have; 0 for the start of the log 已取得的最后变更号",
});
export const logParameter = Type.String({
  minLength: 1,
  maxLength: 40,
  description: "`log` of an earlier answer: then a position of another ledger's log is refused 变更日志名称",
});
