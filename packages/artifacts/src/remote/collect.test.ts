import { sha256 } from "../store/manifest.js";
import { collectRemote } from "./collect.js";
import { machine, withStandIn, type Machine, type StandIn } from "./testing.js";
import { verifyRemote } from "./verify.js";

const PLACE = "some/place/";
const pathOf = (text: string): string => `${PLACE}objects/${sha256(text).slice(0, 2)}/${sha256(text)}`;
const NOW = { since: new Date(Date.now() + 60_000), dryRun: false };
const below = (standIn: StandIn, folder: string): number =>
  [...standIn.objects.keys()].filter((path) => path.startsWith(`${PLACE}${folder}`)).length;
/** Two keys that share an object. */
async function twoKeys(a: Machine) {
  const [one, two] = [await a.made("one", { a: "1", both: "3" }), await a.made("two", { b: "2", both: "3" })];
  for (const made of [one, two]) await a.remote.push(made);
  return { one, two };
}

describe("collectRemote()", () => {
  test("counts, marks, waits, and removes what no root names", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const { one } = await twoKeys(a);
      standIn.objects.set(`${PLACE}objects/notes.txt`, { bytes: Buffer.from("mine"), modified: new Date() });
      const roots = [one.record.key];
      const all = standIn.objects.size;
      const looked = await collectRemote(a.remote, { ...NOW, roots, waitMs: 0, dryRun: true });
      expect(looked).toMatchObject({
        phase: "looked",
        gone: { keys: 1, records: 1, objects: 1 },
        strangers: ["objects/notes.txt"],
      });
      expect(standIn.objects.size).toBe(all);
      const waitMs = 3_600_000;
      expect(await collectRemote(a.remote, { ...NOW, roots, waitMs })).toMatchObject({ phase: "marked" });
      expect(await collectRemote(a.remote, { ...NOW, roots, waitMs })).toMatchObject({ phase: "waiting" });
      expect([below(standIn, "objects/"), below(standIn, "trusted/keys/")]).toEqual([4, 2]);
      const removed = await collectRemote(a.remote, { ...NOW, roots, waitMs: 0 });
      expect(removed).toMatchObject({
        phase: "removed",
        gone: { keys: 1, records: 1, objects: 1 },
        kept: { objects: 2 },
      });
      expect(standIn.objects.has(pathOf("2"))).toBe(false);
      expect(standIn.objects.has(pathOf("3"))).toBe(true);
      expect([below(standIn, "trusted/keys/"), below(standIn, "trusted/gc/marks/")]).toEqual([1, 0]);
      await using b = await machine();
      expect(await b.remote.find(one.record.key)).toEqual(one);
      await b.remote.fetch(one);
    });
  });

  test("keeps what is younger than the grace period", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      await twoKeys(a);
      const all = standIn.objects.size;
      const since = new Date(Date.now() - 60_000);
      expect(await collectRemote(a.remote, { roots: [], since, waitMs: 0, dryRun: false })).toMatchObject({
        phase: "removed",
        gone: { keys: 0, records: 0, objects: 0 },
        kept: { keys: 2, records: 2, objects: 3 },
      });
      expect(standIn.objects.size).toBe(all);
    });
  });

  test("keeps what somebody pushed between mark and removal, although he knew it to be there", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const { two } = await twoKeys(a);
      await collectRemote(a.remote, { ...NOW, roots: [], waitMs: 3_600_000 });
      await using b = await machine();
      const again = await b.made("three", { x: "1", y: "3" });
      await new Promise((later) => setTimeout(later, 5));
      await b.remote.push(again);
      await collectRemote(a.remote, { ...NOW, roots: [again.record.key], waitMs: 0 });
      expect([pathOf("1"), pathOf("2"), pathOf("3")].map((path) => standIn.objects.has(path))).toEqual([
        true,
        false,
        true,
      ]);
      // Who knew of the others has to look again: another generation.
      await using c = await machine();
      await c.remote.fetch(await c.remote.find(again.record.key).then((made) => made!));
      await a.remote[Symbol.asyncDispose]();
      await using later = await machine();
      const twoAgain = await later.made("two", { b: "2", both: "3" });
      await later.remote.push(twoAgain);
      expect(standIn.objects.has(pathOf("2"))).toBe(true);
      expect(twoAgain.manifest).toEqual(two.manifest);
    });
  });

  test("makes every machine ask again after a removal", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const { two } = await twoKeys(a);
      await using b = await machine();
      await b.remote.fetch(two); // knows that it is there
      await collectRemote(a.remote, { ...NOW, roots: [], waitMs: 0 });
      expect(below(standIn, "objects/")).toBe(0);
      expect(await b.remote.push(two)).toMatchObject({ objects: 2, named: true });
      expect(await b.remote.find(two.record.key)).toEqual(two);
    });
  });

  test("removes nothing when a key that stays does not say what it means", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const { one } = await twoKeys(a);
      standIn.objects.get(`${PLACE}trusted/keys/${one.record.key}.json`)!.bytes = Buffer.from("{}");
      const all = standIn.objects.size;
      await expect(collectRemote(a.remote, { ...NOW, roots: [one.record.key], waitMs: 0 })).rejects.toThrow(
        /Cannot use s3:\/\/bucket\/some\/place\/trusted\/keys\/.*: it is damaged/,
      );
      expect(standIn.objects.size).toBe(all);
    });
  });
});

describe("verifyRemote()", () => {
  const look = (on: Machine, made: Awaited<ReturnType<typeof twoKeys>>["one"][], options = {}) =>
    verifyRemote(on.remote, { store: on.store, made, whole: true, deep: false, dryRun: false, ...options });

  test("finds what is missing, cut short or changed, and mends it from what is here", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const { one, two } = await twoKeys(a);
      expect(await look(a, [one])).toEqual({ findings: [], keys: 2, objects: 3, bytes: 3 });
      standIn.objects.delete(pathOf("1"));
      standIn.objects.get(pathOf("2"))!.bytes = Buffer.from("");
      standIn.objects.get(pathOf("3"))!.bytes = Buffer.from("4");
      standIn.objects.get(`${PLACE}trusted/keys/${one.record.key}.json`)!.bytes = Buffer.from("{}");
      const { findings } = await look(a, [one, two], { deep: true, dryRun: true });
      expect(findings.map(({ problem }) => problem).sort()).toEqual([
        "it has 0 bytes, expected 1",
        "it is damaged",
        "it is damaged, or none of ours",
        "it is missing",
      ]);
      expect(findings.some(({ mended }) => mended !== undefined)).toBe(false);
      const mended = await look(a, [one, two], { deep: true });
      expect(mended.findings.every((finding) => finding.mended !== undefined)).toBe(true);
      expect((await look(a, [one, two], { deep: true })).findings).toEqual([]);
    });
  });

  test("says what nobody here can mend", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const { one } = await twoKeys(a);
      standIn.objects.delete(pathOf("1"));
      await using b = await machine();
      const { findings } = await look(b, []);
      expect(findings).toEqual([{ where: pathOf("1").slice(PLACE.length), problem: "it is missing" }]);
      await a.store.remove(sha256("1"));
      expect((await look(a, [one])).findings).toEqual(findings);
    });
  });
});
