/**
 * The grammar of `sweeps/<name>.json`, and the points that it means: the one place where they are checked. Plain
 * JavaScript without a dependency, because Nx lists points before anything is built.
 */
import { createHash } from "node:crypto";
import path from "node:path";
import { isObject, isShallow, kindOf as kindOfJson, readJsonFile, sameJson, shown } from "../../stage/plain/json.mjs";
import { isName } from "../../stage/plain/pipeline-file.mjs";

/**
 * @typedef {import("./sweep-file.mjs").SweepFile} SweepFile
 * @typedef {import("./sweep-file.mjs").SweepPoint} SweepPoint
 * @typedef {import("./sweep-file.mjs").Axis} Axis
 * @typedef {import("./sweep-file.mjs").ValuePlace} ValuePlace
 * @typedef {import("./sweep-file.mjs").Json} Json
 */

/** `<stage>.<field>.<field>...`: of a config, or of what a stage made. */
const PLACE = /^([a-z0-9][a-z0-9-]{0,62})((?:\.(?:[A-Za-z][\w-]{0,62}|\d{1,6})){1,8})$/;
const PLACE_RULE = "expected <stage>.<field>";
const WORDS = ["$schema", "description", "pipeline", "stage", "axes", "zip", "exclude", "seeds", "table", "plot"];
const MAX_AXES = 16;
const MAX_VALUES = 1000;
const MAX_POINTS = 1000;
/** Combinations that are looked at, with those that are excluded. */
const MAX_COMBINATIONS = 100_000;
const MAX_DEPTH = 16;
const MAX_TEXT = 1000;
const MAX_PROBLEMS = 8;
const MAX_NAME = 63;
/** Names of numbers of which more is better. */
const HIGHER = /^(precision|recall|psnr|inceptionScore)$/;

/** A sweep's file that cannot be used: the message names the file and what is wrong with it. */
export class SweepError extends Error {
  name = "SweepError";
}

/**
 * Reads and checks `<folder>/<name>.json`.
 *
 * @param {string} file
 * @returns {SweepFile}
 * @throws {SweepError}
 */
export function readSweepFile(file) {
  const name = path.basename(file, ".json");
  if (!isName(name))
    throw new SweepError(
      `Cannot use ${shown(file)}: it is called ${shown(name)}, expected up to 63 lower-case letters, digits and dashes, the first of them no dash`,
    );
  const value = readJsonFile(
    file,
    (problem, cause) => new SweepError(`Cannot read ${shown(file)}: ${problem}`, { cause }),
  );
  return checkSweep(value, file, name);
}

/**
 * @param {unknown} value What the file holds.
 * @param {string} file What messages call it.
 * @param {string} name The sweep's.
 * @returns {SweepFile}
 * @throws {SweepError}
 */
export function checkSweep(value, file, name) {
  const fail = (/** @type {readonly string[]} */ problems) => {
    const more = problems.length > MAX_PROBLEMS ? `; and ${problems.length - MAX_PROBLEMS} more` : "";
    return new SweepError(`Cannot use ${shown(file)}: ${problems.slice(0, MAX_PROBLEMS).join("; ")}${more}`);
  };
  if (!isShallow(value, MAX_DEPTH)) throw fail([`it is nested more than ${MAX_DEPTH} deep`]);
  if (!isObject(value)) throw fail([`it holds ${kindOf(value)}, expected an object with pipeline and axes`]);
  /** @type {string[]} */
  const problems = [];
  for (const key of Object.keys(value))
    if (!WORDS.includes(key)) problems.push(`there is no word ${shown(key)}, expected one of: ${WORDS.join(", ")}`);
  for (const word of ["$schema", "description"])
    if (Object.hasOwn(value, word) && typeof value[word] !== "string")
      problems.push(`"${word}" is ${kindOf(value[word])}, expected text`);
  const { pipeline, stage, axes: given = {}, zip = [], exclude = [], seeds: givenSeeds = {} } = value;
  if (!isName(pipeline)) problems.push(`"pipeline" is ${kindOf(pipeline)}, expected the name of a pipeline`);
  if (stage !== undefined && !isName(stage)) problems.push(`"stage" is ${kindOf(stage)}, expected the name of a stage`);
  const axes = axesOf("axes", given, problems);
  const seeds = axesOf("seeds", seedsOf(givenSeeds), problems);
  if (axes.length === 0 && seeds.length === 0 && problems.length === 0)
    problems.push(`"axes" has no field, expected such as { "sample.steps": [4, 8] }`);
  for (const { place } of seeds)
    if (axes.some((axis) => axis.place === place)) problems.push(`${shown(place)} is an axis and has seeds`);
  const lengths = new Set(seeds.map(({ values }) => values.length));
  if (lengths.size > 1)
    problems.push(`"seeds" has lists of ${[...lengths].join(" and ")} values, expected as many of each`);
  const groups = groupsOf(axes, zip, problems);
  const excluded = excludeOf(axes, exclude, problems);
  const table = tableOf(value["table"], axes, groups, problems);
  const plot = plotOf(value["plot"], axes, problems);
  if (problems.length > 0) throw fail(problems);
  const points = pointsOf(groups, seeds, excluded, problems);
  if (problems.length > 0) throw fail(problems);
  const description = typeof value["description"] === "string" ? value["description"] : "";
  return {
    ...{ name, description, pipeline: /** @type {string} */ (pipeline), stage: isName(stage) ? stage : undefined },
    ...{ axes, seeds, table, plot, points },
  };
}

