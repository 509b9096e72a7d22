/**
 * How this node is found in the API.
 *
 * @module
 */

import type { KubeClient } from "./client.ts";
import { at, textOf } from "./raw.ts";

/** A pod that runs on this node: our own. */
export interface OwnPod {
  readonly pod: string;
  readonly namespace: string;
}

/**
 * The node that a pod runs on.
 *
 * @throws {KubeError} the API's answer.
 * @throws {OpError} when no server answers.
 * @throws {Error} when the pod does not say it.
 */
export async function nodeOfPod(
  client: Pick<KubeClient, "json">,
  { pod, namespace }: OwnPod,
  signal: AbortSignal,
): Promise<string> {
  const object = await client.json({
    verb: "get",
    resource: "pods",
    name: `${namespace}/${pod}`,
    path: `/api/v1/namespaces/${namespace}/pods/${pod}`,
    signal,
  });
  const name = textOf(at(object, "spec", "nodeName"));
  if (name === undefined) throw new Error("node name not present in pod spec");
  return name;
}
