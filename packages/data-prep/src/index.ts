/**
 * Sources of images -> image shards -> latents.
 */
export {};
