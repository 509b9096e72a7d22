/**
 * What the daemon tells about policies: a part of its status document.
 *
 * @module
 */

import { Fields, type Json, jsonObject } from "../json.ts";

/** What enforcement is doing. */
export type PolicyState =
  /** The operator, or the way this node is run, wants none. */
  | "off"
  /** It waits for the API; what was enforced before still is. */
  | "starting"
  | "on"
  /** Something is in the way; see the reasons. What was enforced before still is. */
  | "degraded";

/** See the module. */
export interface PolicyStatus {
  readonly state: PolicyState;
  /** Sentences: why it is off or degraded, and what is not enforced although it is on. */
  readonly reasons: readonly string[];
  /** Policies of the cluster. */
  readonly policies: number;
  /** Pods of this node that some policy isolates. */
  readonly isolated: number;
  /** Rules, and elements of sets and maps, in the kernel. */
  readonly rules: number;
  readonly elements: number;
  /** Addresses whose pods are not known yet: nothing is allowed. */
  readonly held: readonly string[];
  /** Policies that cannot be enforced as they are written, `namespace/name`, and why. */
  readonly faults: readonly { readonly policy: string; readonly reason: string }[];
}

/** Where nothing is enforced. */
export const NO_ENFORCEMENT: PolicyStatus = {
  state: "off",
  reasons: [],
  policies: 0,
  isolated: 0,
  rules: 0,
  elements: 0,
  held: [],
  faults: [],
};

/** As JSON. */
export function policyStatusJson(status: PolicyStatus): Json {
  return jsonObject({
    ...status,
    reasons: [...status.reasons],
    held: [...status.held],
    faults: status.faults.map((fault) => jsonObject({ ...fault })),
  });
}

/** Reads {@link policyStatusJson}; what is missing counts as off. @throws {SyntaxError} when a member is of another type */
export function readPolicyStatus(found: Fields | undefined): PolicyStatus {
  const fields = found ?? Fields.document(null);
  const state = fields.string("state");
  return {
    state: state === "on" || state === "starting" || state === "degraded" ? state : "off",
    reasons: fields.strings("reasons") ?? [],
    policies: fields.integer("policies") ?? 0,
    isolated: fields.integer("isolated") ?? 0,
    rules: fields.integer("rules") ?? 0,
    elements: fields.integer("elements") ?? 0,
    held: fields.strings("held") ?? [],
    faults: (fields.objects("faults") ?? []).map((fault) => ({
      policy: fault.string("policy") ?? "",
      reason: fault.string("reason") ?? "",
    })),
  };
}
