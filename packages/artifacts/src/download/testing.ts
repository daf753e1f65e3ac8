/** What the tests of downloads share: a server on this machine. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Answer = (request: IncomingMessage, response: ServerResponse, number: number) => void;

/** A server that answers request after request, and remembers what was asked for. */
export async function withServer<T>(
  answer: Answer,
  use: (url: string, requests: IncomingMessage["headers"][]) => Promise<T>,
): Promise<T> {
  const requests: IncomingMessage["headers"][] = [];
  const server = createServer((request, response) => {
    requests.push({ ...request.headers });
    answer(request, response, requests.length);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    const { port } = server.address() as AddressInfo;
    return await use(`http://127.0.0.1:${port}/data/file.bin?token=secret`, requests);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}
