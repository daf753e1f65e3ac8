import { DataError } from "@madformer/artifacts";
import type { Classifier } from "../features/classifier.js";
import type { FeatureRows } from "../features/feature-file.js";
import { PUBLISHED_INCEPTION } from "../features/network-names.js";
import type { GroupAbout } from "../images/group-about.js";
import type { StatisticsFile } from "../statistics/file.js";
import type { FeatureFacts } from "./features-artifact.js";

/** One side of a comparison: what `features` made, or statistics alone. */
export interface Side {
  readonly digest: string;
  /** What `features` says; nothing of statistics alone. */
  readonly facts: FeatureFacts | undefined;
  /** Channels of a feature. */
  readonly dims: number;
  readonly groups: readonly SideGroup[];
  /** Mean and covariance of a group's features, and of its spatial ones. */
  statistics(group: SideGroup): Promise<StatisticsFile>;
  /** A group's features, if there are any. Yours to close. */
  features(group: SideGroup): Promise<OpenFeatures | undefined>;
}

/** Features of a group, and what they say. */
export interface OpenFeatures extends AsyncDisposable {
  readonly rows: FeatureRows;
  /** Spatial ones, in the same order. */
  readonly spatial?: FeatureRows | undefined;
  readonly classifier?: Classifier | undefined;
}

export interface SideGroup extends Readonly<GroupAbout> {
  readonly name: string;
  /** How many, where that is known. */
  readonly images?: number;
}

type Network = Pick<FeatureFacts, "network" | "networkDigest" | "dims" | "published" | "resizeName">;

/** Of statistics without a word about their network. */
const UNKNOWN = "FD (network not known)";

/**
 * What the distance is called. FID is one by the published Inception network alone, at its 2048 channels: one of both
 * sides had its file, and the other the same weights. Where images came to its size otherwise than pytorch-fid does it,
 * it bears the name of the package that does so: its numbers are others.
 */
export function metricName(reference: Network | undefined, samples: Network | undefined): string {
  if (!reference || !samples) return UNKNOWN;
  const isPublished = [reference, samples].some(
    ({ published, networkDigest }) => published === true || networkDigest === PUBLISHED_INCEPTION.sha256,
  );
  switch (reference.network) {
    case "faces-net":
      return "FD (faces-net)";
    case "inception":
      if (!isPublished || reference.dims !== 2048) return "FD (inception, other weights)";
      return reference.resizeName === undefined ? "FID" : `FID (${reference.resizeName})`;
  }
}

/**
 * Sees that two sides can be compared, as far as they say what they are.
 *
 * @throws {DataError} If they are not of one network, have other numbers of channels, or images came to its size in
 *   different ways.
 */
export function assertComparable(reference: Pick<Side, "facts" | "dims">, samples: Pick<Side, "facts" | "dims">): void {
  const told = ({ facts, dims }: Pick<Side, "facts" | "dims">): string =>
    facts === undefined
      ? `of ${dims} channels of a network that is not known`
      : `of ${facts.network} ${facts.networkDigest.slice(0, 12)} (${dims} channels, resize ${facts.resize})`;
  const known = reference.facts !== undefined && samples.facts !== undefined;
  const isOne =
    reference.dims === samples.dims &&
    (!known || (told(reference) === told(samples) && reference.facts?.networkDigest === samples.facts?.networkDigest));
  if (!isOne)
    throw new DataError(
      `Cannot score: the reference's features are ${told(reference)}, those of the samples ${told(samples)}; expected one network`,
    );
}
