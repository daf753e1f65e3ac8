import { z } from "zod";
import type { Connection } from "./connection.js";
import { LAYOUT } from "./place.js";
import { RemoteError } from "./remote-error.js";

const State = z.strictObject({
  format: z.literal(1),
  /** Another one after each collection. */
  generation: z.string().regex(/^[0-9a-f]{1,64}$/),
  phase: z.enum(["idle", "marked", "deleting"]),
  at: z.iso.datetime(),
  /** The file that lists what is marked. */
  marks: z
    .string()
    .regex(/^[0-9a-f]{1,64}$/)
    .optional(),
});
/** Where the collection of a remote store stands. */
export type RemoteState = z.infer<typeof State>;

const Marks = z.strictObject({
  format: z.literal(1),
  /** Paths and the times of change that they had. */
  marked: z.record(z.string(), z.iso.datetime()),
});
/** What will be removed, unless somebody names it or writes it again: path -> time of change. */
export type Marked = ReadonlyMap<string, string>;

const MAX_BYTES = { state: 2 ** 16, marks: 2 ** 28 };

/** @returns The state of a remote store in which nothing was ever collected, if there is none. */
export async function readState(connection: Connection): Promise<RemoteState> {
  const bytes = await connection.read(LAYOUT.state, MAX_BYTES.state);
  if (bytes === undefined) return { format: 1, generation: "0", phase: "idle", at: new Date(0).toISOString() };
  return parse(connection, LAYOUT.state, bytes, State);
}

export async function writeState(connection: Connection, state: RemoteState): Promise<void> {
  await connection.write(LAYOUT.state, Buffer.from(`${JSON.stringify(state)}\n`), false);
}

const marksPath = (name: string): string => `${LAYOUT.marks}${name}.json`;

export async function readMarks(connection: Connection, { marks }: RemoteState): Promise<Marked> {
  if (marks === undefined) return new Map();
  const bytes = await connection.read(marksPath(marks), MAX_BYTES.marks);
  if (bytes === undefined) return new Map();
  return new Map(Object.entries(parse(connection, marksPath(marks), bytes, Marks).marked));
}

export async function writeMarks(connection: Connection, name: string, marked: Marked): Promise<void> {
  const text = JSON.stringify({ format: 1, marked: Object.fromEntries(marked) });
  await connection.write(marksPath(name), Buffer.from(`${text}\n`), false);
}

export async function removeMarks(connection: Connection, { marks }: RemoteState): Promise<void> {
  if (marks !== undefined) await connection.remove([marksPath(marks)]);
}

function parse<T>(connection: Connection, path: string, bytes: Buffer, schema: { parse(value: unknown): T }): T {
  try {
    return schema.parse(JSON.parse(bytes.toString("utf8")));
  } catch (cause) {
    throw new RemoteError(`Cannot use ${connection.nameOf(path)}: it is damaged, or none of ours`, "damaged", {
      cause,
    });
  }
}
