import { DataError } from "../data-error.js";
import { passing } from "./interrupted.js";
import type { NetworkLimits } from "./limits.js";
import { secondsOf, type Watch } from "./watch.js";

const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
/** What another server must not see. */
const SECRETS = ["authorization", "cookie", "proxy-authorization"];

/**
 * Asks for a URL and follows its redirects, on the web alone: to another server without the credentials of the one who
 * asks.
 *
 * @param watch Its signal ends the request; the answer's body is the caller's to read, or leave.
 * @returns The answer that is no redirect, its body unread.
 * @throws {Interrupted} If there is none in time, or the network fails. {DataError} If a redirect leads nowhere.
 */
export async function follow(
  url: URL,
  headers: Headers,
  watch: Watch,
  limits: Pick<NetworkLimits, "headersMs" | "redirects">,
): Promise<Response> {
  const sent = new Headers(headers);
  return watch.within(limits.headersMs, `no answer came for ${secondsOf(limits.headersMs)}`, async () => {
    let at = url;
    for (let redirects = 0; ; redirects++) {
      const from = at;
      // fetch() itself takes a redirect to another protocol for a failure of the network, and tells nobody what it was.
      const response = await passing(() => fetch(from, { headers: sent, signal: watch.signal, redirect: "manual" }));
      const location = response.headers.get("location");
      if (!REDIRECTS.includes(response.status) || location === null) return response;
      void response.body?.cancel().catch(() => undefined);
      if (redirects === limits.redirects)
        throw new DataError(`the server redirects more than ${limits.redirects} times`);
      at = targetOf(location, from);
      if (at.origin !== from.origin) for (const name of SECRETS) sent.delete(name);
    }
  });
}

function targetOf(location: string, from: URL): URL {
  const problem = (what: string): DataError =>
    new DataError(`the server redirects to ${what}, expected http: or https: without a password`);
  if (!URL.canParse(location, from.href)) throw problem("what is no URL");
  const to = new URL(location, from);
  if (to.protocol !== "http:" && to.protocol !== "https:") throw problem(to.protocol);
  if (to.username !== "" || to.password !== "") throw problem("a URL with a password");
  return to;
}
