/**
 * Memory that jobs share: who wants more than is left waits, in order of arrival. A job that wants more than all of it
 * waits until it is alone.
 */
export class Memory {
  private used = 0;
  private readonly waiting: { readonly bytes: number; readonly start: () => void }[] = [];

  constructor(private readonly totalBytes: number) {}

  /** Runs `job` when `bytes` are left for it. */
  async with<T>(bytes: number, job: () => Promise<T>): Promise<T> {
    if (this.waiting.length > 0 || !this.fits(bytes))
      await new Promise<void>((start) => this.waiting.push({ bytes, start }));
    else this.used += bytes;
    try {
      return await job();
    } finally {
      this.used -= bytes;
      this.startWaiting();
    }
  }

  private startWaiting(): void {
    for (let next = this.waiting[0]; next && this.fits(next.bytes); next = this.waiting[0]) {
      this.waiting.shift();
      this.used += next.bytes;
      next.start();
    }
  }

  private fits(bytes: number): boolean {
    return this.used === 0 || this.used + bytes <= this.totalBytes;
  }
}
