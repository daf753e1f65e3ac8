/**
 * node tools/docs/check.mjs
 *
 * Says what the text of this repository refers to without it being there: files and headings that documents link to,
 * names that a linked source file does not declare, sections of docs/reference.md and docs/imagenet.md that comments
 * cite ("spec section 9, step 4"), source files named in `code`.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** Files by their path from the root, with `/` between folders. @typedef {ReadonlyMap<string, string>} Texts */

const MAX_COLUMNS = 120;
const REFERENCE = "docs/reference.md";
/** Its sections go on from there. */
const IMAGENET = "docs/imagenet.md";
/** Folders that are made, or not ours. */
const LEFT_OUT = new Set(["node_modules", "dist", "bundle", "out", "coverage"]);
const SOURCE = /\.(ts|mts|mjs|js)$/;

/**
 * @param {Texts} texts All documents and sources.
 * @param {ReadonlySet<string>} files All files there are, and folders.
 * @returns {string[]} Everything that is wrong, one sentence each.
 */
export function findProblems(texts, files) {
  /** @type {string[]} */
  const problems = [];
  const numbers = new Set([REFERENCE, IMAGENET].flatMap((name) => [...sectionsOf(texts.get(name) ?? "")]));
  const names = new Set([...files].map((file) => path.posix.basename(file)));
  for (const [file, text] of texts) {
    const isDocument = file.endsWith(".md");
    if (isDocument) problems.push(...brokenLinks(file, text, texts, files));
    const prose = isDocument ? text : commentsOf(text);
    for (const section of citedSections(prose))
      if (!numbers.has(section))
        problems.push(`${file} cites spec section ${section}, which ${REFERENCE} does not have`);
    for (const named of namedSources(prose))
      if (!(named.includes("/") ? [...files].some((there) => `/${there}`.endsWith(`/${named}`)) : names.has(named)))
        problems.push(`${file} names \`${named}\`, which does not exist`);
    if (isDocument) continue;
    text.split("\n").forEach((line, i) => {
      if (line.length > MAX_COLUMNS && isComment(line))
        problems.push(`${file}:${i + 1} is a comment of ${line.length} columns, expected ${MAX_COLUMNS} at most`);
    });
  }
  return problems;
}

/**
 * @param {string} file
 * @param {string} text
 * @param {Texts} texts
 * @param {ReadonlySet<string>} files
 * @returns {string[]}
 */
function brokenLinks(file, text, texts, files) {
  return linksOf(text).flatMap(({ label, target }) => {
    const [to = "", anchor] = target.split("#");
    const there = to === "" ? file : path.posix.join(path.posix.dirname(file), to).replace(/\/$/, "");
    if (there !== "." && !files.has(there)) return [`${file} links to ${target}, which does not exist`];
    const linked = texts.get(there) ?? "";
    if (anchor !== undefined && !anchorsOf(linked).has(anchor))
      return [`${file} links to ${target}: ${there} has no heading "${anchor}"`];
    const name = /^`(\w+)`$/.exec(label)?.[1];
    if (name === undefined || !SOURCE.test(there) || declares(linked, name)) return [];
    return [`${file} links to ${target} for \`${name}\`, which that file does not declare`];
  });
}

/**
 * Links of a document to files: those to hosts are left out.
 *
 * @param {string} markdown
 */
export function linksOf(markdown) {
  const text = markdown.replace(/^```[^]*?^```/gm, "");
  const inline = [...text.matchAll(/\[((?:`[^`\n]*`|[^[\]`])*)\]\(([^()\s]+(?:\([^()]*\))?)\)/g)];
  const images = [...text.matchAll(/<(?:img|a)\s[^>]*(?:src|href)="([^"]+)"/g)];
  return [
    ...inline.map(([, label = "", target = ""]) => ({ label, target })),
    ...images.map(([, target = ""]) => ({ label: "", target })),
  ].filter(({ target }) => !/^[a-z]+:/.test(target));
}

/**
 * The anchors that GitHub gives to the headings of a document.
 *
 * @param {string} markdown
 */
