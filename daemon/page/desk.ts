/**
 * The status page: who may see it, and what it is made from.
 *
 * @module
 */

import { messageOf } from "../../engine/errors.ts";
import type { Fact } from "../../engine/fact.ts";
import type { NodeStatus } from "../../engine/node_status.ts";
import type { PageFor } from "../page_for.ts";

/** Milliseconds for which one reading of the kernel is good enough: a page costs little so. */
const FRESH = 1_000;

/** What the page is made from. */
export interface PageSources {
  readonly status: () => NodeStatus;
  /** Links, ports, addresses and routes. @throws {OpError} */
  readonly facts: () => readonly Fact[] | Promise<readonly Fact[]>;
}

/** Makes the page. Its code is loaded with the first one: most nodes are never asked. */
export class PageDesk {
  readonly #sources: PageSources;
  #read: { readonly at: number; readonly facts: readonly Fact[] } | undefined;

  constructor(sources: PageSources) {
    this.#sources = sources;
  }

  /** The page, for whoever may see it. */
  async answer(): Promise<Response> {
    const [{ pageHtml }, { pageScene }] = await Promise.all([
      import("./html.ts"),
      import("./scene.ts"),
    ]);
    const status = this.#sources.status();
    const nonce = crypto.randomUUID();
    const now = Date.now();
    let scene;
    try {
      scene = pageScene(status, await this.#facts(now));
    } catch (e) {
      scene = `There is no picture: ${messageOf(e)}`;
    }
    return new Response(pageHtml({ status, scene, now, nonce }), {
      headers: {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": `default-src 'none'; style-src 'nonce-${nonce}'; ` +
          `script-src 'nonce-${nonce}'; connect-src 'self'; img-src data:; ` +
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
      },
    });
  }

  async #facts(now: number): Promise<readonly Fact[]> {
    if (this.#read === undefined || now - this.#read.at > FRESH || now < this.#read.at) {
      this.#read = { at: now, facts: await this.#sources.facts() };
    }
    return this.#read.facts;
  }
}

/**
 * Why somebody may not see the page on the health port; undefined when it may.
 *
 * @param asker its address.
 * @param host the name by which it asked: a page of another site may make a browser on this host
 * ask under that site's name, and would read the answer.
 */
export function refusePage(
  pageFor: PageFor,
  asker: string,
  host: string,
): { readonly status: number; readonly reason: string } | undefined {
  if (pageFor === "off") return { status: 404, reason: "not found" };
  if (pageFor === "all") return undefined;
  const address = asker.replace(/^::ffff:/i, "");
  if (address !== "::1" && !/^127(?:\.\d{1,3}){3}$/.test(address)) {
    return {
      status: 403,
      reason:
        "The status page is shown to this host alone; --status-page=all shows it to everybody",
    };
  }
  if (!/^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/i.test(host)) {
    return { status: 403, reason: "Ask for the status page as localhost or 127.0.0.1" };
  }
  return undefined;
}
