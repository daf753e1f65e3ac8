import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { canonicalJson, DigestText, Manifest, sha256, type Digest } from "../store/manifest.js";
import { StageRecord } from "../store/record.js";
import { isConsistent, type Made, type ObjectRef, type Store } from "../store/store.js";
import { tryAbilities } from "./abilities.js";
import { Connection } from "./connection.js";
import { fetchObject } from "./fetch.js";
import { Known, type Abilities } from "./known.js";
import { REMOTE_LIMITS, type RemoteLimits } from "./limits.js";
import { LAYOUT, type RemotePlace } from "./place.js";
import { RemoteError } from "./remote-error.js";
import { readMarks, readState, type Marked, type RemoteState } from "./state.js";
import { together } from "./together.js";
import { upload } from "./upload.js";

const KeyText = z.strictObject({ format: z.literal(1), key: DigestText, record: DigestText });
const MadeText = z.strictObject({ manifest: Manifest, record: StageRecord });

/** A manifest of a million files takes 150 MB. */
const MAX_BYTES = { key: 2 ** 12, record: 2 ** 28 };
/** From so many objects on, a list says sooner which are there. A page of it tells of a thousand. */
const LIST_FROM = 64;
/** A push that took longer looks again whether something was marked meanwhile; a collection waits much longer than that. */
const LOOK_AGAIN_MS = 600_000;
/** How long a push waits for a collection that is removing things. */
const COLLECTION_MS = 120_000;

export interface RemoteOptions {
  readonly signal?: AbortSignal;
  /** Those of `REMOTE_LIMITS` that are to be others. */
  readonly limits?: Partial<RemoteLimits>;
  /** Told once of what people should know: that the server ignores conditions. */
  readonly onNotice?: (message: string) => void;
}

/** Told of bytes, as they come and go. */
export type OnBytes = (done: number, total: number) => void;

export interface Pushed {
  /** Objects that were uploaded, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
  /** Objects that were there already. */
  readonly there: number;
  /** Whether the key was written; false if somebody else has written one. */
  readonly named: boolean;
}

/** What belongs to something that was made, and whether it may be lost. */
export function objectsOf({ manifest, record }: Made): { readonly ref: ObjectRef; readonly mayLack: boolean }[] {
  const files = new Map(Object.values(manifest.files).map((ref) => [ref.sha256, ref]));
  const logs = Object.values(record.logs).filter(({ sha256 }) => !files.has(sha256));
  return [
    ...[...files.values()].map((ref) => ({ ref, mayLack: false })),
    ...[...new Map(logs.map((ref) => [ref.sha256, ref])).values()].map((ref) => ({ ref, mayLack: true })),
  ];
}

/**
 * A store that several machines share: a prefix of a bucket, in which files lie under their SHA-256 as they do in the local store.
 *
 *     objects/ab/abcdef...          files
 *     trusted/records/<sha256>.json manifest and record of what a stage made, under the digest of their text
 *     trusted/keys/<key>.json       which of them a key means
 *     trusted/gc/                   where a collection stands
 *
 * Objects are written first, then the record, then the key: nothing is named before it is there. All are written once; of two
 * writers of a key the first stays.
 */
export class Remote implements AsyncDisposable {
  private known: Known | undefined;
  /** Objects that came with other bytes: they are written again, although something is there. */
  private readonly damaged = new Set<Digest>();
  private state: { readonly now: RemoteState; readonly marked: Marked; readonly at: number } | undefined;

  private constructor(
    readonly connection: Connection,
    private readonly store: Store,
    private readonly onNotice: (message: string) => void,
  ) {}

  /** Asks nothing yet. */
  static open(place: RemotePlace, store: Store, options: RemoteOptions = {}): Remote {
    const limits = { ...REMOTE_LIMITS, ...options.limits };
    const signal = options.signal ?? new AbortController().signal;
    return new Remote(new Connection(place, limits, signal), store, options.onNotice ?? (() => undefined));
  }

  /** What messages call it. */
  get name(): string {
    return this.connection.place.uri;
  }

  /** What is known to be there. */
  async index(): Promise<Known> {
    return (this.known ??= await Known.open(this.store, `${this.name} at ${this.connection.endpoint}`));
  }

  /**
   * Asks something small, to know whether anybody answers.
   *
   * @throws {RemoteError} If nobody does, or it is refused.
   */
  async greet(): Promise<void> {
    await readState(this.connection);
  }

