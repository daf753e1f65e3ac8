import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  cutWhenWritten,
  hub,
  sha256,
  withEnvironment,
  withS3,
  withServer,
  type Answer,
  type Request,
} from "../dataset/testing.js";
import { contextIn, inFolder } from "../testing.js";
import { locate, type CheckpointSource } from "./locate.js";

const OLD = Buffer.from("weights after 9,000 updates ".repeat(1000));
const NEW = Buffer.from("weights after 10,000 updates ".repeat(1000));

/** Brings a checkpoint into a folder, and says what is there then. */
async function locatedIn(folder: string, source: string, fields: Partial<CheckpointSource> = {}) {
  const from = { source, file: "**/*.{pt,pth,bin,safetensors}", unsigned: false, ...fields };
  const context = await contextIn(folder);
  const { path, name, sha256 } = await locate(from, join(folder, "tmp"), context);
  return { name, bytes: await readFile(path), sha256: await sha256, progress: context.progress.get("bytes") };
}

/** What an import says that fails. The server's address is `HOST`, the folder `FOLDER`. */
const failureOf = (folder: string, source: string, fields: Partial<CheckpointSource> = {}): Promise<string> =>
  locatedIn(folder, source, fields).then(
    () => "no error",
    ({ message }: Error) => message.replaceAll(folder, "FOLDER").replaceAll(/(https?:\/\/)?127\.0\.0\.1:\d+/g, "HOST"),
  );

const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    void response.writeHead(code, headers).end();

describe("locate, here", () => {
  test("takes a file, and of a folder the one with the highest number", () =>
    inFolder(async (folder) => {
      await writeFile(join(folder, "9000.pt"), OLD);
      await writeFile(join(folder, "0010000.pt"), NEW);
      await writeFile(join(folder, "notes-20000.txt"), "no weights");
      expect(await locatedIn(folder, join(folder, "9000.pt"))).toMatchObject({ bytes: OLD, sha256: sha256(OLD) });
      expect(await locatedIn(folder, folder)).toMatchObject({ bytes: NEW, name: join(folder, "0010000.pt") });
      expect(await locatedIn(folder, folder, { file: "9*.pt" })).toMatchObject({ bytes: OLD });
      expect(await failureOf(folder, folder, { file: "*.onnx" })).toBe(
        'Cannot import "FOLDER": none of its 5 files is a checkpoint, such as "0010000.pt"',
      );
      expect(await failureOf(folder, join(folder, "9000.pt"), { sha256: sha256(NEW) })).toBe(
        `Cannot import "FOLDER/9000.pt": its SHA-256 is ${sha256(OLD)}, expected ${sha256(NEW)}`,
      );
      expect(await failureOf(folder, join(folder, "none.pt"))).toBe(
        'Cannot import "FOLDER/none.pt": there is no such file',
      );
      expect(await failureOf(folder, "some/model")).toBe(
        'Cannot import "some/model": there is no such file; on Hugging Face it is "hf:some/model"',
      );
    }));
});

describe("locate", () => {
  test("refuses what a stage made, of which one file is not all", () =>
    inFolder(async (folder) => {
      await writeFile(join(folder, "weights.safetensors"), NEW);
      await writeFile(join(folder, "manifest.json"), '{"name":"somebody else\'s"}');
      expect(await locatedIn(folder, folder)).toMatchObject({ bytes: NEW });
      await writeFile(join(folder, "manifest.json"), '{"format":1,"stage":"export","facts":{},"files":{}}');
      expect(await failureOf(folder, folder)).toBe(
        'Cannot import "FOLDER": it is what stage "export" made, expected somebody else\'s checkpoint; sample, and train with --from, ' +
          "take an export or a training run as it is",
      );
    }));

  test("refuses a part of a model, and the list of parts, whether named or found", () =>
    inFolder(async (folder) => {
      for (const i of [1, 2]) await writeFile(join(folder, `model-0000${i}-of-00002.safetensors`), NEW);
      await writeFile(join(folder, "model.safetensors.index.json"), "{}");
      await writeFile(join(folder, "model-00001-of-00001.safetensors"), OLD);
      const said = "expected one file; in Python, load_file of safetensors.torch reads each part";
      for (const source of [folder, join(folder, "model-00002-of-00002.safetensors")])
        expect(await failureOf(folder, source)).toContain(
          `: "model-00002-of-00002.safetensors" is one of 2 parts of a model, ${said}`,
        );
      expect(await failureOf(folder, join(folder, "model.safetensors.index.json"))).toContain(
        `: "model.safetensors.index.json" lists the parts of a model, ${said}`,
      );
      const only = join(folder, "model-00001-of-00001.safetensors");
      expect(await locatedIn(folder, only)).toMatchObject({ bytes: OLD });
    }));
});

