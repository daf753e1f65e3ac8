/**
 * Stages: functions from a config and input manifests to a manifest, and how they run.
 */
export {};
