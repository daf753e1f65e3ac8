import { countTests } from "./count-tests.mjs";

/** @type {import("./count-tests.mjs").JestResults} */
const none = {
  numPassedTests: 0,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  numRuntimeErrorTestSuites: 0,
  testResults: [],
};

describe("countTests()", () => {
  test("adds up the projects", () => {
    const counts = countTests([
      { ...none, numPassedTests: 3, numPendingTests: 1 },
      { ...none, numPassedTests: 4, numFailedTests: 2, numTodoTests: 1 },
    ]);
    expect(counts).toMatchObject({ passed: 7, failed: 2, skipped: 2 });
  });

  test("counts a file that does not load as a failure", () => {
    expect(countTests([{ ...none, numRuntimeErrorTestSuites: 1 }])).toMatchObject({ passed: 0, failed: 1 });
  });

  test("names what was skipped", () => {
    const assertionResults = [
      { fullName: "a runs", status: "passed" },
      { fullName: "a waits (needs a GPU)", status: "pending" },
      { fullName: "a will", status: "todo" },
    ];
    expect(countTests([{ ...none, testResults: [{ assertionResults }] }]).skippedNames).toEqual([
      "a waits (needs a GPU)",
      "a will",
    ]);
  });

  test("finds nothing in nothing", () => {
    expect(countTests([])).toEqual({ passed: 0, failed: 0, skipped: 0, skippedNames: [] });
  });
});
