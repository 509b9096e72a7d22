/**
 * `/healthz` and `/readyz`, with flannel's paths, codes and first lines, and `/metrics`.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { refusePage } from "./page/desk.ts";
import type { PageFor } from "./page_for.ts";

/** What the probes tell. */
export interface Health {
  /** Why the node is not ready; empty when it is. */
  readonly reasons: readonly string[];
  /** What is wrong but holds nothing back: refused peers, bad records. */
  readonly remarks: readonly string[];
}

/**
 * Answers one request.
 *
 * @param path `/healthz`, `/readyz` or `/metrics`; anything else is 404.
 * @param metrics makes the metrics page.
 * @param json the caller wants `/readyz` as JSON: `{"ready", "reasons", "remarks"}`.
 */
export function answerProbe(
  path: string,
  { reasons, remarks }: Health,
  metrics: () => string,
  json = false,
): Response {
  const ready = reasons.length === 0;
  switch (path) {
    case "/healthz":
      return text(200, "flanneld is running", []);
    case "/readyz":
      if (json) return Response.json({ ready, reasons, remarks }, { status: ready ? 200 : 503 });
      return ready
        ? text(200, "flanneld is ready", remarks)
        : text(503, "flanneld is not ready yet", [...reasons, ...remarks]);
    case "/metrics":
      return new Response(metrics(), {
        headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      });
  }
  return text(404, "not found", []);
}

function text(status: number, first: string, lines: readonly string[]): Response {
  const body = [first, ...lines].join("\n");
  return new Response(body, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

/**
 * Serves the probes and the metrics until the signal is aborted.
 *
 * @param port 1 to 65535.
 * @param pages asked at each request.
 * @param pageFor who may see the status page.
 * @throws {OpError} when the address cannot be listened on.
 */
export function serveHealth(
  hostname: string,
  port: number,
  pages: {
    readonly health: () => Health;
    readonly metrics: () => string;
    /** Answers `/probe/udp`: see `arrival.ts`. */
    readonly arrival: (query: URLSearchParams, signal: AbortSignal) => Promise<Response>;
    /** Answers `/trace`, which depends on who asks: see `trace_desk.ts`. */
    readonly trace: (
      query: URLSearchParams,
      asker: string,
      signal: AbortSignal,
    ) => Promise<Response>;
    /** Answers `/`: see `page/desk.ts`. */
    readonly page: () => Promise<Response>;
  },
  pageFor: PageFor,
  signal: AbortSignal,
): Deno.HttpServer {
  try {
    return Deno.serve(
      { hostname, port, signal, onListen: () => {} },
      (request, { remoteAddr }) => {
        const { hostname, pathname, searchParams } = new URL(request.url);
        if (pathname === "/") {
          const refusal = refusePage(pageFor, remoteAddr.hostname, hostname);
          return refusal === undefined ? pages.page() : text(refusal.status, refusal.reason, []);
        }
        if (pathname === "/probe/udp") return pages.arrival(searchParams, request.signal);
        if (pathname === "/trace") {
          return pages.trace(searchParams, remoteAddr.hostname, request.signal);
        }
        const json = request.headers.get("accept")?.includes("application/json");
        return answerProbe(pathname, pages.health(), pages.metrics, json);
      },
    );
  } catch (cause) {
    throw new OpError("listen on", `${hostname}:${port}`, {
      code: ErrorCode.io,
      kernel: messageOf(cause),
      advice: "Choose another --healthz-port, or 0 for none",
      cause,
    });
  }
}
