/**
 * From the command line to the kube store.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { type AnnotationKeys, annotationKeys } from "../../engine/lease_annotations.ts";
import type { Flags } from "../flags.ts";
import { findAccess } from "../kube/access.ts";
import { KubeClient } from "../kube/client.ts";
import type { Log } from "../log.ts";
import { KubeStore, type NodeNaming } from "./kube.ts";

/** The flags that are read here. */
export type KubeFlags = Pick<
  Flags,
  | "kube-api-url"
  | "kubeconfig-file"
  | "kube-annotation-prefix"
  | "net-config-path"
  | "set-node-network-unavailable"
  | "node-name"
>;

/**
 * The store that the flags describe; it begins to work.
 *
 * @throws {OpError} naming the flag, variable or file that cannot be used.
 */
export async function openKubeStore(flags: KubeFlags, log: Log): Promise<KubeStore> {
  const keys = keysOf(flags["kube-annotation-prefix"]);
  const env = (name: string): string | undefined => Deno.env.get(name);
  const access = await findAccess(
    { kubeconfig: flags["kubeconfig-file"], apiUrl: flags["kube-api-url"] },
    { env },
  );
  log.info("Kubernetes API", { servers: access.servers.join(","), from: access.from });
  return new KubeStore({
    client: new KubeClient(access),
    node: nodeNaming(flags["node-name"], env, Deno.hostname()),
    confPath: flags["net-config-path"],
    keys,
    setCondition: flags["set-node-network-unavailable"],
    log,
  });
}

function keysOf(prefix: string): AnnotationKeys {
  try {
    return annotationKeys(prefix);
  } catch (cause) {
    throw new OpError("use", "--kube-annotation-prefix", {
      code: ErrorCode.badConfig,
      kernel: messageOf(cause),
      advice: "Give it like this: flannel.alpha.coreos.com or org.example/team",
      cause,
    });
  }
}

/**
 * How this node is found: by its name (`--node-name`, `NODE_NAME`), else by our pod, else it has
 * the name of the host, as a kubelet gives it.
 *
 * @throws {OpError} when only one of the two variables of the pod is set.
 */
export function nodeNaming(
  name: string,
  env: (name: string) => string | undefined,
  hostname: string,
): NodeNaming {
  if (name !== "") return { kind: "name", name };
  const [pod, namespace] = [env("POD_NAME") ?? "", env("POD_NAMESPACE") ?? ""];
  if (pod !== "" && namespace !== "") return { kind: "pod", pod, namespace };
  if (pod === "" && namespace === "") return { kind: "name", name: hostname.toLowerCase() };
  throw new OpError("find", "the name of this node", {
    code: ErrorCode.badConfig,
    kernel: "env variables POD_NAME and POD_NAMESPACE must be set",
    advice: "Set both, or NODE_NAME, by the downward API",
  });
}
