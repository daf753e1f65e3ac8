import type { Artifact } from "@madformer/artifacts";
import { mainGroup, readFacts, SampleFacts } from "../read/facts.js";
import { readPicture, type Picture } from "../read/pictures.js";

/** Longest side of a sample in the page, pixels. */
const MAX_SIDE = 256;

/** The files of a sample artifact's main group, by seed. */
function filesBySeed(sample: Artifact): Map<string, string> {
  const group = mainGroup(readFacts(SampleFacts, sample).groups);
  const folder = `${(group?.folder ?? "images").replace(/\/+$/, "")}/`;
  const named = sample.files.flatMap((file) => {
    const seed = file.startsWith(folder) ? /^(\d+)\.png$/.exec(file.slice(folder.length))?.[1] : undefined;
    return seed === undefined ? [] : [[seed.replace(/^0+(?=\d)/, ""), file] as const];
  });
  return new Map(named);
}

/** Seeds of a sample artifact's images, in their order. */
export function sampledSeeds(sample: Artifact): string[] {
  return [...filesBySeed(sample).keys()];
}

/** The images of some seeds; undefined where one is not there. */
export async function samplePictures(sample: Artifact, seeds: readonly string[]): Promise<(Picture | undefined)[]> {
  const files = filesBySeed(sample);
  const pictures: (Picture | undefined)[] = [];
  for (const seed of seeds) {
    const file = files.get(seed);
    pictures.push(file === undefined ? undefined : await readPicture(sample, file, MAX_SIDE));
  }
  return pictures;
}
