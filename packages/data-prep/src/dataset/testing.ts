/** What the tests of sources share: a server on this machine, and what a data set's tars hold. */
import { readdir, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readWebDataset } from "../webdataset/read.js";

export type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

export interface Request {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

/** A server that remembers what it was asked. */
export async function withServer<T>(
  answer: Answer,
  use: (endpoint: string, requests: Request[]) => Promise<T>,
): Promise<T> {
  const requests: Request[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url!, "http://server");
    requests.push({ path: `${url.pathname}${url.search}`, headers: request.headers });
    answer(request, response, url);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

/** Cuts a connection when a file on the disk has so many bytes: of what is still on its way, some is lost. */
export async function cutWhenWritten(response: ServerResponse, path: string, bytes: number): Promise<void> {
  while (!response.destroyed && ((await stat(path).catch(() => undefined))?.size ?? 0) < bytes) await sleep(5);
  response.destroy();
}

/** Sets environment variables while `use` runs. */
export async function withEnvironment<T>(
  variables: Readonly<Record<string, string | undefined>>,
  use: () => Promise<T>,
): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  const set = (entries: Iterable<readonly [string, string | undefined]>): void => {
    for (const [name, value] of entries)
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
  };
  set(Object.entries(variables));
  try {
    return await use();
  } finally {
    set(before);
  }
}

/** What the tars of a folder hold, in order: key, and the files as text. */
export async function samplesIn(folder: string): Promise<Record<string, string>[]> {
  const samples: Record<string, string>[] = [];
  for (const name of (await readdir(folder)).filter((name) => name.endsWith(".tar")).sort())
    for await (const { key, files } of readWebDataset(join(folder, name)))
      samples.push({
        tar: name,
        key,
        ...Object.fromEntries(
          [...files].map(([extension, bytes]) => [extension, Buffer.from(bytes).toString("latin1")]),
        ),
      });
  return samples;
}
