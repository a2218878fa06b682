/** The certificates of a simulated OPC UA server: its own, and those of clients that it has met. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OPCUACertificateManager } from "node-opcua-certificate-manager";

export type OpcuaPki = {
  /** PEM of the server's own certificate, there once the server has started. */
  readonly certificatePath: string;
  /** A manager of the folder. Each server needs one of its own, for it ends with its server. */
  open(): Promise<OPCUACertificateManager>;
  /** Removes the folder if it was a temporary one. */
  close(): void;
};

/**
 * Opens a folder of certificates, made where it is not there; without one, a temporary folder. Key and certificate are made once, at the
 * first start in a folder, and kept.
 */
export function openOpcuaPki(dir: string | undefined, acceptUnknownClients: boolean): OpcuaPki {
  const rootFolder = dir ?? mkdtempSync(join(tmpdir(), "jilian-simulator-pki-"));
  return {
    certificatePath: opcuaCertificatePath(rootFolder),
    async open() {
      // Loaded only here: whoever asks for the path alone need not load it.
      const { OPCUACertificateManager } = await import("node-opcua-certificate-manager");
      const manager = new OPCUACertificateManager({
        rootFolder,
        automaticallyAcceptUnknownCertificate: acceptUnknownClients,
        disableFileWatchers: true,
      });
      await manager.initialize();
      return manager;
    },
    close() {
      if (dir === undefined) rmSync(rootFolder, { recursive: true, force: true });
    },
  };
}

/** Where a server with this folder keeps its own certificate, for a client that is to trust it. */
export function opcuaCertificatePath(pkiDir: string): string {
  return join(pkiDir, "own", "certs", "certificate.pem");
}
