import { DataError } from "../data-error.js";
import { sha256 } from "../store/manifest.js";
import { NETWORK_LIMITS, type NetworkLimits } from "./limits.js";
import { secondsOf } from "./watch.js";

/** Counts what comes of a listing, so that one without end ends. */
export class Listing {
  private readonly pages = new Set<string>();
  private readonly limits: NetworkLimits;
  private readonly started = performance.now();
  private entries = 0;
  private characters = 0;

  constructor(limits: Partial<NetworkLimits> = {}) {
    this.limits = { ...NETWORK_LIMITS, ...limits };
  }

  /**
   * Before a page is asked for.
   *
   * @param page What the server calls it.
   * @throws {DataError} If it was read before, or there were too many, in words without `Cannot`.
   */
  page(page: string): void {
    const { pages, listingMs } = this.limits;
    if (this.pages.size === pages) throw new DataError(`it has more than ${pages} pages`);
    if (performance.now() - this.started > listingMs)
      throw new DataError(`it has not ended after ${secondsOf(listingMs)} and ${this.pages.size} pages`);
    const name = sha256(page); // a server may give it any length
    if (this.pages.has(name))
      throw new DataError(`its page ${this.pages.size} leads back to one before: it would never end`);
    this.pages.add(name);
  }

  /**
   * For each entry that is kept.
   *
   * @param names All text in it.
   * @throws {DataError} If there were too many, in words without `Cannot`.
   */
  entry(...names: string[]): void {
    const { entries, nameCharacters } = this.limits;
    if (++this.entries > entries) throw new DataError(`it has more than ${entries} entries`);
    for (const name of names) this.characters += name.length;
    if (this.characters > nameCharacters) throw new DataError(`its names take more than ${nameCharacters} characters`);
  }
}