  /**
   * What a stage with this key made, if the remote store knows: manifest and record. Its objects may be missing.
   *
   * @throws {RemoteError} If it cannot be asked, or what it says is damaged.
   */
  async find(key: Digest): Promise<Made | undefined> {
    const { connection } = this;
    const path = LAYOUT.key(key);
    const bytes = await connection.read(path, MAX_BYTES.key);
    if (bytes === undefined) return undefined;
    const broken = (what: string, of = path): RemoteError =>
      new RemoteError(`Cannot use ${connection.nameOf(of)}: ${what}`, "damaged");
    const named = KeyText.safeParse(jsonOf(bytes)).data;
    if (named?.key !== key) throw broken("it is damaged, or none of ours");
    const place = LAYOUT.record(named.record);
    const text = await connection.read(place, MAX_BYTES.record);
    if (text === undefined) throw broken("its record is not there");
    const made = MadeText.safeParse(jsonOf(text)).data;
    if (sha256(text) !== named.record || made?.record.key !== key || !isConsistent(made))
      throw broken("it is damaged, or none of ours", place);
    return made;
  }

  /**
   * Brings all objects of something that was made into the local store, several at a time. Logs that are gone stay gone.
   *
   * @returns How many came, and their bytes.
   * @throws {RemoteError} At the first that cannot be had.
   */
  async fetch(made: Made, onBytes?: OnBytes): Promise<{ readonly objects: number; readonly bytes: number }> {
    const wanted = await this.lacking(made);
    const total = wanted.reduce((sum, { ref }) => sum + ref.bytes, 0);
    const known = await this.index();
    let done = 0;
    let objects = 0;
    await together(wanted, this.connection.limits.together, async ({ ref, mayLack }) => {
      try {
        await fetchObject(this.connection, this.store, ref, (bytes) => onBytes?.((done += bytes), total));
        objects++;
        known.addObject(ref.sha256);
      } catch (error) {
        const gone = error instanceof RemoteError && ["missing", "damaged"].includes(error.problem);
        if (gone) known.dropObject(ref.sha256);
        if (gone && error.problem === "damaged") this.damaged.add(ref.sha256);
        if (!mayLack || !gone) throw error;
      }
    }).finally(() => known.save());
    return { objects, bytes: total };
  }

  /** One object, for whoever reads it. */
  async fetchOne(ref: ObjectRef): Promise<void> {
    await fetchObject(this.connection, this.store, ref);
  }

  private async lacking(made: Made) {
    const wanted = [];
    for (const object of objectsOf(made)) if (!(await this.store.intact(object.ref))) wanted.push(object);
    return wanted;
  }

  /**
   * Uploads what belongs to something that was made, then its record, then its key.
   *
   * @param list Whether to look at what is there, whatever is known: what somebody else removed is found out so.
   * @throws {RemoteError} At the first that cannot be written. What is there then is named by nothing.
   */
  async push(made: Made, { onBytes, list = false }: { onBytes?: OnBytes; list?: boolean } = {}): Promise<Pushed> {
    const { connection, store } = this;
    const [known, marked] = [await this.index(), await this.marks()];
    const abilities = await this.abilities();
    const began = performance.now();
    const program = made.record.program.sha256;
    const all = objectsOf(made);
    const bundle = await store.sizeOf(program);
    if (bundle !== undefined && !all.some(({ ref }) => ref.sha256 === program))
      all.push({ ref: { sha256: program, bytes: bundle }, mayLack: true });

    const again = ({ ref }: (typeof all)[number]): boolean =>
      marked.has(LAYOUT.object(ref.sha256)) || this.damaged.has(ref.sha256);
    const unknown = all.filter((object) => !known.hasObject(object.ref.sha256) || again(object));
    const listed = list || unknown.length >= LIST_FROM ? await this.list() : undefined;
    const lacking = listed
      ? all.filter((object) => listed.get(object.ref.sha256) !== object.ref.bytes || again(object))
      : unknown;
    const total = lacking.reduce((sum, { ref }) => sum + ref.bytes, 0);
    let [done, objects, bytes] = [0, 0, 0];
    const count = (more: number): void => onBytes?.((done += more), total);
    await together(lacking, connection.limits.together, async (object) => {
      const { ref, mayLack } = object;
      const path = LAYOUT.object(ref.sha256);
      const there = listed ? listed.get(ref.sha256) : await connection.sizeOf(path);
      if (there === ref.bytes && !again(object)) count(ref.bytes);
      else {
        if (!(await store.intact(ref))) {
          if (mayLack) return void count(ref.bytes);
          throw new RemoteError(
            `Cannot push ${connection.nameOf(path)}: it is neither there nor in ${JSON.stringify(store.root)}`,
            "missing",
          );
        }
        const once = abilities.once && there === undefined;
        const options = { once, compares: abilities.compares, onBytes: count };
        try {
          if (await upload(connection, path, store.objectPath(ref.sha256), ref, options)) {
            objects++;
            bytes += ref.bytes;
          }
        } catch (error) {
          if (error instanceof RemoteError && error.problem === "local") await store.doubt(ref);
          throw error;
        }
      }
      known.addObject(ref.sha256);
      this.damaged.delete(ref.sha256);
    }).finally(() => known.save());

    if (performance.now() - began > LOOK_AGAIN_MS) {
      this.state = undefined;
      const now = await this.marks();
      if (all.some(({ ref }) => now.has(LAYOUT.object(ref.sha256)))) return await this.push(made, { list: true });
    }
    const named = await this.nameIt(made, known, abilities, marked);
    await known.save();
    return { objects, bytes, there: all.length - objects, named };
  }

