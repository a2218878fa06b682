import { JilianError } from "@jilian/domain/errors.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { applyRegistry, planApplication, readMoment } from "@jilian/store/registry-apply.ts";
import { readRegistryAside } from "@jilian/store/registry-aside.ts";
import { entryKinds } from "@jilian/store/registry-difference.ts";
import { followVersions, sinceEverMs } from "@jilian/store/registry-versions.ts";
import { type Static, Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import { nullable, timeSchema } from "../figures.ts";
import { defaultLimit } from "../limits.ts";
import { limitParameter, strict } from "../parameters.ts";
import { invalid, problem, problemSchema } from "../problems.ts";
import type { KeyCheck } from "../security.ts";
import { versionSchema, viewVersion } from "../version-view.ts";

/** A registry of some 400 enterprises with all their devices. */
const maxRegistryBytes = 16 * 1024 * 1024;
/** What operators send a registry as; JSON is YAML. */
const mediaTypes = ["application/yaml", "application/x-yaml", "text/yaml", "application/json"];
const security = [{ operator: [] }];

const ownVersionSchema = Type.Object({
  ...versionSchema.properties,
  appliedBy: Type.String(),
  note: Type.String(),
});
const fileSchema = Type.Any({ description: "the checked content of cluster.yaml" });

const differenceSchema = Type.Object({
  change: Type.Enum(["added", "removed", "changed"]),
  kind: Type.Enum([...entryKinds]),
  entity: Type.String(),
  name: Type.String(),
  field: nullable(Type.String({ description: "dotted path; null for an entry that came or went" })),
  before: nullable(Type.String({ description: "value as JSON" })),
  after: nullable(Type.String({ description: "value as JSON" })),
});

const applicationSchema = Type.Object({
  applied: Type.Boolean({ description: "false for a dry run, and where nothing differs" }),
  number: nullable(Type.Integer({ description: "of the new version" })),
  base: Type.Integer({ description: "number of the version that the differences are to; 0: there was none" }),
  version: Type.String(),
  from: nullable(Type.String({ description: "null: since ever" })),
  recomputedDays: Type.Integer({ description: "days of figures that are computed again" }),
  replaced: Type.Array(Type.Integer(), { description: "numbers of the versions whose place it takes" }),
  differences: Type.Array(differenceSchema),
});

const auditSchema = Type.Object({
  id: Type.Integer(),
  time: timeSchema,
  actor: Type.String({ description: "name of the operator's key, or user@host of a command" }),
  origin: Type.String({ description: "address, `command`, or `start`" }),
  action: Type.String(),
  subject: Type.String(),
  detail: Type.Any({ description: "what it was: of registry.apply number, version, from, note, differences" }),
});

const applyQuery = Type.Object(
  {
    from: Type.Optional(
      Type.String({
        maxLength: 40,
        description: "in force from: now (if absent), ever, a date, or a time with zone (+ as %2B) 生效时间",
      }),
    ),
    note: Type.Optional(Type.String({ maxLength: 500, description: "why; kept with the version 说明" })),
    dryRun: Type.Optional(Type.Boolean({ description: "true: tells the difference, applies nothing 试运行" })),
    base: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: "number of the newest version that you know; another one is refused 基于版本",
      }),
    ),
  },
  strict,
);

/** @throws a 422 that lists every fault of a registry */
async function registryOf(text: string): Promise<Registry> {
  const checked = await readRegistryAside(text, "registry");
  if (checked.ok) return checked.value;
  throw problem({
    code: "REGISTRY_INVALID",
    status: 422,
    detail: `the registry has ${checked.faults.length} faults`,
    remedy: "correct every one and send it again; nothing was applied",
    faults: checked.faults.map(({ line, path, found, expected, remedy }) => ({
      ...{ parameter: `line ${line} ${path}`, found, expected, remedy },
    })),
  });
}

/** Lets one registry in at a time: each may hold much memory. */
function oneAtATime(): <T>(work: () => Promise<T>) => Promise<T> {
  let busy = false;
  return async (work) => {
    if (busy) {
      const detail = "another registry is being checked";
      throw problem({ code: "REGISTRY_BUSY", status: 503, detail, remedy: "send it again in a minute" });
    }
    busy = true;
    try {
      return await work();
    } finally {
      busy = false;
    }
  };
}

type Question = Static<typeof applyQuery> & { by: string; origin: string };