describe("locate, on the hub", () => {
  const files = { "README.md": Buffer.from("text"), "ckpt/0010000.pt": NEW, "ckpt/9000.pt": OLD };
  const withHub = <T>(answer: Answer, use: (requests: Request[]) => Promise<T>, token?: string): Promise<T> =>
    withServer(answer, (endpoint, requests) =>
      withEnvironment({ HF_ENDPOINT: endpoint, HF_TOKEN: token }, () => use(requests)),
    );

  test("takes the checkpoint with the highest number, or the one that is named", () =>
    inFolder((folder) =>
      withHub(
        hub({ of: "models", files }),
        async (requests) => {
          expect(await locatedIn(folder, "hf:some/model")).toEqual({
            ...{ name: "hf:some/model/ckpt/0010000.pt", bytes: NEW, sha256: sha256(NEW) },
            progress: [NEW.length, NEW.length],
          });
          for (const { headers } of requests) expect(headers.authorization).toBe("Bearer secret");
          expect(await locatedIn(folder, "hf:some/model@main", { file: "ckpt/9*" })).toMatchObject({ bytes: OLD });
        },
        "secret",
      ),
    ));

  test("goes on where the connection was cut, and refuses bytes that the list does not know", () =>
    inFolder(async (folder) => {
      const cut = { 1: { bytes: 9000, path: join(folder, "tmp", "checkpoint.part") } };
      await withHub(hub({ of: "models", files, cut }), async (requests) => {
        expect(await locatedIn(folder, "hf:some/model")).toMatchObject({ bytes: NEW });
        expect(requests.slice(2).map(({ headers }) => headers.range)).toEqual([undefined, "bytes=9000-"]);
      });
      const entry = (entry: Record<string, unknown>): unknown =>
        entry["path"] === "ckpt/0010000.pt"
          ? { ...entry, lfs: { oid: sha256(OLD), size: NEW.length, pointerSize: 130 } }
          : entry;
      await inFolder((other) =>
        withHub(hub({ of: "models", files, entry }), async () => {
          expect(await failureOf(other, "hf:some/model")).toBe(
            `Cannot download "HOST/some/model/resolve/main/ckpt/0010000.pt": its SHA-256 is ${sha256(NEW)}, expected ${sha256(OLD)}`,
          );
        }),
      );
    }));

  test("says what is wrong: no such model, no token, no checkpoint, no name of a model", () =>
    inFolder(async (folder) => {
      const failure = (answer: Answer, source = "hf:some/model"): Promise<string> =>
        withHub(answer, () => failureOf(folder, source));
      expect(await failure(status(404))).toMatch(/: the server answered 404 Not Found$/);
      expect(await failure(status(401))).toMatch(
        /: the server answered 401 Unauthorized: some\/model is private, gated, or none; expected a token in HF_TOKEN that may read it$/,
      );
      expect(await failure(hub({ of: "models", files: { "README.md": OLD } }))).toBe(
        'Cannot use some/model at main: none of its 1 files fits "**/*.{pt,pth,bin,safetensors}"',
      );
      expect(await failure(status(200), "hf:model")).toBe(
        'Cannot import "hf:model": expected hf:owner/name or hf:owner/name@revision',
      );
    }));
});

