/**
 * The grammar of `pipelines/<name>/pipeline.json`: the one place where it is checked. Plain JavaScript without a
 * dependency, because Nx reads pipelines before anything is built; the runner and the command line read them through
 * `src/pipeline.ts`.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { isObject, isShallow, kindOf, readJsonFile, sameJson, shown } from "./json.mjs";

/** @typedef {import("./pipeline-file.mjs").PipelineEntry} PipelineEntry */
/** @typedef {import("./pipeline-file.mjs").PipelineFile} PipelineFile */
/** @typedef {import("./pipeline-file.mjs").StageDefaults} StageDefaults */
/** @typedef {import("./computing.mjs").ComputeWords} ComputeWords */

/** Names of pipelines, stages, stage functions and inputs: they become parts of paths and of Nx's project names. */
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
const NAME_RULE = "expected up to 63 lower-case letters, digits and dashes, the first of them no dash";
/** `<stage>.<field>` of a condition. */
const PLACE = /^([a-z0-9][a-z0-9-]{0,62})\.([A-Za-z]\w{0,62})$/;
/** Keys of the file that are no stages. */
const WORDS = ["$schema", "description"];
/** Fields of a stage. */
const FIELDS = ["uses", "needs", "config", "engine", "precision", "threads"];
const MAX_STAGES = 1000;
/** Objects in objects: configs have a few. */
const MAX_DEPTH = 32;
const MAX_PROBLEMS = 8;

/** @param {unknown} value @returns {value is string} */
export function isName(value) {
  return typeof value === "string" && NAME.test(value);
}

/** A pipeline.json that cannot be used: the message names the file and what is wrong with it. */
export class PipelineError extends Error {
  name = "PipelineError";
}

/**
 * Reads and checks `<folder>/pipeline.json`. Fields that it leaves out and conditions ask for have the default that
 * `defaults.json` beside the folder says, if there is that file.
 *
 * @param {string} folder
 * @returns {PipelineFile}
 * @throws {PipelineError}
 */
export function readPipelineFile(folder) {
  const file = path.join(folder, "pipeline.json");
  const name = path.basename(path.resolve(folder));
  if (!isName(name))
    throw new PipelineError(`Cannot use ${shown(file)}: its folder is called ${shown(name)}, ${NAME_RULE}`);
  const value = readJsonFile(
    file,
    (problem, cause) => new PipelineError(`Cannot read ${shown(file)}: ${problem}`, { cause }),
  );
  return checkPipeline(value, file, name, readDefaults(path.join(folder, "../defaults.json")));
}

/**
 * @param {string} file
 * @returns {StageDefaults}
 * @throws {PipelineError}
 */
function readDefaults(file) {
  try {
    const value = /** @type {unknown} */ (JSON.parse(readFileSync(file, "utf8")));
    if (!isObject(value) || !Object.values(value).every(isObject))
      throw new TypeError("it holds no object of objects, expected defaults by stage and field");
    return /** @type {StageDefaults} */ (value);
  } catch (cause) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (cause);
    if (code === "ENOENT") return {};
    throw new PipelineError(`Cannot read ${shown(file)}: ${message}`, { cause });
  }
}

/**
 * @param {unknown} value What pipeline.json holds.
 * @param {string} file What messages call it.
 * @param {string} name The pipeline's.
 * @param {StageDefaults} defaults What fields have that a config leaves out.
 * @returns {PipelineFile}
 * @throws {PipelineError}
 */
