/** The examples that the help of each stage ends with are commands that can be given. */
import { run } from "@madformer/cli";
import { GUIDES } from "../src/stages/guide.js";
import { STAGES } from "../src/stages/table.js";

async function madformer(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await run(args, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out, err };
}

/** The words of a command, as a shell gives them. */
const wordsOf = (line: string): string[] =>
  (line.match(/'[^']*'|"[^"]*"|\S+/g) ?? []).map((word) => word.replace(/^(['"])(.*)\1$/, "$2"));

const commands = Object.entries(GUIDES).flatMap(([stage, { examples, next }]) => [
  ...examples.map((line) => [stage, line] as const),
  ...(next.startsWith("madformer") ? [["", next] as const] : []),
]);

test("every stage has a guide, and help ends with it", async () => {
  expect(Object.keys(GUIDES).sort()).toEqual(STAGES.map(({ name }) => name).sort());
  for (const { name } of STAGES) {
    const { code, out } = await madformer([name, "--help"]);
    const { examples = [], next = "" } = GUIDES[name] ?? {};
    expect([code, out.trimEnd().endsWith(`\nThen:\n  ${next}`)]).toEqual([0, true]);
    for (const line of examples) expect(out).toContain(`\n  ${line}\n`);
  }
});

test.each(commands)("%s: %s", async (stage, line) => {
  const [program, name = "", ...words] = wordsOf(line);
  expect(program).toBe("madformer");
  if (stage !== "") expect(name).toBe(stage);
  const { code, out, err } = await madformer([name, ...words, "--dry-run"]);
  expect([code, err]).toEqual([0, ""]);
  expect(out).toContain(`"stage": "${name}"`);

  const inputs = (await STAGES.find((entry) => entry.name === name)?.load())?.inputs ?? {};
  const needed = Object.entries(inputs).flatMap(([input, { optional }]) => (optional ? [] : [`--${input}`]));
  expect(words).toEqual(expect.arrayContaining([...needed, "--out"]));
  for (const [i, word] of words.entries()) {
    const made = /^runs\/([a-z-]+)$/.exec(words[i + 1] ?? "")?.[1];
    const { stages } = inputs[word.replace(/^--/, "")] ?? {};
    const ends = ["-data", "-on"]; // runs/features-data is of features
    if (made !== undefined && stages) expect(stages).toContain(ends.reduce((text, end) => text.replace(end, ""), made));
  }
});
