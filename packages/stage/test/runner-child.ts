/** What the runner's bundle is, from source: `node --import tsx runner-child.ts <bundle> <pipeline folder> <stage>`. */
import { stageMain } from "@madformer/stage";

await stageMain(process.argv.slice(2));