/**
 * @param {string} text
 * @returns {ValuePlace | undefined} Nothing if it is no place.
 */
export function placeOf(text) {
  const [, stage, rest] = PLACE.exec(text) ?? [];
  return stage === undefined || rest === undefined ? undefined : { place: text, stage, path: rest.slice(1).split(".") };
}

/** @param {Json} value */
export function textOf(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A list of numbers is for the seed of the training. @param {unknown} given */
function seedsOf(given) {
  return Array.isArray(given) ? { "train.seed": given } : given;
}

/**
 * @param {string} word
 * @param {unknown} given
 * @param {string[]} problems What is wrong is added, here and below.
 * @returns {Axis[]}
 */
function axesOf(word, given, problems) {
  if (!isObject(given)) {
    problems.push(`"${word}" is ${kindOf(given)}, expected an object such as { "sample.steps": [4, 8] }`);
    return [];
  }
  const entries = Object.entries(given);
  if (entries.length > MAX_AXES) problems.push(`"${word}" has ${entries.length} fields, expected ${MAX_AXES} at most`);
  return entries.flatMap(([name, values]) => {
    const before = problems.length;
    const wrong = (/** @type {string} */ what) => problems.push(`"${word}": ${shown(name)} ${what}`);
    const place = placeOf(name);
    if (place === undefined) wrong(`is no place, ${PLACE_RULE}`);
    if (!Array.isArray(values)) wrong(`is ${kindOf(values)}, expected a list of values`);
    else if (values.length === 0) wrong("has no values, expected one or more");
    else if (values.length > MAX_VALUES) wrong(`has ${values.length} values, expected ${MAX_VALUES} at most`);
    else {
      for (const [i, one] of values.entries()) {
        if (values.slice(0, i).some((other) => sameJson(one, other))) wrong(`has ${shown(one)} twice`);
        if (JSON.stringify(one).length > MAX_TEXT)
          wrong(`has a value of ${JSON.stringify(one).length} characters, expected ${MAX_TEXT} at most`);
      }
    }
    return problems.length > before || place === undefined ? [] : [{ ...place, values }];
  });
}

/**
 * Axes that go together: each group is walked through in step, all groups are combined.
 *
 * @param {readonly Axis[]} axes
 * @param {unknown} zip
 * @param {string[]} problems
 * @returns {Axis[][]}
 */
function groupsOf(axes, zip, problems) {
  const byPlace = new Map(axes.map((axis) => [axis.place, axis]));
  if (!Array.isArray(zip)) {
    problems.push(`"zip" is ${kindOf(zip)}, expected a list of lists of axes`);
    return [];
  }
  const lists = zip.length > 0 && zip.every((one) => typeof one === "string") ? [zip] : zip;
  /** @type {Map<string, Axis[]>} */
  const groupOf = new Map();
  for (const list of lists) {
    if (!Array.isArray(list) || list.length < 2) {
      problems.push(`"zip" holds ${kindOf(list)}, expected lists of two axes or more`);
      continue;
    }
    const group = list.flatMap((place) => {
      const axis = byPlace.get(place);
      if (axis === undefined) problems.push(`"zip" names ${shown(place)}, ${oneOf(byPlace)}`);
      else if (groupOf.has(place)) problems.push(`"zip" names ${shown(place)} twice`);
      return axis === undefined ? [] : [axis];
    });
    for (const axis of group) groupOf.set(axis.place, group);
    const counts = group.map(({ place, values }) => `${place} has ${values.length}`);
    if (new Set(group.map(({ values }) => values.length)).size > 1)
      problems.push(`"zip" needs as many values of each: ${counts.join(", ")}`);
  }
  return [...new Set(axes.map((axis) => groupOf.get(axis.place) ?? [axis]))];
}

/**
 * @param {readonly Axis[]} axes
 * @param {unknown} exclude
 * @param {string[]} problems
 * @returns {(setting: Readonly<Record<string, Json>>) => boolean}
 */
function excludeOf(axes, exclude, problems) {
  const byPlace = new Map(axes.map((axis) => [axis.place, axis]));
  if (!Array.isArray(exclude) || !exclude.every(isObject)) {
    problems.push(`"exclude" is ${kindOf(exclude)}, expected a list of objects such as { "sample.steps": 4 }`);
    return () => false;
  }
  const rules = exclude.map((rule) => {
    const entries = Object.entries(rule);
    if (entries.length === 0) problems.push(`"exclude" holds {}, which is everything`);
    return entries.map(([place, given]) => {
      const values = byPlace.get(place)?.values;
      const whole = values?.some((value) => sameJson(value, given)) ?? false;
      const wanted = Array.isArray(given) && !whole ? given : [given];
      if (values === undefined) problems.push(`"exclude" names ${shown(place)}, ${oneOf(byPlace)}`);
      for (const one of wanted)
        if (values !== undefined && !values.some((value) => sameJson(value, one)))
          problems.push(
            `"exclude" says ${shown(one)} for ${shown(place)}, expected one of: ${values.map(shown).join(", ")}`,
          );
      return { place, wanted };
    });
  });
  return (setting) =>
    rules.some((rule) => rule.every(({ place, wanted }) => wanted.some((one) => sameJson(setting[place], one))));
}

/**
 * @param {readonly (readonly Axis[])[]} groups
 * @param {readonly Axis[]} seeds
 * @param {(setting: Readonly<Record<string, Json>>) => boolean} isExcluded
 * @param {string[]} problems
 * @returns {SweepPoint[]}
 */
function pointsOf(groups, seeds, isExcluded, problems) {
  const combinations = groups.reduce((product, [axis]) => product * (axis?.values.length ?? 1), 1);
  if (combinations > MAX_COMBINATIONS) {
    problems.push(`it has ${combinations} combinations, expected ${MAX_COMBINATIONS} at most`);
    return [];
  }
  /** @type {Record<string, Json>[]} */
  let settings = [{}];
  for (const group of groups)
    settings = settings.flatMap((setting) =>
      (group[0]?.values ?? []).map((_, i) => ({
        ...setting,
        ...Object.fromEntries(group.map(({ place, values }) => [place, /** @type {Json} */ (values[i])])),
      })),
    );
  const wanted = settings.filter((setting) => !isExcluded(setting));
  const each = seeds[0]?.values.length ?? 1;
  const count = wanted.length * each;
  if (count === 0) problems.push('"exclude" leaves no point');
  if (count > MAX_POINTS) problems.push(`it has ${count} points, expected ${MAX_POINTS} at most`);
  if (problems.length > 0) return [];
  const points = wanted.flatMap((setting) =>
    Array.from({ length: each }, (_, seed) => {
      const own = seeds.map(({ place, values }) => [place, /** @type {Json} */ (values[seed])]);
      return { setting, seed, values: { ...setting, ...Object.fromEntries(own) } };
    }),
  );
  const varied = [...groups.flat(), ...seeds].filter(({ values }) => values.length > 1);
  return named(points, varied.length > 0 ? varied : [...groups.flat(), ...seeds]);
}

/**
 * Names say what a point is, as far as letters, digits and dashes can; where that is too long or says two things, a
 * digest says the rest. A name depends on no other point that has another one.
 *
 * @param {readonly Omit<SweepPoint, "name">[]} points
 * @param {readonly Axis[]} axes Those that names mention.
 * @returns {SweepPoint[]}
 */
function named(points, axes) {
  const lasts = axes.map(({ path }) => path.at(-1) ?? "");
  const words = axes.map(({ stage, path }, i) => {
    const last = lasts[i] ?? "";
    return slug(lasts.filter((other) => other === last).length > 1 ? [stage, ...path].join("-") : last);
  });
  const slugs = points.map(({ values }) =>
    axes.map(({ place }, i) => `${words[i]}-${slug(textOf(/** @type {Json} */ (values[place])))}`).join("-"),
  );
  const uses = new Map();
  for (const text of slugs) uses.set(text, (uses.get(text) ?? 0) + 1);
  return points.map((point, i) => {
    const text = slugs[i] ?? "";
    if (isName(text) && !/-(-|$)/.test(text) && uses.get(text) === 1) return { name: text, ...point };
    const digest = createHash("sha256")
      .update(JSON.stringify(Object.entries(point.values).sort()))
      .digest("hex");
    const start = text.slice(0, MAX_NAME - 11).replace(/^-+|-+$/g, "");
    return { name: `${start || "point"}-${digest.slice(0, 10)}`, ...point };
  });
}

/** @param {string} text */
function slug(text) {
  const kebab = text.replace(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase();
  return kebab.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
}

/**
 * @param {unknown} given
 * @param {readonly Axis[]} axes
 * @param {readonly (readonly Axis[])[]} groups
 * @param {string[]} problems
 * @returns {SweepFile["table"]}
 */
function tableOf(given, axes, groups, problems) {
  if (given === undefined) return undefined;
  if (!isObject(given)) {
    problems.push(`"table" is ${kindOf(given)}, expected { "rows", "columns", "value" }`);
    return undefined;
  }
  unknownWords("table", given, ["rows", "columns", "value", "best"], problems);
  const rows = placesOf("table.rows", given["rows"] ?? [], axes, problems);
  const columns = placesOf("table.columns", given["columns"] ?? [], axes, problems);
  const twice = rows.find((place) => columns.includes(place));
  if (twice !== undefined) problems.push(`"table" has ${shown(twice)} as rows and as columns`);
  const told = new Set([...rows, ...columns]);
  const missing = groups.find(
    (group) => (group[0]?.values.length ?? 0) > 1 && !group.some(({ place }) => told.has(place)),
  );
  if (missing)
    problems.push(`"table" says nothing of ${shown(missing[0]?.place)}, expected it in "rows" or in "columns"`);
  const value = numberOf("table.value", given["value"], problems);
  const { best = HIGHER.test(value?.path.at(-1) ?? "") ? "higher" : "lower" } = given;
  if (best !== "lower" && best !== "higher") {
    problems.push(`"table.best" is ${kindOf(best)}, expected "lower" or "higher"`);
    return undefined;
  }
  return value && { rows, columns, value, best };
}

/**
 * @param {unknown} given
 * @param {readonly Axis[]} axes
 * @param {string[]} problems
 * @returns {SweepFile["plot"]}
 */
function plotOf(given, axes, problems) {
  if (given === undefined) return undefined;
  if (!isObject(given)) {
    problems.push(`"plot" is ${kindOf(given)}, expected { "x", "y", "series" }`);
    return undefined;
  }
  unknownWords("plot", given, ["x", "y", "series"], problems);
  const x = numberOf("plot.x", given["x"], problems);
  const axis = axes.find(({ place }) => place === x?.place);
  const strange = axis?.values.find((value) => typeof value !== "number");
  if (strange !== undefined)
    problems.push(`"plot.x" is ${shown(x?.place)}, which has ${shown(strange)}, expected numbers`);
  const y = numberOf("plot.y", given["y"], problems);
  const series = placesOf("plot.series", given["series"] ?? [], axes, problems);
  return x && y && { x: x.place, y, series };
}

/**
 * @param {string} word
 * @param {unknown} given An axis or a list of axes.
 * @param {readonly Axis[]} axes
 * @param {string[]} problems
 * @returns {string[]}
 */
function placesOf(word, given, axes, problems) {
  const byPlace = new Map(axes.map((axis) => [axis.place, axis]));
  const list = Array.isArray(given) ? given : [given];
  for (const place of list)
    if (!byPlace.has(place)) problems.push(`"${word}" names ${shown(place)}, ${oneOf(byPlace)}`);
  if (new Set(list).size < list.length) problems.push(`"${word}" names an axis twice`);
  return list.filter((place) => byPlace.has(place));
}

/**
 * @param {string} word
 * @param {unknown} given
 * @param {string[]} problems
 * @returns {ValuePlace | undefined}
 */
function numberOf(word, given, problems) {
  const place = typeof given === "string" ? placeOf(given) : undefined;
  if (place === undefined)
    problems.push(`"${word}" is ${kindOf(given)}, expected a number's place such as "score.mean"`);
  return place;
}

/** @param {string} word @param {object} given @param {readonly string[]} words @param {string[]} problems */
function unknownWords(word, given, words, problems) {
  for (const key of Object.keys(given))
    if (!words.includes(key))
      problems.push(`"${word}" has no word ${shown(key)}, expected one of: ${words.join(", ")}`);
}

/** @param {ReadonlyMap<string, unknown>} axes */
function oneOf(axes) {
  return axes.size === 0 ? "and there are no axes" : `expected one of the axes: ${[...axes.keys()].join(", ")}`;
}

/** @param {unknown} value */
function kindOf(value) {
  if (value === undefined) return "missing";
  return Array.isArray(value) ? `the list ${shown(value)}` : kindOfJson(value);
}
