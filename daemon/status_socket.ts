/**
 * The status socket: what the daemon knows, over HTTP on a unix socket, to be read only. It serves
 * the pages of the health port too, which a node may not have.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { formatNodeStatus, type NodeStatus } from "../engine/node_status.ts";
import { formatPolicySnapshot, type PolicySnapshot } from "../engine/policy/snapshot.ts";
import { answerProbe, type Health } from "./health.ts";
import type { Log } from "./log.ts";
import type { Revision } from "./revision.ts";

/** How long a question for news is held, ms. */
const PATIENCE = 25_000;

/** What is told. */
export interface StatusPages {
  readonly health: () => Health;
  readonly metrics: () => string;
  readonly status: () => NodeStatus;
  /** What policies are decided from. */
  readonly policy: () => PolicySnapshot;
  readonly revision: Revision;
  /** The page for people: see `page/desk.ts`. */
  readonly page: () => Promise<Response>;
}

/** Where inspect looks for the daemon; the directory is root's alone. */
export function statusSocketPath(instance: string): string {
  return `/run/twill/status${instance === "" ? "" : `-${instance}`}.sock`;
}

/**
 * Answers one request. `/` is the page for people. `/status` is the document of
 * {@link formatNodeStatus}; `/status?after=N` the same as soon as its revision is not N, or after a
 * while. `/policy` is the document of {@link formatPolicySnapshot}.
 */
export async function answerStatus(
  request: Request,
  pages: StatusPages,
  signal: AbortSignal,
): Promise<Response> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return new Response("read only: GET\n", { status: 405, headers: { allow: "GET, HEAD" } });
  }
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/") return await pages.page();
  if (pathname === "/policy") return document(formatPolicySnapshot(pages.policy()));
  if (pathname !== "/status") {
    const json = request.headers.get("accept")?.includes("application/json");
    return answerProbe(pathname, pages.health(), pages.metrics, json);
  }
  const after = searchParams.get("after");
  if (after !== null) {
    const ended = AbortSignal.any([signal, request.signal]);
    await pages.revision.other(Number(after), PATIENCE, ended);
  }
  return document(formatNodeStatus(pages.status()));
}

function document(text: string): Response {
  return new Response(`${text}\n`, { headers: { "content-type": "application/json" } });
}

/**
 * Serves until the signal is aborted. Whoever calls holds the lock of this instance, so a socket
 * that is there already is nobody's.
 *
 * @returns undefined, and a line in the log, when it cannot be: the data plane does not need it.
 */
export function serveStatus(
  path: string,
  pages: StatusPages,
  log: Log,
  signal: AbortSignal,
): Deno.HttpServer | undefined {
  try {
    removeSocket(path);
    const server = Deno.serve(
      { path, transport: "unix", signal, onListen: () => {} },
      (request) => answerStatus(request, pages, signal),
    );
    Deno.chmodSync(path, 0o600);
    void server.finished.then(() => removeSocket(path));
    return server;
  } catch (cause) {
    const error = new OpError("serve status on", path, {
      code: ErrorCode.io,
      kernel: messageOf(cause),
      cause,
    });
    log.warn(error.message);
    return undefined;
  }
}

function removeSocket(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) throw e;
  }
}
