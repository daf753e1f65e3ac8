import { DataError, type Artifact } from "@madformer/artifacts";
import { readStatistics, type StatisticsFile } from "../statistics/file.js";
import type { Side, SideGroup } from "./side.js";

/** Mean and covariance alone, as pytorch-fid keeps them: of how many images, and by which network, nobody knows. */
export class StatisticsArtifact implements Side {
  readonly facts = undefined;
  readonly groups: readonly SideGroup[] = [{ name: "statistics" }];

  private constructor(
    readonly digest: string,
    private readonly gaussian: StatisticsFile,
  ) {}

  /**
   * @param artifact A `.npz` file, or a folder with one that no stage made.
   * @param input What the stage calls it.
   * @returns Nothing if it is neither.
   * @throws {DataError} If there are several. {FormatError} {RangeError} If the file is damaged, or holds something
   *   else.
   */
  static async of(artifact: Artifact, input: string): Promise<StatisticsArtifact | undefined> {
    const { stage } = artifact.manifest;
    const [file, ...others] = artifact.files.filter((name) => !name.includes("/") && name.endsWith(".npz"));
    if (stage !== "folder" || file === undefined) return undefined;
    if (others.length > 0)
      throw new DataError(
        `Cannot score: the input "${input}" holds ${others.length + 1} .npz files, "${file}" among them, expected one: give its path`,
      );
    return new StatisticsArtifact(artifact.digest, await readStatistics(await artifact.path(file)));
  }

  get dims(): number {
    return this.gaussian.mu.length;
  }

  statistics(): Promise<StatisticsFile> {
    return Promise.resolve(this.gaussian);
  }

  features(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
}
