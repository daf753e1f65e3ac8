import { createServer, request as ask } from "node:http";

/**
 * What a proxy does to an answer, or instead of one:
 *
 * - `status`: answers this, and asks nobody; `after` says so of writes that were read whole.
 * - `cut`: ends the connection after so many bytes of a body.
 * - `drip`: sends a body byte by byte, slowly.
 * - `length`: says another Content-Length, and sends so much.
 * - `range`: says another Content-Range.
 * - `hang`: never answers.
 *
 * @typedef {{ status: number, body?: string } | { cut: number } | { drip: number } | { length: number } | { range:
 * string }
 *   | { hang: true } | undefined} Fault
 *
 * @typedef {object} Proxy
 * @property {string} endpoint
 * @property {string[]} asked `GET /bucket/key`, in order.
 * @property {(decide: (method: string, path: string, number: number) => Fault) => void} misbehave From now on; the
 *   number counts requests from here, from 1.
 * @property {() => void} behave
 * @property {() => void} close Ends all connections, and takes no others, until `open`.
 * @property {() => void} open
 * @property {() => Promise<void>} stop
 */

/**
 * A proxy between a client and an S3 server that can be told to misbehave.
 *
 * @param {string} target
 * @returns {Promise<Proxy>}
 */
export async function startProxy(target) {
  /** @type {(method: string, path: string, number: number) => Fault} */
  let decide = () => undefined;
  let [number, closed] = [0, false];
  /** @type {string[]} */
  const asked = [];
  const { hostname, port } = new URL(target);
  const server = createServer((request, response) => {
    if (closed) return void request.destroy();
    const [method, path] = [request.method ?? "", decodeURIComponent((request.url ?? "").split("?")[0] ?? "")];
    asked.push(`${method} ${path}`);
    const fault = decide(method, path, ++number);
    if (fault && "hang" in fault) return;
    if (fault && "status" in fault) {
      request.resume();
      return void request.once("end", () => response.writeHead(fault.status).end(fault.body ?? ""));
    }
    const onward = ask({ hostname, port, method, path: request.url, headers: request.headers }, (answer) => {
      const headers = { ...answer.headers };
      if (fault && "length" in fault) headers["content-length"] = String(fault.length);
      if (fault && "range" in fault) headers["content-range"] = fault.range;
      response.writeHead(answer.statusCode ?? 502, headers);
      let sent = 0;
      if (fault && "cut" in fault)
        answer.on("data", (/** @type {Buffer} */ chunk) => {
          response.write(chunk.subarray(0, Math.max(0, fault.cut - sent)));
          sent += chunk.length;
          if (sent >= fault.cut) setTimeout(() => response.destroy(), 20);
        });
      else if (fault && "drip" in fault) {
        answer.resume();
        const timer = setInterval(() => response.write("x"), fault.drip);
        response.on("close", () => clearInterval(timer));
      } else if (fault && "length" in fault)
        answer.resume().on("end", () => response.end(Buffer.alloc(fault.length, "x")));
      else answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  // Whoever sends `Expect: 100-continue` is told to go on: the server behind is asked when the body comes.
  await new Promise((listening) => void server.listen(0, "127.0.0.1", () => listening(undefined)));
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    asked,
    misbehave: (how) => void ([decide, number] = [how, 0]),
    behave: () => void (decide = () => undefined),
    close: () => {
      closed = true;
      server.closeAllConnections();
    },
    open: () => void (closed = false),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((ended) => void server.close(ended));
    },
  };
}
