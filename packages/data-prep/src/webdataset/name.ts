import type { Header } from "tar-stream";

/** What a tar's entry is called. */
export interface EntryName {
  /** As it stands in the tar. */
  readonly text: string;
  /** Whether its bytes are no UTF-8, and were read as Latin-1. */
  readonly latin1: boolean;
}

/** An entry's name, read as Latin-1 by tar-stream, byte for byte. */
export function entryName({ name, pax }: Header): EntryName {
  if ((pax as Readonly<Record<string, string>> | null | undefined)?.["path"] !== undefined)
    return { text: name, latin1: false }; // these are UTF-8 by definition
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(name, "latin1"));
    return { text, latin1: false };
  } catch {
    return { text: name, latin1: true };
  }
}

/** The name of a file with holes in a tar of POSIX by GNU tar, where its entry has another. Empty if it has none. */
export function sparseName({ pax }: Header): string | undefined {
  const records = (pax ?? {}) as Readonly<Record<string, string>>;
  if (!Object.keys(records).some((key) => key.startsWith("GNU.sparse."))) return undefined;
  return records["GNU.sparse.name"] ?? "";
}

/** What becomes of a name: key and extension, or why it is passed over, or why its tar is refused. */
export type SplitName =
  | { readonly kind: "file"; readonly key: string; readonly extension: string; readonly renamed: boolean }
  | { readonly kind: "passed"; readonly why: string }
  | { readonly kind: "refused"; readonly why: string };

const MAX_NAME_CHARACTERS = 1024;

/**
 * Key and extension of a name, as WebDataset splits them: at the first dot of the last part. A leading `/`, `./` or
 * drive, `//`, `/./` and backslashes are those of other machines' paths: the name is taken as if they were plain. Names
 * without key and extension (`README`, `.DS_Store`, `._1.png`, `__meta__`) are passed over, as the webdataset library
 * does.
 */
export function splitName(name: string): SplitName {
  if (name.length > MAX_NAME_CHARACTERS)
    return {
      kind: "refused",
      why: `its name has ${name.length} characters, expected at most ${MAX_NAME_CHARACTERS}`,
    };
  const plain = name.replace(/^(\.\/)+/, "");
  const parts = plain.replace(/^[A-Za-z]:/, "").split(/[/\\]/);
  if (parts.includes("..")) return { kind: "refused", why: "its name leaves its folder" };
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(plain)) return { kind: "passed", why: "whose names hold control characters" };
  const path = parts.filter((part) => part !== "" && part !== ".").join("/");
  const match = /^((?:.*\/)?[^./]+)\.([^/]+)$/.exec(path);
  if (!match) return { kind: "passed", why: "whose names have no key and extension" };
  return { kind: "file", key: match[1]!, extension: match[2]!.toLowerCase(), renamed: path !== plain };
}