export function anchorsOf(markdown) {
  /** @type {Set<string>} */
  const anchors = new Set();
  for (const [, heading = ""] of markdown.replace(/^```[^]*?^```/gm, "").matchAll(/^#{1,6} (.*)$/gm)) {
    const shown = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
    const slug = shown
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, "")
      .replace(/ /g, "-");
    let anchor = slug;
    for (let copy = 1; anchors.has(anchor); copy++) anchor = `${slug}-${copy}`;
    anchors.add(anchor);
  }
  return anchors;
}

/**
 * What can be cited of the reference: `9` for a section, `16.4` for an item of its list.
 *
 * @param {string} markdown
 */
export function sectionsOf(markdown) {
  /** @type {Set<string>} */
  const numbers = new Set();
  let section = "";
  for (const line of markdown.split("\n")) {
    section = /^## (\d+)\. /.exec(line)?.[1] ?? section;
    const item = /^(\d+)\. /.exec(line)?.[1];
    if (section !== "") numbers.add(item === undefined ? section : `${section}.${item}`);
  }
  return numbers;
}

/**
 * Sections that a text cites: "spec section 9, step 4", "spec sections 5 to 7", "spec section 16.4".
 *
 * @param {string} prose
 * @returns {string[]}
 */
export function citedSections(prose) {
  const list =
    /\bspec sections? (\d+(?:\.\d+)?(?:(?:, steps?|, item|, items)? (?:to|and) \d+(?:\.\d+)?)*)(?:, steps? (\d+(?:(?: to | and )\d+)*))?/gi;
  return [...prose.replace(/\s+/g, " ").matchAll(list)].flatMap(([, sections = "", steps = ""]) => {
    const cited = sections.match(/\d+(?:\.\d+)?/g) ?? [];
    return [...cited, ...(steps.match(/\d+/g) ?? []).map((step) => `${cited[0]}.${step}`)];
  });
}

/**
 * Source files and documents of ours that a text names in `code`; patterns and placeholders are left out.
 *
 * @param {string} prose
 * @returns {string[]}
 */
export function namedSources(prose) {
  const names = [...prose.matchAll(/`((?:[\w.-]+\/)*[\w.-]*\w\.(?:ts|mts|mjs|md))`/g)].map(([, name = ""]) => name);
  const ours = names.filter((name) => !name.endsWith(".md") || name.includes("/")); // others may be what a tool writes
  return ours.map((name) => name.replace(/^(\.\.?\/)+/, ""));
}

/** @param {string} source @param {string} name */
function declares(source, name) {
  return new RegExp(`\\b(?:function\\*?|const|class|interface|type)\\s+${name}\\b`).test(source);
}

/** The text of a source's comments. @param {string} source */
export function commentsOf(source) {
  return source
    .split("\n")
    .flatMap(
      (line) => /^\s*(?:\/\*\*?|\*\/?|\/\/)(.*)$/.exec(line)?.[1] ?? /[;,{}()[\]] \/\/ (.*)$/.exec(line)?.[1] ?? [],
    )
    .join("\n");
}

/** Whether a line is a comment, or ends with one. @param {string} line */
function isComment(line) {
  return /^\s*(?:\/\*|\*|\/\/)/.test(line) || (/[;,{}()[\]] \/\/ /.test(line) && !line.endsWith("// prettier-ignore"));
}

/**
 * @param {string} root
 * @returns {{ texts: Map<string, string>, files: Set<string> }}
 */
export function readTexts(root) {
  /** @type {Map<string, string>} */
  const texts = new Map();
  /** @type {Set<string>} */
  const files = new Set();
  const walk = (/** @type {string} */ folder) => {
    for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
      if (LEFT_OUT.has(entry.name) || (entry.name.startsWith(".") && entry.isDirectory())) continue;
      const file = path.posix.join(folder, entry.name);
      files.add(file);
      if (entry.isDirectory()) walk(file);
      else if (entry.isFile() && (entry.name.endsWith(".md") || SOURCE.test(entry.name)))
        texts.set(file, readFileSync(path.join(root, file), "utf8"));
    }
  };
  walk("");
  return { texts, files };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
  const { texts, files } = readTexts(root);
  const problems = findProblems(texts, files);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}
