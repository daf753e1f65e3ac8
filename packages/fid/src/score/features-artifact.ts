import { DataError, type Artifact } from "@madformer/artifacts";
import { z } from "zod";
import { FeatureFile } from "../features/feature-file.js";
import { NETWORKS } from "../features/network-names.js";
import type { Gaussian } from "../frechet.js";
import { GroupName } from "../images/group-name.js";
import { readStatistics } from "../statistics/file.js";
import type { Side, SideGroup } from "./side.js";

const Group = z.object({
  name: GroupName,
  step: z.int().nonnegative().optional(),
  weights: z.string().optional(),
  images: z.int().min(2),
});

/** What the stage `features` says of its features. */
const FeatureFacts = z.object({
  network: z.enum(NETWORKS),
  networkDigest: z.string().regex(/^[0-9a-f]{64}$/),
  published: z.boolean().optional(),
  dims: z.int().positive().max(65536),
  resize: z.string(),
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

  /** Mean and covariance of a group's features. */
  async statistics({ name }: SideGroup): Promise<Gaussian> {
    return readStatistics(await this.artifact.path(`${name}/statistics.npz`));
  }

  /** A group's features. Yours to close. */
  async features({ name, images = 0 }: SideGroup): Promise<FeatureFile> {
    return FeatureFile.open(await this.artifact.path(`${name}/features.npy`), images, this.dims);
  }
}
