/**
 * What is kept of a node object, and how it is read.
 *
 * @module
 */

import type { NodeRecord } from "../../engine/lease_annotations.ts";
import { at, listOf, member, textOf, textsOf } from "../kube/raw.ts";

/** A condition of a node. */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}

/** What is kept. */
export interface KubeNode extends NodeRecord {
  /** `metadata.creationTimestamp`; as text, it sorts by time. */
  readonly created: string;
  /** Of this node only, where it has one: the condition that says whether its network is up. */
  readonly network?: Condition;
}

/** The condition's type; nodes with status `True` are tainted. */
const NETWORK_CONDITION = "NetworkUnavailable";

/** What a node has that is ready; the words are flannel's. */
export const NETWORK_IS_UP = {
  type: NETWORK_CONDITION,
  status: "False",
  reason: "FlannelIsUp",
  message: "Flannel is running on this node",
} as const;

/**
 * Reads a node object.
 *
 * @param keys the annotations to keep.
 * @param own this node's name.
 */
export function readNode(raw: unknown, keys: ReadonlySet<string>, own: string): KubeNode {
  const metadata = member(raw, "metadata");
  const spec = member(raw, "spec");
  const name = textOf(member(metadata, "name")) ?? "";
  const several = textList(member(spec, "podCIDRs"));
  const single = textOf(member(spec, "podCIDR"));
  const network = name === own ? conditionOf(raw) : undefined;
  return {
    name,
    created: textOf(member(metadata, "creationTimestamp")) ?? "",
    podCidrs: several.length > 0 ? several : single ? [single] : [],
    annotations: Object.fromEntries(
      textsOf(member(metadata, "annotations")).filter(([key]) => keys.has(key)),
    ),
    ...(network && { network }),
  };
}

function textList(value: unknown): string[] {
  return listOf(value).filter((one): one is string => typeof one === "string" && one !== "");
}

function conditionOf(raw: unknown): Condition | undefined {
  for (const one of listOf(at(raw, "status", "conditions"))) {
    if (member(one, "type") !== NETWORK_CONDITION) continue;
    const [status, reason] = [textOf(member(one, "status")), textOf(member(one, "reason"))];
    return { type: NETWORK_CONDITION, status: status ?? "", reason: reason ?? "" };
  }
  return undefined;
}
