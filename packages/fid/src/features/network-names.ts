/** Names of the networks that make features. */
export const NETWORKS = ["faces-net", "inception"] as const;
export type NetworkName = (typeof NETWORKS)[number];

/** The Inception weights that FID was published with, as pytorch-fid hands them out. */
export const PUBLISHED_INCEPTION = {
  file: "pt_inception-2015-12-05-6726825d.pth",
  url: "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
  sha256: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
} as const;

/** Packages whose way of bringing images to Inception's size can be taken; the first is the default. */
export const RESIZE_NAMES = ["pytorch-fid", "torch-fidelity", "clean-fid"] as const;
export type ResizeName = (typeof RESIZE_NAMES)[number];
