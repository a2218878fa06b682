/** The library's server of a plant: made, ended and made again on the same port. */
import { OPCUAServer } from "node-opcua-server";
import { addPlant } from "./opcua-address-space.ts";
import { OPCUA_PRODUCT_URI, type OpcuaMap } from "./opcua-map.ts";
import type { CellListener, OpcuaMemory } from "./opcua-memory.ts";
import type { OpcuaPki } from "./opcua-pki.ts";
import type { OpcuaWire } from "./opcua-wire.ts";

export type OpcuaUser = { readonly name: string; readonly password: string };

export type InstanceOptions = {
  readonly id: string;
  readonly host: string;
  readonly user?: OpcuaUser;
  readonly anonymousOnSecured?: boolean;
  readonly map: OpcuaMap;
  readonly wire: OpcuaWire;
  readonly pki: OpcuaPki;
};

export type OpcuaInstances = {
  readonly port: number;
  readonly endpointUrl: string;
  readonly restarts: number;
  readonly running: boolean;
  /** Makes a server, which takes its time, and does not listen yet. */
  prepare(port: number): Promise<void>;
  /** Listens with the prepared server, its variables showing what the memory holds. Rejects with the listener's error. */
  listen(memory: OpcuaMemory): Promise<void>;
  /** Ends the server with all that its clients had there; nothing where there is none. */
  stop(): Promise<void>;
  /** Makes the next server while the port is still closed, and listens once `whenDue` resolves. */
  startAgain(memory: OpcuaMemory, whenDue: Promise<unknown>): Promise<void>;
  /** Closes the port to new connections, and opens it again. */
  suspend(): Promise<void>;
  resume(): Promise<void>;
};

/** MessageSecurityMode None and UserTokenType Anonymous and UserName (OPC 10000-4, 7.20 and 7.42). */
const UNSECURED = 1;
const ANONYMOUS = 0;
const USER_NAME = 1;

/** Leaves each endpoint the ways to log in that this server has; the library offers all of them everywhere. */
function limitLogins(server: OPCUAServer, user: OpcuaUser | undefined, anonymousOnSecured: boolean): void {
  for (const description of server.endpoints.flatMap((endpoint) => endpoint.endpointDescriptions())) {
    const anonymous = user === undefined || anonymousOnSecured || description.securityMode === UNSECURED;
    description.userIdentityTokens = (description.userIdentityTokens ?? []).filter(
      ({ tokenType }) => (tokenType === ANONYMOUS && anonymous) || (tokenType === USER_NAME && user !== undefined),
    );
  }
}

type Prepared = { readonly server: OPCUAServer; readonly write: CellListener };

async function createServer(options: InstanceOptions, port: number): Promise<Prepared> {
  const { id, host, user, map, wire, pki } = options;
  const manager = await pki.open();
  const server = new OPCUAServer({
    port,
    host,
    // Bound to all interfaces it names itself by the machine's own name.
    ...(host === "0.0.0.0" || host === "::" ? {} : { hostname: host }),
    serverCertificateManager: manager,
    userCertificateManager: manager,
    serverInfo: {
      applicationUri: `urn:jilian:simulator:${id}`,
      applicationName: { locale: "en", text: `SIMULATED plant ${id}` },
      productUri: OPCUA_PRODUCT_URI,
    },
    buildInfo: {
      productUri: OPCUA_PRODUCT_URI,
      productName: "Jilian simulated plant",
      manufacturerName: "Jilian",
      softwareVersion: "SIMULATED",
    },
    // Minimum 0: a sampling interval of 0 delivers every change, none is merged with the next.
    serverCapabilities: { maxSessions: 100, minSupportedSampleRate: 0 },
    maxConnectionsPerEndpoint: 256,
    isAuditing: false,
    userManager: {
      isValidUser: (name: string, password: string) => name === user?.name && password === user.password,
    },
    ...wire.serverOptions,
  });
  await server.initialize();
  limitLogins(server, user, options.anonymousOnSecured ?? false);
  const { addressSpace } = server.engine;
  if (addressSpace === null) throw new Error("the OPC UA server has no address space");
  wire.attach(server);
  return { server, write: addPlant(addressSpace, map) };
}

/** Creates the plant's servers to be: none is made yet. */
export function createOpcuaInstances(options: InstanceOptions): OpcuaInstances {
  let prepared: Prepared | undefined;
  let port = 0;
  let endpointUrl = "";
  let restarts = 0;
  let running = false;

  async function listen(memory: OpcuaMemory): Promise<void> {
    if (prepared === undefined) throw new Error("no OPC UA server is prepared");
    const { server, write } = prepared;
    memory.listen(write);
    await server.start();
    running = true;
    port = server.endpoints[0]?.port ?? 0;
    endpointUrl = server.getEndpointUrl();
  }

  async function prepare(wanted: number): Promise<void> {
    prepared = await createServer(options, wanted);
  }

  return {
    get port() {
      return port;
    },
    get endpointUrl() {
      return endpointUrl;
    },
    get restarts() {
      return restarts;
    },
    get running() {
      return running;
    },
    prepare,
    listen,
    async stop() {
      const ending = prepared?.server;
      prepared = undefined;
      running = false;
      await ending?.shutdown(0);
    },
    async startAgain(memory, whenDue) {
      await Promise.all([prepare(port), whenDue]);
      await listen(memory);
      restarts += 1;
    },
    suspend: async () => prepared?.server.suspendEndPoints(),
    resume: async () => prepared?.server.resumeEndPoints(),
  };
}
