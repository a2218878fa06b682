import type { OpcuaDevice } from "./opcua-config.ts";

/** What devices have in common that share one session: endpoint, security and user. Holds secrets: for comparing only. */
export function sessionKeyOf({ endpointUrl, security, user }: OpcuaDevice): string {
  return JSON.stringify([endpointUrl, security.mode, security.policy, user]);
}
