import type { App } from "./app.ts";

/** On every answer, errors included. No CORS: a page of another origin reads nothing here. */
export const securityHeaders = {
  // Nothing inline, nothing from elsewhere: what a browser runs and shows here is what this folder holds.
  "content-security-policy":
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "SAMEORIGIN",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  // Figures change and belong to whom they were given to.
  "cache-control": "no-store",
} as const;

/** Where TLS is spoken a browser is told to speak nothing else here for a year (RFC 6797). */
const strictTransport = { "strict-transport-security": "max-age=31536000" } as const;

export function addSecurityHeaders(app: App, tls: boolean): void {
  const headers = tls ? { ...securityHeaders, ...strictTransport } : securityHeaders;
  app.addHook("onRequest", async (_request, reply) => {
    reply.headers(headers);
  });
}