export function checkPipeline(value, file, name, defaults = {}) {
  /** @type {string[]} */
  const problems = [];
  if (!isShallow(value, MAX_DEPTH))
    throw new PipelineError(`Cannot use ${shown(file)}: it is nested more than ${MAX_DEPTH} deep`);
  if (!isObject(value))
    throw new PipelineError(`Cannot use ${shown(file)}: it holds ${kindOf(value)}, expected an object of stages`);
  for (const word of WORDS)
    if (Object.hasOwn(value, word) && typeof value[word] !== "string")
      problems.push(`"${word}" is ${kindOf(value[word])}, expected text`);
  const entries = new Map(Object.entries(value).filter(([key]) => !WORDS.includes(key)));
  const read = [...entries].flatMap(([stage, entry]) => entryOf(stage, entry, problems) ?? []);
  if (entries.size > MAX_STAGES) problems.push(`it has ${entries.size} stages, expected ${MAX_STAGES} at most`);
  if (entries.size === 0) problems.push("it has no stages, expected one or more");
  for (const { name: stage, needs, conditions } of read)
    for (const need of [...Object.values(needs), ...conditions.map(({ stage: of }) => of)])
      if (!entries.has(need))
        problems.push(`${shown(stage)} needs ${shown(need)}, expected one of: ${[...entries.keys()].join(", ")}`);
  if (problems.length > 0) {
    const more = problems.length > MAX_PROBLEMS ? `; and ${problems.length - MAX_PROBLEMS} more` : "";
    throw new PipelineError(`Cannot use ${shown(file)}: ${problems.slice(0, MAX_PROBLEMS).join("; ")}${more}`);
  }
  const byName = new Map(read.map((entry) => [entry.name, entry]));
  const stages = read.map(({ name: stage, uses, config, compute, needs, conditions }) => {
    const left = conditions.filter((one) => !holds(one, byName, defaults, file)).map(({ input }) => input);
    const kept = Object.entries(needs).filter(([input]) => !left.includes(input));
    return { name: stage, uses, config, compute, needs: Object.fromEntries(kept) };
  });
  const description = typeof value["description"] === "string" ? value["description"] : "";
  return { name, description, stages: inOrder(stages, file) };
}

/**
 * A stage and all that it needs, in the order in which they can run.
 *
 * @param {readonly PipelineEntry[]} stages In such an order.
 * @param {string} last
 * @returns {PipelineEntry[]}
 */
export function upTo(stages, last) {
  const wanted = new Set([last]);
  for (const { name, needs } of [...stages].reverse())
    if (wanted.has(name)) for (const need of Object.values(needs)) wanted.add(need);
  return stages.filter(({ name }) => wanted.has(name));
}

/**
 * @typedef {{ input: string, stage: string, field: string, value: unknown }} Condition An input is there if a
 *   field of a stage's config has a value.
 * @typedef {{ name: string, uses: string, config: Record<string, unknown>, compute: ComputeWords,
 *   needs: Record<string, string>, conditions: Condition[] }} ReadEntry
 *
 * @param {string} stage
 * @param {unknown} entry
 * @param {string[]} problems What is wrong is added.
 * @returns {ReadEntry | undefined}
 */