describe("locate, on the web", () => {
  /**
   * Answers with NEW at /0010000.pt, in ranges; cuts the first answer when 9,000 bytes have been written to the part.
   */
  const web = (part: string): Answer => {
    let asked = 0;
    return (request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
      response.writeHead(from > 0 ? 206 : 200, {
        ...{ etag: '"v"', "content-length": NEW.length - from },
        ...(from > 0 ? { "content-range": `bytes ${from}-${NEW.length - 1}/${NEW.length}` } : {}),
      });
      if (++asked > 1) return void response.end(NEW.subarray(from));
      response.write(NEW.subarray(0, 9000));
      void cutWhenWritten(response, part, 9000);
    };
  };

  test("follows redirects to another server without the credentials, and goes on where the connection was cut", () =>
    inFolder((folder) =>
      withServer(web(join(folder, "tmp", "checkpoint.part")), (store, stored) =>
        withServer(status(302, { location: `${store}/blob?signature=secret` }), async (front) => {
          const { name, ...rest } = await locatedIn(folder, `${front}/0010000.pt?download=true`);
          expect(rest).toEqual({ bytes: NEW, sha256: sha256(NEW), progress: [NEW.length, NEW.length] });
          expect(name).toBe(`${front}/0010000.pt`); // no query: it may hold a signature
          expect(stored).toHaveLength(2);
          expect(stored[1]!.headers.range).toBe("bytes=9000-");
        }),
      ),
    ));

  test("says what is wrong, and keeps nothing that is not what was expected", () =>
    inFolder(async (folder) => {
      const failure = (answer: Answer, fields: Partial<CheckpointSource> = {}): Promise<string> =>
        withServer(answer, (endpoint) => failureOf(folder, `${endpoint}/0010000.pt?token=secret`, fields));
      const whole: Answer = (_, response) => void response.end(NEW);
      expect(await failure(status(401))).toMatch(/the server answered 401 Unauthorized: it wants other credentials$/);
      expect(await failure(status(403))).toMatch(/the server answered 403 Forbidden: it wants other credentials$/);
      expect(await failure(status(404))).toBe(
        'Cannot download "HOST/0010000.pt": the server answered 404 Not Found: HOST has no such file',
      );
      expect(await failure(status(302, { location: "file:///etc/passwd" }))).toMatch(
        /the server redirects to file:, expected http: or https: without a password$/,
      );
      expect(await failure(whole, { sha256: sha256(OLD) })).toBe(
        `Cannot download "HOST/0010000.pt": its SHA-256 is ${sha256(NEW)}, expected ${sha256(OLD)}`,
      );
      expect(await failureOf(folder, "https://huggingface.co/some/model/blob/main/a%20b.pt?x=1")).toBe(
        'Cannot import "https://huggingface.co/some/model/blob/main/a%20b.pt?x=1": it is the page of a file, expected ' +
          "https://huggingface.co/some/model/resolve/main/a%20b.pt, or hf:owner/name with --file",
      );
      await expect(readFile(join(folder, "tmp", "checkpoint"))).rejects.toThrow("ENOENT");
    }));
});

describe("locate, on S3", () => {
  const objects = { "run/0010000.pt": NEW, "run/9000.pt": OLD, "run/log.txt": "text" };

  test("takes an object, and below a prefix the checkpoint with the highest number, going on where it was cut", () =>
    inFolder(async (folder) => {
      const cut = { 1: { bytes: 9000, path: join(folder, "tmp", "checkpoint.part") } };
      await withS3({ objects, cut }, async () => {
        expect(await locatedIn(folder, "s3://bucket/run/")).toMatchObject({ bytes: NEW, sha256: sha256(NEW) });
        expect(await locatedIn(folder, "s3://bucket/run/9000.pt")).toMatchObject({
          ...{ bytes: OLD, name: "s3://bucket/run/9000.pt" },
        });
      });
    }));

  test("refuses bytes that are not the object's, or not the expected ones", () =>
    inFolder(async (folder) => {
      await withS3({ objects, etag: () => "0".repeat(32) }, async () => {
        expect(await failureOf(folder, "s3://bucket/run/")).toMatch(/its MD5 is [0-9a-f]{32}, its ETag says 0{32}/);
      });
      await withS3({ objects }, async () => {
        expect(await failureOf(folder, "s3://bucket/run/", { sha256: sha256(OLD) })).toBe(
          `Cannot import "s3://bucket/run/0010000.pt": its SHA-256 is ${sha256(NEW)}, expected ${sha256(OLD)}`,
        );
        expect(await failureOf(folder, "s3://bucket/elsewhere/")).toMatch(/^Cannot /);
        expect(await failureOf(folder, "s3://none/x.pt")).toMatch(/NoSuchBucket|no such bucket|does not exist/);
      });
    }));
});
