/**
 * The training loop: data order, resume, checkpoints, export.
 */
export {};
