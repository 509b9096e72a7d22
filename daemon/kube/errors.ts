/**
 * What an API server answers when it does not do what was asked, and what to make of it.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { listOf, member, numberOf, textOf } from "./raw.ts";

/** One request, as errors tell it. */
export interface Deed {
  /** As in a role: `get`, `list`, `watch`, `patch`, `create`. */
  readonly verb: string;
  /** As in a role, with the subresource: `nodes`, `nodes/status`, `networkpolicies`. */
  readonly resource: string;
  /** The object's name, where the request is about one. */
  readonly name?: string;
}

/** What a Kubernetes `Status` says, or as much of it as there was. */
export interface StatusWords {
  /** HTTP status; of an ERROR event the member `code`. */
  readonly status: number;
  /** `Expired`, `Forbidden`, `Timeout`, …; empty where the answer was no `Status`. */
  readonly reason: string;
  readonly message: string;
  /** Reasons of `details.causes`: `ResourceVersionTooLarge`. */
  readonly causes: readonly string[];
  /** Milliseconds to wait before the next try, when the server asks for it. */
  readonly retryAfter?: number;
}

/** Text of answers that are no `Status` (a proxy's HTML page) is cut to so many characters. */
const LONGEST = 200;

/** An answer that is a refusal. */
export class KubeError extends OpError implements StatusWords {
  readonly status: number;
  readonly reason: string;
  readonly causes: readonly string[];
  readonly retryAfter?: number;

  constructor(deed: Deed, words: StatusWords) {
    const object = deed.name === undefined ? deed.resource : `${deed.resource} ${deed.name}`;
    super(deed.verb, object, {
      code: words.status === 401 || words.status === 403 ? ErrorCode.denied : ErrorCode.store,
      kernel: explain(deed, words),
      advice: adviceFor(deed, words),
    });
    this.status = words.status;
    this.reason = words.reason;
    this.causes = words.causes;
    if (words.retryAfter !== undefined) this.retryAfter = words.retryAfter;
  }

  /** The version that was asked for is history: list again. Both forms, HTTP and event, are this. */
  get expired(): boolean {
    return this.status === 410 || this.reason === "Expired" || this.reason === "Gone";
  }

  /** The version that was asked for is of a future that this server has not seen. */
  get tooNew(): boolean {
    return this.causes.includes("ResourceVersionTooLarge");
  }
}

/** The user in a refusal, such as `system:node:worker-1`. */
function userOf(message: string): string | undefined {
  return /\bUser "([^"]*)"/.exec(message)?.[1];
}

function explain({ verb, resource }: Deed, { status, reason, message }: StatusWords): string {
  switch (status) {
    case 401:
      return "the API server does not know this credential (401 Unauthorized)";
    case 403: {
      const user = userOf(message);
      if (user === undefined) return `forbidden: ${message}`;
      return `forbidden: ${user} has not the verb ${verb} on ${resource}`;
    }
    default:
      return `${message || "no reason given"} (${[status, reason].join(" ").trim()})`;
  }
}

function adviceFor({ verb, resource }: Deed, { status, message }: StatusWords): string | undefined {
  if (status === 401) {
    return "Check that the token or certificate is of this cluster and has not run out";
  }
  if (status !== 403) return undefined;
  if (userOf(message)?.startsWith("system:node:")) {
    return "This is a kubelet's credential, which may only see its own node. Make one for twill: " +
      "twill manifest --only kubeconfig";
  }
  return `Allow it in the role of this account (verb ${verb}, resource ${resource}): ` +
    "twill manifest --only rbac | kubectl apply -f -";
}

/**
 * Reads a `Status` object.
 *
 * @param status of the response, or 0 for an ERROR event: then the object's own code counts.
 * @param raw the parsed body; anything, because proxies answer too.
 */
export function statusWords(status: number, raw: unknown): StatusWords {
  const details = member(raw, "details");
  const seconds = numberOf(member(details, "retryAfterSeconds"));
  return {
    status: status || (numberOf(member(raw, "code")) ?? 500),
    reason: textOf(member(raw, "reason")) ?? "",
    message: textOf(member(raw, "message")) ?? "",
    causes: listOf(member(details, "causes")).map((cause) => textOf(member(cause, "reason")) ?? ""),
    ...(seconds !== undefined && seconds > 0 && { retryAfter: seconds * 1000 }),
  };
}

/** The error of an answer that is not 2xx. Reads the body. */
export async function errorOf(deed: Deed, response: Response): Promise<KubeError> {
  const body = await response.text().catch(() => "");
  let words: StatusWords;
  try {
    words = statusWords(response.status, JSON.parse(body));
  } catch {
    const text = body.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").trim().slice(0, LONGEST);
    words = { status: response.status, reason: "", message: text, causes: [] };
  }
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  const asked = seconds > 0 ? { retryAfter: seconds * 1000 } : {};
  return new KubeError(deed, { ...words, ...asked });
}
