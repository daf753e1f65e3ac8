/**
 * Checkpoints -> images.
 */
export {};
