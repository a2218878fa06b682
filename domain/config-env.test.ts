import { Type } from "typebox";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { checkConfig, formatFaults } from "./check-config.ts";
import {
  applyEnv,
  type Env,
  literalSecrets,
  printConfig,
  redacted,
  secretFiles,
  secretWarnings,
} from "./config-env.ts";

const strict = { additionalProperties: false } as const;
const schema = Type.Object(
  {
    api: Type.Object({ host: Type.String({ default: "127.0.0.1" }), port: Type.Integer({ default: 8080 }) }, strict),
    broker: Type.Optional(
      Type.Object({ username: Type.String(), password: Type.Optional(Type.String({ minLength: 8 })) }, strict),
    ),
    ops: Type.Optional(Type.Object({ port: Type.Integer({ default: 9464 }) }, strict)),
    devices: Type.Array(Type.Object({ id: Type.String({ minLength: 1 }), tags: Type.Array(Type.String()) }, strict), {
      default: [],
    }),
  },
  strict,
);
const file = `api: { port: 80 }
devices:
  - { id: a, tags: [x] }
  - { id: b, tags: [y, z] }
`;
const check = (env: Env, text = file) => checkConfig(schema, text, "p.yaml", () => [], env);
function faultsOf(env: Env, text = file) {
  const checked = check(env, text);
  return checked.ok ? [] : checked.faults;
}

describe("values of the environment", () => {
  it("come in place of the file's, in any depth, and say which variable they are from", () => {
    const env = {
      JILIAN__api__port: "9090",
      JILIAN__devices__1__id: "second",
      JILIAN__devices__0__tags: "[p, q]",
      JILIAN__ops__port: "0x10",
      PATH: "/bin",
      JILIAN_LOG_LEVEL: "debug",
    };
    expect(check(env)).toEqual({
      ok: true,
      value: {
        api: { host: "127.0.0.1", port: 9090 },
        ops: { port: 16 },
        devices: [
          { id: "a", tags: ["p", "q"] },
          { id: "second", tags: ["y", "z"] },
        ],
      },
      overrides: [
        { variable: "JILIAN__api__port", path: "/api/port" },
        { variable: "JILIAN__devices__0__tags", path: "/devices/0/tags" },
        { variable: "JILIAN__devices__1__id", path: "/devices/1/id" },
        { variable: "JILIAN__ops__port", path: "/ops/port" },
      ],
    });
  });

  it("for a section come before those for a part of it, and a section may come from them alone", () => {
    const env = { JILIAN__api__port: "3", JILIAN__api: "{ port: 1, host: h }", JILIAN__ops: "{}" };
    expect(check(env)).toMatchObject({ ok: true, value: { api: { host: "h", port: 3 }, ops: { port: 9464 } } });
    expect(check({ JILIAN__broker__username: "u" })).toMatchObject({ ok: true, value: { broker: { username: "u" } } });
    expect(check({ JILIAN__ops__port: "5" }, "ops:\napi: {}\n")).toMatchObject({
      ok: true,
      value: { ops: { port: 5 } },
    });
  });

  it("leave the file as it is where they are not set", () => {
    expect(check({ JILIAN__api__port: undefined })).toMatchObject({ ok: true, value: { api: { port: 80 } } });
    const value = { a: { b: 1 } };
    expect(applyEnv(value, { JILIAN__a__b: "2" }).value).toEqual({ a: { b: 2 } });
    expect(value).toEqual({ a: { b: 1 } });
  });

  it("that are wrong are told by their variables, all at once and with the faults of the file", () => {
    const env = {
      JILIAN__api__prot: "1",
      JILIAN__api__port: "many",
      JILIAN__apo__port: "1",
      JILIAN__devices__2__id: "c",
      JILIAN__devices__one__id: "c",
      JILIAN__devices__0__id__x: "c",
      JILIAN__devices__0__tags__0: "[",
      JILIAN__: "x",
      JILIAN__api____port: "1",
      JILIAN__constructor__name: "x",
    };
    const faults = faultsOf(env, `${file}nonsense: 1\n`);
    expect(faults.map(({ line, variable, path }) => variable ?? `${line} ${path}`)).toEqual([
      "5 /nonsense",
      "JILIAN__",
      "JILIAN__api____port",
      "JILIAN__api__port",
      "JILIAN__api__prot",
      "JILIAN__apo__port",
      "JILIAN__constructor__name",
      "JILIAN__devices__0__id__x",
      "JILIAN__devices__0__tags__0",
      "JILIAN__devices__2__id",
      "JILIAN__devices__one__id",
    ]);
    const text = formatFaults(faults);
    expect(text).toContain('environment JILIAN__api__port /api/port\n  found:    "many"');
    expect(text).toContain(`remove "prot"`);
    expect(text).toContain("the number of an entry of this list, 0 to 1");
    expect(text).toContain("11 faults; nothing was started.");
    expect(({} as Record<string, unknown>).name).toBeUndefined();
  });

  it("are values of YAML: text that looks like a number wants quotes inside", () => {
    expect(faultsOf({ JILIAN__devices__0__id: "5" })).toMatchObject([
      { variable: "JILIAN__devices__0__id", found: "5" },
    ]);
    expect(check({ JILIAN__devices__0__id: '"5"' })).toMatchObject({ ok: true });
    expect(faultsOf({ JILIAN__api__port: "" })).toMatchObject([{ found: "null" }]);
    expect(faultsOf({ JILIAN__api: "*a" })).toHaveLength(1);
  });

  it("that are secrets are taken as they stand", () => {
    const env = { JILIAN__broker__password: "abc #x: y" };
    expect(applyEnv({ broker: { host: "h" } }, env).value).toEqual({ broker: { host: "h", password: "abc #x: y" } });
  });

  it("that are secrets are not told", () => {
    const faults = faultsOf({ JILIAN__broker__username: "u", JILIAN__broker__password: "hunter2" });
    expect(faults).toMatchObject([{ variable: "JILIAN__broker__password", found: "(not shown)" }]);
    const unread = faultsOf({ JILIAN__broker__password: "{ hunter2" });
    expect(formatFaults([...faults, ...unread])).not.toContain("hunter2");
  });
});

