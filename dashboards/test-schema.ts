import { join } from "node:path";
import { Ajv, type AnySchema, type ErrorObject, type ValidateFunction } from "ajv";
import { createGenerator } from "ts-json-schema-generator";

/** Checks of a dashboard and of an alert rule, made from the Foundation SDK's own type declarations. Takes some seconds: once per run. */
export function makeChecks(): { dashboard: (model: unknown) => string[]; rule: (model: unknown) => string[] } {
  const schema = createGenerator({
    path: join(import.meta.dirname, "test-panel-types.ts"),
    tsconfig: join(import.meta.dirname, "../tsconfig.json"),
    type: "Checked",
    functions: "hide",
    skipTypeCheck: true,
    encodeRefs: false,
  }).createSchema("Checked");
  const ajv = new Ajv({ allErrors: true, strict: false });
  ajv.addSchema(schema as AnySchema, "checked");
  const checkOf = (definition: string) => {
    const validate = ajv.getSchema(`checked#/definitions/${definition}`) as ValidateFunction;
    return (model: unknown) => {
      // What Grafana reads is what JSON keeps.
      validate(JSON.parse(JSON.stringify(model)));
      return (validate.errors ?? []).map(
        (e: ErrorObject) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`,
      );
    };
  };
  return { dashboard: checkOf("CheckedDashboard"), rule: checkOf("CheckedRule") };
}
