/** Answers of a real HTTP server that says what InfluxDB does not say at will. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { connectInflux } from "./client.ts";
import { settingOf } from "./test-setting.ts";

let close = async () => {};
afterEach(() => close());

/** What a query comes to whose answer is written by a function. */
async function queryOf(answer: (response: ServerResponse) => Promise<void>) {
  const server = createServer(async (request, response) => {
    request.resume();
    if (request.url?.startsWith("/ping")) response.writeHead(204, { "x-influxdb-version": "1.8.10" }).end();
    else await answer(response.writeHead(200)).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = await connectInflux(settingOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, "any"));
  close = async () => {
    client.close();
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  };
  return await client.query('SELECT "v" FROM "m"');
}

function piece(at: number, goesOn: boolean, messages = ""): string {
  const partial = goesOn ? { partial: true } : {};
  const series = [{ name: "m", columns: ["time", "v"], values: [[at, at]], ...partial }];
  return `${JSON.stringify({ results: [{ statement_id: 0, messages, series, ...partial }] })}\n`;
}

it("is read however long it is: longer than any text may be", async () => {
  const padding = "x".repeat(8_000_000);
  const pieces = 70;
  const blocks = await queryOf(async (response) => {
    for (let n = 0; n < pieces; n += 1) if (!response.write(piece(n, true, padding))) await once(response, "drain");
    response.end(piece(pieces, false));
  });
  expect(blocks.map(({ values }) => values)).toEqual([Array.from({ length: pieces + 1 }, (_, n) => [n, n])]);
}, 30_000);

it("that ends before its end is no answer, whether its connection breaks or a proxy closes it at the end of a piece", async () => {
  const broken = queryOf(async (response) => {
    response.write(piece(0, true));
    setImmediate(() => response.destroy());
  });
  await expect(broken).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  await close();
  const closed = queryOf(async (response) => void response.end(piece(0, true)));
  await expect(closed).rejects.toThrow("the answer was cut");
});
