/** Told of an entry that is not taken as it stands: what is done with it, what it is, and its name. */
export type OnOdd = (verb: string, what: string, entry: string) => void;

/** Counts what is odd in a tar, to say each kind once. */
export class Oddities {
  private readonly kinds = new Map<string, { verb: string; what: string; count: number; first: string }>();

  readonly add: OnOdd = (verb, what, entry) => {
    const kind = this.kinds.get(`${verb} ${what}`);
    if (kind) kind.count++;
    else this.kinds.set(`${verb} ${what}`, { verb, what, count: 1, first: entry });
  };

  /** A sentence about each kind, in the order in which they came. */
  sentences(tar: string): string[] {
    return [...this.kinds.values()].map(({ verb, what, count, first }) => {
      const shown = first.length > 200 ? `${first.slice(0, 200)}...` : first;
      return `${verb} ${count} entries of ${JSON.stringify(tar)} ${what}, such as ${JSON.stringify(shown)}`;
    });
  }
}