  /** Writes the record, then the key. */
  private async nameIt(made: Made, known: Known, abilities: Abilities, marked: Marked): Promise<boolean> {
    const { connection } = this;
    const { key } = made.record;
    const keyPath = LAYOUT.key(key);
    if (known.hasKey(key) && !marked.has(keyPath)) return false;
    const text = `${canonicalJson({ manifest: made.manifest, record: made.record })}\n`;
    const digest = sha256(text);
    const record = LAYOUT.record(digest);
    const named = Buffer.from(`${canonicalJson({ format: 1, key, record: digest })}\n`);
    if (marked.has(record) || (await connection.sizeOf(record)) !== Buffer.byteLength(text))
      await connection.write(record, Buffer.from(text), false); // its name is its digest: whoever writes it writes the same
    let written = await this.writeOnce(keyPath, named, abilities);
    if (!written) {
      const now = await connection.read(keyPath, MAX_BYTES.key);
      const same = now?.equals(named) === true;
      if (!same || marked.has(keyPath)) {
        // Somebody else has made the same, or what he made is broken.
        if (!same && (await this.isWhole(key)) && !marked.has(keyPath)) {
          known.addKey(key);
          return false;
        }
        await connection.write(keyPath, named, false);
        written = true;
      }
    }
    known.addKey(key);
    return written;
  }

  private async writeOnce(path: string, bytes: Buffer, { once }: Abilities): Promise<boolean> {
    if (!once && (await this.connection.sizeOf(path)) !== undefined) return false;
    return await this.connection.write(path, bytes, once);
  }

  /** Whether what a key names there is all there, by its size. */
  private async isWhole(key: Digest): Promise<boolean> {
    const { connection } = this;
    let whole = true;
    const made = await this.find(key).catch((error: unknown) => {
      if (error instanceof RemoteError && error.problem === "damaged") return undefined;
      throw error;
    });
    if (made === undefined) return false;
    const known = await this.index();
    const files = objectsOf(made).filter(({ ref, mayLack }) => !mayLack && !known.hasObject(ref.sha256));
    await together(files, connection.limits.together, async ({ ref }) => {
      if ((await connection.sizeOf(LAYOUT.object(ref.sha256))) !== ref.bytes) whole = false;
    });
    return whole;
  }

  /** All objects that are there, with their sizes. What is known of objects and keys is set right by it. */
  async list(): Promise<Map<Digest, number>> {
    const found = new Map<Digest, number>();
    const keys: Digest[] = [];
    for await (const { path, bytes } of this.connection.list(LAYOUT.objects)) {
      const digest = digestIn(path);
      if (digest !== undefined) found.set(digest, bytes);
    }
    for await (const { path } of this.connection.list(LAYOUT.keys)) {
      const [, key] = /^trusted\/keys\/([0-9a-f]{64})\.json$/.exec(path) ?? [];
      if (key !== undefined) keys.push(key);
    }
    await (await this.index()).replace(found.keys(), keys);
    return found;
  }

  /** What is marked for removal. Waits while things are removed. */
  private async marks(): Promise<Marked> {
    if (this.state && performance.now() - this.state.at < LOOK_AGAIN_MS) return this.state.marked;
    const { connection } = this;
    let now = await readState(connection);
    for (let waited = 0; now.phase === "deleting"; waited += 1000) {
      if (waited >= COLLECTION_MS)
        throw new RemoteError(
          `Cannot push to ${this.name} at ${connection.endpoint}: a collection has been removing things there since ${now.at}`,
          "refused",
        );
      await sleep(1000, undefined, { signal: connection.signal });
      now = await readState(connection);
    }
    await (await this.index()).follow(now.generation);
    const marked = now.phase === "marked" ? await readMarks(connection, now) : new Map<string, string>();
    this.state = { now, marked, at: performance.now() };
    return marked;
  }

  private async abilities(): Promise<Abilities> {
    const known = await this.index();
    if (known.tried) return known.tried;
    const abilities = await tryAbilities(this.connection);
    if (!abilities.once)
      this.onNotice(
        `${this.name} at ${this.connection.endpoint} ignores If-None-Match: what is there is looked at before each write, and of two writers at the same moment the last stays`,
      );
    await known.learn(abilities);
    return abilities;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection[Symbol.asyncDispose]();
  }
}

/** The digest that an object's path says. */
export function digestIn(path: string): Digest | undefined {
  const [, folder = "", digest] = /^objects\/([0-9a-f]{2})\/([0-9a-f]{64})$/.exec(path) ?? [];
  return digest?.startsWith(folder) ? digest : undefined;
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}
