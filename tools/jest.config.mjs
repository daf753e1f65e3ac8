/** The tools are plain JavaScript modules: nothing to transform. */
export default {
  testMatch: ["<rootDir>/**/*.test.mjs"],
  testTimeout: 30_000,
  transform: {},
};