function entryOf(stage, entry, problems) {
  const before = problems.length;
  const wrong = (/** @type {string} */ what) => void problems.push(`stage ${shown(stage)}: ${what}`);
  if (!isName(stage)) wrong(`that is no name, ${NAME_RULE}`);
  if (!isObject(entry)) return wrong(`it is ${kindOf(entry)}, expected an object`);
  for (const key of Object.keys(entry))
    if (!FIELDS.includes(key)) wrong(`unknown field ${shown(key)}, expected one of: ${FIELDS.join(", ")}`);
  const { uses = stage, needs = [], config = {}, engine, precision, threads } = entry;
  for (const [word, value] of Object.entries({ engine, precision }))
    if (value !== undefined && typeof value !== "string") wrong(`"${word}" is ${kindOf(value)}, expected a name`);
  if (threads !== undefined && !(Number.isInteger(threads) && Number(threads) > 0))
    wrong(`"threads" is ${kindOf(threads)}, expected a whole number from 1 on`);
  if (!isName(uses)) wrong(`"uses" is ${shown(uses)}, ${NAME_RULE}`);
  if (!isObject(config)) wrong(`"config" is ${kindOf(config)}, expected an object`);
  if (!Array.isArray(needs) && !isObject(needs))
    wrong(`"needs" is ${kindOf(needs)}, expected a list of stages or an object`);
  /** @type {[string, unknown][]} */
  const pairs = Array.isArray(needs)
    ? needs.map((need) => [String(need), need])
    : isObject(needs)
      ? Object.entries(needs)
      : [];
  /** @type {Record<string, string>} */
  const found = {};
  /** @type {ReadEntry["conditions"]} */
  const conditions = [];
  for (const [input, need] of pairs) {
    const where = Array.isArray(needs)
      ? `"needs" holds ${shown(need)}`
      : `"needs" says ${shown(need)} for ${shown(input)}`;
    if (!Array.isArray(needs) && !isName(input)) wrong(`${shown(input)} is no name of an input, ${NAME_RULE}`);
    if (isName(need)) found[input] = need;
    else if (Array.isArray(needs) || !isObject(need))
      wrong(`${where}, ${typeof need === "string" ? NAME_RULE : "expected the name of a stage"}`);
    else {
      const { stage: from, if: when, ...rest } = need;
      if (isName(from) && isObject(when) && Object.keys(rest).length === 0) {
        found[input] = from;
        for (const [place, value] of Object.entries(when)) {
          const [, of, field] = PLACE.exec(place) ?? [];
          if (of === undefined || field === undefined)
            wrong(`"if" of ${shown(input)} names ${shown(place)}, expected <stage>.<field>`);
          else conditions.push({ input, stage: of, field, value });
        }
      } else wrong(`${where}, expected { "stage": <stage>, "if": { "<stage>.<field>": <value> } }`);
    }
  }
  if (problems.length > before || !isName(uses) || !isObject(config)) return undefined;
  const said = Object.entries({ engine, precision, threads }).filter(([, value]) => value !== undefined);
  return { name: stage, uses, config, compute: Object.fromEntries(said), needs: found, conditions };
}

/**
 * @param {PipelineEntry[]} stages
 * @param {string} file
 * @returns {PipelineEntry[]}
 */
function inOrder(stages, file) {
  const byName = new Map(stages.map((stage) => [stage.name, stage]));
  /** @type {Set<PipelineEntry>} */
  const done = new Set();
  const visit = (/** @type {PipelineEntry} */ stage, /** @type {readonly string[]} */ above) => {
    if (done.has(stage)) return;
    const way = [...above, stage.name];
    if (above.includes(stage.name))
      throw new PipelineError(`Cannot use ${shown(file)}: stages need each other in a circle, ${way.join(" -> ")}`);
    for (const need of Object.values(stage.needs)) visit(/** @type {PipelineEntry} */ (byName.get(need)), way);
    done.add(stage);
  };
  for (const stage of stages) visit(stage, []);
  return [...done];
}

/**
 * The one place where a condition is decided: the field has the value, in the pipeline's words or, where those leave it
 * out, by the stage's default. `null` is a value like others, and not what a missing field has.
 *
 * @param {Condition} condition
 * @param {ReadonlyMap<string, ReadEntry>} stages
 * @param {StageDefaults} defaults
 * @param {string} file
 * @returns {boolean}
 * @throws {PipelineError} If the field is left out and its default is not known.
 */
function holds({ input, stage, field, value }, stages, defaults, file) {
  const { uses, config } = /** @type {ReadEntry} */ (stages.get(stage));
  const known = Object.hasOwn(defaults, uses) ? /** @type {Record<string, unknown>} */ (defaults[uses]) : {};
  const words = Object.hasOwn(config, field) ? config : known;
  if (Object.hasOwn(words, field)) return sameJson(words[field], value);
  throw new PipelineError(
    `Cannot use ${shown(file)}: "if" of ${shown(input)} asks for ${shown(`${stage}.${field}`)}, which the config of ` +
      `${shown(stage)} leaves out and no default is known of, expected a value there`,
  );
}
