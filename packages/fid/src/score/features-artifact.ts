import { DataError, type Artifact } from "@madformer/artifacts";
import { z } from "zod";
import { ClassAttribute, readClassifier } from "../features/classifier.js";
import { FeatureFile } from "../features/feature-file.js";
import { NETWORKS, RESIZE_NAMES } from "../features/network-names.js";
import { GroupAbout } from "../images/group-about.js";
import { GroupName } from "../images/group-name.js";
import { readStatistics, type StatisticsFile } from "../statistics/file.js";
import type { OpenFeatures, Side, SideGroup } from "./side.js";

const Group = GroupAbout.extend({ name: GroupName, images: z.int().min(2) });

/** What the stage `features` says of its features. */
const FeatureFacts = z.object({
  network: z.enum(NETWORKS),
  networkDigest: z.string().regex(/^[0-9a-f]{64}$/),
  published: z.boolean().optional(),
  dims: z.int().positive().max(65536),
  spatialDims: z.int().positive().max(65536).optional(),
  classes: z.array(ClassAttribute).min(1).max(64).optional(),
  resize: z.string(),
  resizeName: z.enum(RESIZE_NAMES).optional(),
  groups: z.array(Group).min(1).max(1000),
  source: z.object({ stage: z.string(), digest: z.string(), facts: z.record(z.string(), z.json()) }),
});
export type FeatureFacts = z.infer<typeof FeatureFacts>;
export type FeatureGroup = FeatureFacts["groups"][number];

/** Features that the stage `features` made. */
export class FeaturesArtifact implements Side {
  private constructor(
    private readonly artifact: Artifact,
    readonly facts: FeatureFacts,
  ) {}

  /**
   * @param input What the stage calls it.
   * @throws {DataError} If the artifact holds no features.
   */
  static of(artifact: Artifact, input: string): FeaturesArtifact {
    const parsed = FeatureFacts.safeParse(artifact.manifest.facts);
    if (parsed.success) return new FeaturesArtifact(artifact, parsed.data);
    const what = `the input "${input}" is of stage "${artifact.manifest.stage}" and holds no features`;
    if (artifact.manifest.facts["network"] === undefined)
      throw new DataError(
        `Cannot score: ${what}, expected what the stage features makes, or one .npz file with mu and sigma`,
      );
    throw new DataError(`Cannot score: ${what}: ${z.prettifyError(parsed.error).replaceAll("\n", " ")}`);
  }

  get dims(): number {
    return this.facts.dims;
  }

  get groups(): readonly FeatureGroup[] {
    return this.facts.groups;
  }

  get digest(): string {
    return this.artifact.digest;
  }

  /** Mean and covariance of a group's features, and of its spatial ones. */
  async statistics({ name }: SideGroup): Promise<StatisticsFile> {
    return readStatistics(await this.artifact.path(`${name}/statistics.npz`));
  }

  /** A group's features. Yours to close. */
  async features({ name, images = 0 }: SideGroup): Promise<OpenFeatures> {
    const { dims, spatialDims, classes } = this.facts;
    const path = (file: string): Promise<string> => this.artifact.path(file);
    const classifier = classes && (await readClassifier(await path("classifier.npz"), dims, classes));
    const open = async (file: string, dims: number): Promise<FeatureFile> =>
      FeatureFile.open(await path(`${name}/${file}`), images, dims);
    const rows = await open("features.npy", dims);
    try {
      const spatial = spatialDims === undefined ? undefined : await open("spatial.npy", spatialDims);
      const close = async (): Promise<void> => {
        await rows[Symbol.asyncDispose]();
        await spatial?.[Symbol.asyncDispose]();
      };
      return { rows, spatial, classifier, [Symbol.asyncDispose]: close };
    } catch (error) {
      await rows[Symbol.asyncDispose]();
      throw error;
    }
  }
}
