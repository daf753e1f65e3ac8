import { setTimeout as sleep } from "node:timers/promises";
import type { Digest } from "../store/manifest.js";
import type { Made, ObjectRef, Store } from "../store/store.js";
import { tryAbilities } from "./abilities.js";
import { Connection } from "./connection.js";
import { fetchObject } from "./fetch.js";
import { Known, type Abilities } from "./known.js";
import { REMOTE_LIMITS, type RemoteLimits } from "./limits.js";
import { LAYOUT, type RemotePlace } from "./place.js";
import { digestIn, findMade, keyIn, MAX_KEY_BYTES, objectsOf, textsOf } from "./records.js";
import { RemoteError } from "./remote-error.js";
import { readMarks, readState, type Marked, type RemoteState } from "./state.js";
import { together } from "./together.js";
import { upload } from "./upload.js";

/** From so many objects on, a list says sooner which are there. A page of it tells of a thousand. */
const LIST_FROM = 64;
/**
 * A push that took longer looks again whether something was marked meanwhile; a collection waits much longer than that.
 */
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

/** What lies in a remote store. */
export interface Listed {
  readonly objects: ReadonlyMap<Digest, number>;
  readonly keys: ReadonlySet<Digest>;
}

/**
 * A store that several machines share: a prefix of a bucket, in which files lie under their SHA-256 as they do in the
 * local store.
 *
 *     objects/ab/abcdef...          files
 *     trusted/records/<sha256>.json manifest and record of what a stage made, under the digest of their text
 *     trusted/keys/<key>.json       which of them a key means
 *     trusted/gc/                   where a collection stands
 *
 * Objects are written first, then the record, then the key: nothing is named before it is there. All are written once;
 * of two writers of a key the first stays.
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
  find(key: Digest): Promise<Made | undefined> {
    return findMade(this.connection, key);
  }

  /**
   * Brings all objects of something that was made into the local store, several at a time. Logs that are gone stay
   * gone.
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
        await this.take(ref, known, (bytes) => onBytes?.((done += bytes), total));
        objects++;
      } catch (error) {
        if (!mayLack || !isGone(error)) throw error;
      }
    }).finally(() => known.save());
    return { objects, bytes: total };
  }

  private async take(ref: ObjectRef, known: Known, onBytes?: (bytes: number) => void): Promise<void> {
    try {
      await fetchObject(this.connection, this.store, ref, onBytes);
      known.addObject(ref.sha256);
    } catch (error) {
      if (isGone(error)) known.dropObject(ref.sha256);
      if (isGone(error) && error.problem === "damaged") this.damaged.add(ref.sha256);
      throw error;
    }
  }

  /** Objects that came with other bytes. */
  get distrusted(): readonly Digest[] {
    return [...this.damaged];
  }

  /** What lies there under this digest is not it, another process says: it is written again. */
  distrust(sha256: Digest): void {
    this.damaged.add(sha256);
  }

  /** What this key means there is not to be had: it is written again. */
  async forgetKey(key: Digest): Promise<void> {
    const known = await this.index();
    known.dropKey(key);
    await known.save();
  }

  /** One object, for whoever reads it. */
  async fetchOne(ref: ObjectRef): Promise<void> {
    const known = await this.index();
    await this.take(ref, known).finally(() => known.save());
  }

  private async lacking(made: Made) {
    const wanted = [];
    for (const object of objectsOf(made)) if (!(await this.store.intact(object.ref))) wanted.push(object);
    return wanted;
  }

  /**
   * Uploads what belongs to something that was made, then its record, then its key.
   *
   * @param listed What lies there, where that was just looked at: what somebody else removed or cut short is found out
   * so.
   * @throws {RemoteError} At the first that cannot be written. What is there then is named by nothing.
   */
  async push(made: Made, { onBytes, listed }: { onBytes?: OnBytes; listed?: Listed } = {}): Promise<Pushed> {
    const [known, marked] = [await this.index(), await this.marks()];
    const began = performance.now();
    const all = await this.belongings(made);
    let there = listed;
    if (!there && all.filter(({ ref }) => !known.hasObject(ref.sha256)).length >= LIST_FROM) there = await this.list();
    const lacking = this.notThere(all, known, marked, there);
    const needsName = !known.hasKey(made.record.key) || marked.has(LAYOUT.key(made.record.key));
    if (lacking.length === 0 && !needsName) return { objects: 0, bytes: 0, there: all.length, named: false };
    const abilities = await this.abilities();
    const total = lacking.reduce((sum, { ref }) => sum + ref.bytes, 0);
    let [done, objects, bytes] = [0, 0, 0];
    const count = (more: number): void => onBytes?.((done += more), total);
    await together(lacking, this.connection.limits.together, async ({ ref, mayLack }) => {
      const size = there ? there.objects.get(ref.sha256) : await this.connection.sizeOf(LAYOUT.object(ref.sha256));
      if (size === ref.bytes && !this.isToReplace(ref, marked)) count(ref.bytes);
      else if (await this.uploadOne(ref, { once: abilities.once && size === undefined, mayLack, count })) {
        objects++;
        bytes += ref.bytes;
      } else if (mayLack && !(await this.store.intact(ref))) return; // a log that is lost
      known.addObject(ref.sha256);
      this.damaged.delete(ref.sha256);
    }).finally(() => known.save());

    if (performance.now() - began > LOOK_AGAIN_MS) {
      this.state = undefined;
      const now = await this.marks();
      if (all.some(({ ref }) => now.has(LAYOUT.object(ref.sha256)))) return await this.push(made);
    }
    const named = await this.nameIt(made, known, abilities, marked);
    await known.save();
    return { objects, bytes, there: all.length - objects, named };
  }

  /** What a push would upload: objects and bytes; and whether it would write the key. */
  async wouldPush(made: Made, listed: Listed): Promise<Omit<Pushed, "there">> {
    const [known, marked] = [await this.index(), await this.marks()];
    const lacking = this.notThere(await this.belongings(made), known, marked, listed);
    const bytes = lacking.reduce((sum, { ref }) => sum + ref.bytes, 0);
    return { objects: lacking.length, bytes, named: !listed.keys.has(made.record.key) };
  }

  /** Puts an object in the place of one that is damaged or gone. */
  async replace(ref: ObjectRef): Promise<void> {
    await this.uploadOne(ref, { once: false, mayLack: false, count: () => undefined });
    const known = await this.index();
    known.addObject(ref.sha256);
    await known.save();
  }

  /** Writes record and key of something whose objects are there, whatever lies in their place. */
  async rename(made: Made): Promise<void> {
    const { record, key } = textsOf(made);
    await this.connection.write(record.path, record.bytes, false);
    await this.connection.write(key.path, key.bytes, false);
  }

  /** All that belongs to something that was made; its program, if it is here. */
  private async belongings(made: Made) {
    const all = objectsOf(made);
    const program = made.record.program.sha256;
    const bytes = await this.store.sizeOf(program);
    const isNew = bytes !== undefined && !all.some(({ ref }) => ref.sha256 === program);
    return isNew ? [...all, { ref: { sha256: program, bytes }, mayLack: true }] : all;
  }

  private notThere(
    all: readonly { readonly ref: ObjectRef; readonly mayLack: boolean }[],
    known: Known,
    marked: Marked,
    listed: Listed | undefined,
  ) {
    return all.filter(({ ref }) => {
      const isThere = listed ? listed.objects.get(ref.sha256) === ref.bytes : known.hasObject(ref.sha256);
      return !isThere || this.isToReplace(ref, marked);
    });
  }

  private isToReplace({ sha256 }: ObjectRef, marked: Marked): boolean {
    return marked.has(LAYOUT.object(sha256)) || this.damaged.has(sha256);
  }

  /** @returns Whether it was uploaded: false if one is there, or it is lost and may be. */
  private async uploadOne(
    ref: ObjectRef,
    { once, mayLack, count }: { once: boolean; mayLack: boolean; count: (bytes: number) => void },
  ): Promise<boolean> {
    const { connection, store } = this;
    const path = LAYOUT.object(ref.sha256);
    if (!(await store.intact(ref))) {
      count(ref.bytes);
      if (mayLack) return false;
      throw new RemoteError(
        `Cannot push ${connection.nameOf(path)}: it is neither there nor in ${JSON.stringify(store.root)}`,
        "missing",
      );
    }
    const { compares } = await this.abilities();
    try {
      return await upload(connection, path, store.objectPath(ref.sha256), ref, { once, compares, onBytes: count });
    } catch (error) {
      if (error instanceof RemoteError && error.problem === "local") await store.doubt(ref);
      throw error;
    }
  }

  /** Writes the record, then the key. */
  private async nameIt(made: Made, known: Known, abilities: Abilities, marked: Marked): Promise<boolean> {
    const { connection } = this;
    const { key } = made.record;
    if (known.hasKey(key) && !marked.has(LAYOUT.key(key))) return false;
    const { record, key: named } = textsOf(made);
    if (marked.has(record.path) || (await connection.sizeOf(record.path)) !== record.bytes.length)
      // Its name is its digest: whoever writes it writes the same.
      await connection.write(record.path, record.bytes, false);
    let written = await this.writeOnce(named.path, named.bytes, abilities);
    if (!written) {
      const isSame = (await connection.read(named.path, MAX_KEY_BYTES))?.equals(named.bytes) === true;
      const isMarked = marked.has(named.path);
      // Of two who have made the same the first stays, if what he made is all there.
      if (isMarked || (!isSame && !(await this.isWhole(key)))) {
        await connection.write(named.path, named.bytes, false);
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

  /** All objects that are there, with their sizes, and all keys. What is known is set right by it. */
  async list(): Promise<Listed> {
    const found = new Map<Digest, number>();
    const keys = new Set<Digest>();
    for await (const { path, bytes } of this.connection.list(LAYOUT.objects)) {
      const digest = digestIn(path);
      if (digest !== undefined) found.set(digest, bytes);
    }
    for await (const { path } of this.connection.list(LAYOUT.keys)) {
      const key = keyIn(path);
      if (key !== undefined) keys.add(key);
    }
    await (await this.index()).replace(found.keys(), keys);
    return { objects: found, keys };
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

/** Whether an object is not there as it should be. */
function isGone(error: unknown): error is RemoteError {
  return error instanceof RemoteError && ["missing", "damaged"].includes(error.problem);
}
