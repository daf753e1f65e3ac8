import { z } from "zod";

/** What the name of a group of images may be: it is the name of a folder, too. */
export const GroupName = z.string().regex(/^(?!\.)[\w.-]{1,100}$/, 'expected letters, digits, "-", "_", "."');
