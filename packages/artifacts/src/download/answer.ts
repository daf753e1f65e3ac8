import { Interrupted } from "./interrupted.js";

/** What to try again: too early, too often, or trouble of the server's own. */
const PASSING: readonly number[] = [408, 425, 429, 500, 502, 503, 504];

/**
 * What an answer says by its status, if that is no success.
 *
 * @param credentials What to say to somebody who may not have it.
 * @throws {Interrupted} If it may pass, with the pause that the server asks for.
 */
export function refusalOf(response: Response, credentials = "it wants other credentials"): string | undefined {
  const { status, statusText, headers } = response;
  if (response.ok) return undefined;
  const answered = `the server answered ${`${status} ${statusText.slice(0, 80)}`.trim()}`;
  if (PASSING.includes(status))
    throw new Interrupted(answered, (numberOf(headers.get("retry-after") ?? undefined) ?? 0) * 1000);
  return status === 401 || status === 403 ? `${answered}: ${credentials}` : answered;
}

/** A whole number of a header, if it is one. */
export const numberOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,20}$/.test(text) ? Number(text) : undefined;
