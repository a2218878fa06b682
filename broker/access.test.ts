import type { Principal } from "@jilian/store/ledger.ts";
import { describe, expect, it } from "vitest";
import { type Connect, mayConnect, mayPublish, maySubscribe, mayWill } from "./access.ts";

const gateway: Principal = { kind: "gateway", name: "f1/gw-1", group: "f1", node: "gw-1" };
const host: Principal = { kind: "host", name: "ingest" };
const api: Principal = { kind: "api", name: "wall" };
const plain = { qos: 0, retain: false };
const allowed = (refusal: unknown) => refusal === undefined;

describe("connect", () => {
  const death = { topic: "spBv1.0/f1/NDEATH/gw-1", qos: 1, retain: false };
  const good: Connect = { clientId: "f1/gw-1", clean: true, keepaliveS: 60, will: death };
  const code = (principal: Principal, over: Partial<Connect>) =>
    mayConnect(principal, { ...good, ...over }, 120_000)?.code;

  it("lets a gateway in under its own name with its own NDEATH", () => {
    expect(code(gateway, {})).toBeUndefined();
    expect(code(gateway, { keepaliveS: 120 })).toBeUndefined();
  });
  it.each([
    [{ clientId: "f1/gw-2" }, "BROKER_CLIENT_ID"],
    [{ clientId: "" }, "BROKER_CLIENT_ID"],
    [{ clientId: "f1/gw-1-x" }, "BROKER_CLIENT_ID"],
    [{ clean: false }, "BROKER_SESSION_NOT_CLEAN"],
    [{ keepaliveS: 0 }, "BROKER_KEEPALIVE"],
    [{ keepaliveS: 121 }, "BROKER_KEEPALIVE"],
    [{ will: undefined }, "BROKER_WILL"],
    [{ will: { ...death, topic: "spBv1.0/f1/NDEATH/gw-2" } }, "BROKER_WILL"],
    [{ will: { ...death, topic: "spBv1.0/f1/NDATA/gw-1" } }, "BROKER_WILL"],
    [{ will: { ...death, retain: true } }, "BROKER_WILL"],
    [{ will: { ...death, qos: 0 } }, "BROKER_WILL"],
  ])("refuses a gateway with %o", (over, wanted) => expect(code(gateway, over)).toBe(wanted));

  it("lets a host in under its name, and names that begin with it and cannot be a gateway's", () => {
    for (const clientId of ["ingest", "ingest-1", "ingest-worker.2"]) {
      expect(code(host, { clientId, will: undefined }), clientId).toBeUndefined();
    }
    for (const clientId of ["", "ingest2", "ingest-", "other", "ingest-1/gw", "f1/gw-1"]) {
      expect(code(host, { clientId, will: undefined }), clientId).toBe("BROKER_CLIENT_ID");
    }
  });
  it("never lets in a user of the data interface", () => {
    expect(code(api, { clientId: "wall", will: undefined })).toBe("BROKER_API_USER");
  });
});

describe("will of a host", () => {
  it("is its own STATE, retained, or none", () => {
    expect(mayWill(host, undefined)).toBeUndefined();
    expect(mayWill(host, { topic: "spBv1.0/STATE/ingest", qos: 1, retain: true })).toBeUndefined();
    expect(mayWill(host, { topic: "spBv1.0/STATE/other", qos: 1, retain: true })).toBeDefined();
    expect(mayWill(host, { topic: "spBv1.0/STATE/ingest", qos: 1, retain: false })).toBeDefined();
    expect(mayWill(host, { topic: "spBv1.0/f1/NDEATH/gw-1", qos: 1, retain: false })).toBeDefined();
  });
});

