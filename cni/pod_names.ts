/**
 * Which pod of Kubernetes an ADD was for.
 *
 * @module
 */

import { addressOf } from "../engine/ip.ts";
import type { AddedPod } from "./plugin.ts";
import type { Result } from "./result.ts";

/**
 * The pod, by what `CNI_ARGS` says of it; undefined when that is no pod of Kubernetes. What else
 * stands there is the plugins' business.
 */
export function addedPod(args: string, { ips }: Result): AddedPod | undefined {
  const value = (key: string): string =>
    args.split(";").find((pair) => pair.startsWith(`${key}=`))?.slice(key.length + 1) ?? "";
  const [namespace, name] = [value("K8S_POD_NAMESPACE"), value("K8S_POD_NAME")];
  if (namespace === "" || name === "") return undefined;
  return {
    namespace,
    name,
    uid: value("K8S_POD_UID"),
    ips: ips.map(({ address }) => addressOf(address)),
  };
}
