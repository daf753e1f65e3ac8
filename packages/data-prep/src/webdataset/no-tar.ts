/** First bytes of what is often taken for a tar, as Latin-1, and what it is. */
const OTHERS = [
  ["\x1f\x8b", "it is compressed with gzip, expected a plain tar: unpack it with gunzip"],
  ["\x28\xb5\x2f\xfd", "it is compressed with zstd, expected a plain tar: unpack it with unzstd"],
  ["\xfd7zXZ\0", "it is compressed with xz, expected a plain tar: unpack it with unxz"],
  ["BZh", "it is compressed with bzip2, expected a plain tar: unpack it with bunzip2"],
  ["\x04\x22\x4d\x18", "it is compressed with lz4, expected a plain tar: unpack it with unlz4"],
  ["PK\x03\x04", "it is a zip archive, expected a tar"],
  ["7z\xbc\xaf\x27\x1c", "it is a 7z archive, expected a tar"],
  ["Rar!", "it is a rar archive, expected a tar"],
  [
    "version https://git-lfs",
    "it is a pointer of Git LFS, expected the tar that it stands for: git lfs pull brings it",
  ],
] as const;

/** What a file is that is no tar, if its first bytes say it. */
export function otherThanTar(start: Uint8Array): string | undefined {
  const text = Buffer.from(start.subarray(0, 64)).toString("latin1");
  const other = OTHERS.find(([magic]) => text.startsWith(magic));
  if (other) return other[1];
  return /^\s*<(!doctype html|html)/i.test(text) ? "it is a web page, expected a tar" : undefined;
}