describe("publish", () => {
  const own = ["NBIRTH/gw-1", "NDEATH/gw-1", "NDATA/gw-1", "DBIRTH/gw-1/m", "DDEATH/gw-1/m", "DDATA/gw-1/m"];
  const foreign = [
    "spBv1.0/f1/NDATA/gw-2",
    "spBv1.0/f2/NDATA/gw-1",
    "spBv1.0/f1/DDATA/gw-2/m",
    "spBv1.0/f1/NCMD/gw-1",
    "spBv1.0/f1/DCMD/gw-1/m",
    "spBv1.0/f1/NDATA/gw-1/m",
    "spBv1.0/f1/DDATA/gw-1",
    "spBv1.0/f1/DDATA/gw-1/m/n",
    "spBv1.0/STATE/ingest",
    "spBv1.0/STATE/f1/gw-1",
    "$SYS/broker",
    "spAv1.0/f1/NDATA/gw-1",
    "f1/NDATA/gw-1",
    "",
  ];
  it("lets a gateway tell of itself", () => {
    for (const rest of own) expect(mayPublish(gateway, `spBv1.0/f1/${rest}`, plain), rest).toBeUndefined();
  });
  it.each(foreign)("refuses a gateway on %s", (topic) => expect(mayPublish(gateway, topic, plain)).toBeDefined());
  it("refuses a gateway anything retained, and QoS 2", () => {
    for (const rest of own) {
      expect(mayPublish(gateway, `spBv1.0/f1/${rest}`, { qos: 0, retain: true })).toBeDefined();
      expect(mayPublish(gateway, `spBv1.0/f1/${rest}`, { qos: 2, retain: false })).toBeDefined();
    }
  });
  it("lets a host command nodes and tell its own state, and nothing else", () => {
    expect(mayPublish(host, "spBv1.0/f1/NCMD/gw-1", plain)).toBeUndefined();
    expect(mayPublish(host, "spBv1.0/STATE/ingest", { qos: 1, retain: true })).toBeUndefined();
    expect(mayPublish(host, "spBv1.0/STATE/ingest", { qos: 0, retain: true })).toBeDefined();
    expect(mayPublish(host, "spBv1.0/STATE/ingest", { qos: 1, retain: false })).toBeDefined();
    expect(mayPublish(host, "spBv1.0/STATE/other", { qos: 1, retain: true })).toBeDefined();
    expect(mayPublish(host, "spBv1.0/f1/NCMD/gw-1", { qos: 0, retain: true })).toBeDefined();
    for (const rest of own) expect(mayPublish(host, `spBv1.0/f1/${rest}`, plain), rest).toBeDefined();
  });
  it("lets nobody write to a device", () => {
    for (const who of [gateway, host, api]) expect(mayPublish(who, "spBv1.0/f1/DCMD/gw-1/m", plain)).toBeDefined();
    expect(mayPublish(api, "spBv1.0/f1/NCMD/gw-1", plain)).toBeDefined();
  });
});

describe("subscribe", () => {
  it.each([
    ["spBv1.0/f1/NCMD/gw-1", true],
    ["spBv1.0/f1/NCMD/gw-1/#", true],
    ["spBv1.0/f1/DCMD/gw-1/+", true],
    ["spBv1.0/f1/DCMD/gw-1/#", true],
    ["spBv1.0/f1/DCMD/gw-1/m", true],
    ["spBv1.0/STATE/ingest", true],
    ["spBv1.0/STATE/+", true],
    ["spBv1.0/STATE/#", true],
    ["spBv1.0/f1/NCMD/gw-2", false],
    ["spBv1.0/f1/NCMD/+", false],
    ["spBv1.0/f1/NCMD/#", false],
    ["spBv1.0/f1/+/gw-1", false],
    ["spBv1.0/+/NCMD/gw-1", false],
    ["spBv1.0/f1/#", false],
    ["spBv1.0/#", false],
    ["spBv1.0/STATE/#/x", false],
    ["spBv1.0/f1/NDATA/gw-1", false],
    ["spBv1.0/f1/NDATA/gw-2", false],
    ["spBv1.0/+/+", false],
    ["+/f1/NCMD/gw-1", false],
    ["#", false],
    ["+/#", false],
    ["$SYS/#", false],
    ["$share/g/spBv1.0/f1/NCMD/gw-1", false],
    ["", false],
  ])("gateway, %s: %s", (filter, wanted) => expect(allowed(maySubscribe(gateway, filter))).toBe(wanted));

  it.each([
    ["spBv1.0/#", true],
    ["spBv1.0/+/NBIRTH/+", true],
    ["#", false],
    ["+/#", false],
    ["$SYS/#", false],
    ["$share/workers/spBv1.0/#", false],
  ])("host, %s: %s", (filter, wanted) => expect(allowed(maySubscribe(host, filter))).toBe(wanted));

  it("refuses users of the data interface", () => expect(maySubscribe(api, "spBv1.0/#")).toBeDefined());
});