describe("what is shown of a configuration", () => {
  const value = {
    broker: {
      username: "u",
      password: "hunter2",
      passwordFile: "p.secret",
      tls: { keyFile: "k.pem", certFile: "c.pem" },
    },
    list: [{ apiKey: "hunter3" }],
    store: { tokenFile: "t", token: null },
  };

  it("holds no secret, and says what the environment changed", () => {
    const overrides = [
      { variable: "JILIAN__broker__username", path: "/broker/username" },
      { variable: "JILIAN__list", path: "/list" },
    ];
    const text = printConfig(value, overrides);
    expect(text).not.toMatch(/hunter/);
    expect(text).toContain("username: u # JILIAN__broker__username");
    expect(text).toContain("# JILIAN__list");
    expect(parse(text)).toEqual(redacted(value));
    expect(redacted(value)).toMatchObject({ broker: { password: "(not shown)", passwordFile: "p.secret" } });
  });

  it("is warned of where secrets stand in it, or in files that everyone may read", () => {
    expect(literalSecrets(value)).toEqual(["/broker/password", "/list/0/apiKey"]);
    expect(secretFiles(value)).toEqual([
      { path: "/broker/passwordFile", file: "p.secret" },
      { path: "/broker/tls/keyFile", file: "k.pem" },
      { path: "/store/tokenFile", file: "t" },
    ]);
    const modes: Record<string, number> = { "p.secret": 0o100644, "k.pem": 0o100640 };
    const warnings = secretWarnings(value, (path) => modes[path]);
    expect(warnings).toHaveLength(3);
    expect(warnings[2]).toContain("chmod 600 p.secret");
    expect(warnings.join()).not.toMatch(/hunter/);
  });
});
