/**
 * The Kubernetes objects of a cluster with twill. Pure.
 *
 * Names, labels and the selector are those of flannel's manifest: so `kubectl apply` changes a
 * flannel that is there, and a rollout goes from node to node.
 *
 * @module
 */

import { makeBackend } from "../engine/backend/registry.ts";
import { messageOf } from "../engine/errors.ts";
import { parseNetConf } from "../engine/net_conf.ts";
import { sha512 } from "../engine/sha512.ts";
import { conflistText } from "./conflist.ts";
import { UsageError } from "./context.ts";
import { daemonSet } from "./manifest_daemon_set.ts";
import type { Settings } from "./manifest_settings.ts";

/** A Kubernetes object, as JSON has it. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string };
  readonly [member: string]: unknown;
}

/** The ServiceAccount, its role and their binding. */
const ACCOUNT = "flannel";
/** The Secret that gets the account's token. */
export const TOKEN_SECRET = "flannel-token";
/** Where daemons find the network's configuration. */
export const CONFIG_MAP = "kube-flannel-cfg";

const LABELS = { "k8s-app": "flannel" } as const;
const NODE_LABELS = { tier: "node", app: "flannel", ...LABELS } as const;

/** Everything; the DaemonSet last. @param more flags of the daemon @throws {UsageError} */
export function allObjects(settings: Settings, more: readonly string[]): KubeObject[] {
  const data = { "cni-conf.json": conflistText(), "net-conf.json": netConfText(settings) };
  const isNew = settings.configMap === "new";
  // Pods are replaced when what they read has changed; of another's ConfigMap nobody knows.
  const mark = isNew ? sha512(JSON.stringify(data)).slice(0, 16) : undefined;
  return [
    ...rbacObjects(settings),
    ...(isNew ? [configMap(settings, data)] : []),
    daemonSet(settings, {
      labels: NODE_LABELS,
      account: ACCOUNT,
      configMap: CONFIG_MAP,
      ...(mark === undefined ? {} : { mark }),
      more,
    }),
  ];
}

/** Namespace, ServiceAccount, and what the account may do. */
export function rbacObjects({ namespace }: Settings): KubeObject[] {
  return [
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: {
        name: namespace,
        // Pods on the node's network with its directories are refused otherwise.
        labels: { ...LABELS, "pod-security.kubernetes.io/enforce": "privileged" },
      },
    },
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: ACCOUNT, namespace, labels: LABELS },
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: ACCOUNT, labels: LABELS },
      rules: RULES,
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: ACCOUNT, labels: LABELS },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: ACCOUNT },
      subjects: [{ kind: "ServiceAccount", name: ACCOUNT, namespace }],
    },
  ];
}

const RULES = [
  // Leases are annotations of nodes.
  { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
  { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
  // By its own pod a daemon learns the node's name; policies are made of all of these.
  { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] },
  { apiGroups: [""], resources: ["namespaces"], verbs: ["list", "watch"] },
  {
    apiGroups: ["networking.k8s.io"],
    resources: ["networkpolicies"],
    verbs: ["list", "watch"],
  },
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
] as const;

/** A Secret that the API server fills with a token of the account, without an end. */
export function tokenSecret({ namespace }: Settings): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Secret",
    type: "kubernetes.io/service-account-token",
    metadata: {
      name: TOKEN_SECRET,
      namespace,
      labels: LABELS,
      annotations: { "kubernetes.io/service-account.name": ACCOUNT },
    },
  };
}

function configMap(
  { namespace }: Settings,
  data: Readonly<Record<string, string>>,
): KubeObject {
  const metadata = { name: CONFIG_MAP, namespace, labels: NODE_LABELS };
  return { apiVersion: "v1", kind: "ConfigMap", metadata, data };
}

/** flannel's `net-conf.json`. @throws {UsageError} for what the daemon would refuse */
export function netConfText(settings: Settings): string {
  const { network, network6, backend, nftables } = settings;
  const number = (text: string): number | undefined => text === "" ? undefined : Number(text);
  const vxlan = {
    VNI: number(settings.vni),
    Port: number(settings.port),
    DirectRouting: settings.directRouting === "" ? undefined : settings.directRouting === "true",
  };
  const [option] = Object.entries(vxlan).find(([, value]) => value !== undefined) ?? [];
  if (option !== undefined && backend !== "vxlan") {
    throw new UsageError(`--set: ${option} is of the backend vxlan, not of ${backend}`);
  }
  const text = JSON.stringify(
    {
      ...(network === "" ? { EnableIPv4: false } : { Network: network }),
      ...(network6 === "" ? {} : { EnableIPv6: true, IPv6Network: network6 }),
      ...(nftables === "" ? {} : { EnableNFTables: nftables === "true" }),
      Backend: { Type: backend, ...vxlan, MTU: number(settings.mtu) },
    },
    null,
    2,
  );
  try {
    if (network === "" && network6 === "") throw new SyntaxError("no network of any family");
    makeBackend(parseNetConf(text));
  } catch (e) {
    throw new UsageError(`--set: the network's configuration cannot be used: ${messageOf(e)}`);
  }
  return `${text}\n`;
}
