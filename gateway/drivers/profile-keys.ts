import { Type } from "typebox";

const ratio = (description: string) =>
  Type.Optional(
    Type.Union([Type.Number({ exclusiveMinimum: 0 }), Type.String({ minLength: 1, maxLength: 40 })], { description }),
  );

/** Keys of a device that is described by a profile (profile-apply.ts): they say what of it holds for this one. */
export const profileKeys = {
  profile: Type.Optional(
    Type.String({
      pattern: "^[a-z0-9-]{1,60}$",
      description: "gives tags, byte order and limits: jilian-gateway profile list",
    }),
  ),
  without: Type.Optional(
    Type.Array(Type.String(), { description: "tags of the profile that this device does not need" }),
  ),
  ctRatio: ratio("of the current transformers before the meter, where its registers do not have it: 400/5 or 80"),
  ptRatio: ratio("of the voltage transformers before the meter, where its registers do not have it: 10000/100 or 100"),
};
