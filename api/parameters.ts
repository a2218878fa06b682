import { Type } from "typebox";
import { defaultLimit, maxLimit } from "./limits.ts";

/** Query parameters that several routes take. An unknown parameter is a fault: a misspelt filter would widen an answer in silence. */
export const strict = { additionalProperties: false } as const;
export const idParameter = Type.String({ minLength: 1, maxLength: 200 });
export const timeParameter = Type.String({
  minLength: 1,
  maxLength: 40,
  description: "ISO 8601 with offset, or ms since 1970",
});
export const limitParameter = Type.Integer({
  minimum: 1,
  maximum: maxLimit,
  description: `rows of a page, ${defaultLimit} if absent`,
});
export const cursorParameter = Type.String({ minLength: 1, maxLength: 2000, description: "`next` of the page before" });