/** Plans and, unless it is a dry run, applies a registry that was sent. */
async function applySent(
  { ledger, clock }: ApiDeps,
  text: string,
  question: Question,
): Promise<Static<typeof applicationSchema>> {
  const { from = "now", note = "", dryRun = false, base, by, origin } = question;
  const nowMs = clock.now();
  // A `+` that a client left unencoded arrives as a space.
  const asked = readMoment(from.replace(/ (\d\d:\d\d)$/, "+$1"), nowMs);
  if (asked === undefined) {
    const expected = "now, ever, 2026-11-01, or 2026-11-01T06:00+08:00";
    throw invalid([{ parameter: "from", found: from, expected, remedy: "correct the moment" }]);
  }
  const registry = await registryOf(text);
  const plan = planApplication(ledger, registry, asked, nowMs);
  const fromMs = plan.base === 0 ? sinceEverMs : asked;
  const shouldApply = plan.changesAnything && !dryRun;
  const on = { ...plan, base: base ?? plan.base };
  try {
    const number = shouldApply ? applyRegistry(ledger, registry, on, { fromMs, nowMs, by, origin, note }) : null;
    return {
      ...{ applied: shouldApply, number, base: plan.base, version: registry.version },
      from: fromMs === sinceEverMs ? null : isoTime(fromMs),
      recomputedDays: plan.days,
      replaced: plan.replaced.map((version) => version.number),
      differences: [...plan.differences],
    };
  } catch (thrown) {
    if (!(thrown instanceof JilianError) || thrown.code !== "REGISTRY_MOVED") throw thrown;
    throw problem({ code: "REGISTRY_MOVED", status: 409, detail: thrown.message, remedy: thrown.remedy });
  }
}

function addApply(app: App, deps: ApiDeps, keys: KeyCheck): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(mediaTypes, { parseAs: "string" }, (_request, body, done) => done(null, body));
  const schema = {
    operationId: "applyRegistry",
    tags: ["operator"],
    security,
    summary: "应用登记册 · Checks a registry as a whole and applies it, or tells the difference",
    description:
      "The body is cluster.yaml, as YAML or JSON. All faults come at once and nothing is applied then. Services take up the new version within seconds; with `from` in the past, the figures since then are computed again.\n\n请求体为 cluster.yaml；有错误则全部列出且不应用。",
    consumes: mediaTypes,
    querystring: applyQuery,
    body: Type.String({ description: "cluster.yaml" }),
    response: { 200: applicationSchema, "4xx": problemSchema },
  };
  const config = { problems: ["PARAMETER_INVALID", "REGISTRY_INVALID", "REGISTRY_MOVED", "REGISTRY_BUSY"] as const };
  const alone = oneAtATime();
  app.post("/registry", { schema, config, bodyLimit: maxRegistryBytes }, async (request) =>
    alone(() => applySent(deps, request.body, { ...request.query, by: keys.nameOf(request), origin: request.ip })),
  );
}

/** What operators may do: look at the registry's versions, apply one, read who changed what. Their keys open nothing else. */
export function addOperatorRoutes(app: App, deps: ApiDeps, keys: KeyCheck): void {
  const { ledger, clock } = deps;
  const versions = followVersions(ledger);
  const config = { problems: ["PARAMETER_INVALID"] as const };

  const registry = {
    operationId: "getOperatorRegistry",
    tags: ["operator"],
    security,
    summary: "登记册及其版本 · The registry in force and every version",
    querystring: Type.Object({}, strict),
    response: {
      200: Type.Object({
        current: ownVersionSchema,
        versions: Type.Array(ownVersionSchema),
        registry: fileSchema,
      }),
      "4xx": problemSchema,
    },
  };
  app.get("/registry", { schema: registry, config }, async () => {
    const all = versions();
    const view = (version: ReturnType<typeof all.versionAt>) => ({
      ...viewVersion(version, all),
      appliedBy: version.appliedBy,
      note: version.note,
    });
    const nowMs = clock.now();
    return { current: view(all.versionAt(nowMs)), versions: all.all().map(view), registry: all.at(nowMs).file };
  });

  const audit = {
    operationId: "listAudit",
    tags: ["operator"],
    security,
    summary: "审计 · Who changed what, when and from where; the newest first",
    querystring: Type.Object(
      {
        limit: Type.Optional(limitParameter),
        before: Type.Optional(
          Type.Integer({ minimum: 1, description: "id of the last entry that you have 上一页末条" }),
        ),
      },
      strict,
    ),
    response: { 200: Type.Object({ entries: Type.Array(auditSchema) }), "4xx": problemSchema },
  };
  app.get("/audit", { schema: audit, config }, async ({ query: { limit = defaultLimit, before } }) => ({
    entries: ledger
      .audit({ limit, ...(before === undefined ? {} : { beforeId: before }) })
      .map(({ atMs, detail, ...entry }) => ({ ...entry, time: isoTime(atMs), detail: JSON.parse(detail) as unknown })),
  }));

  addApply(app, deps, keys);
}
