/**
 * The objects of flannel's own manifest, for clusters that have it before they have twill.
 *
 * @module
 */

import type { KubeObject } from "./objects.ts";

/** flannel's network configuration list. */
export const LIST = {
  name: "cbr0",
  cniVersion: "0.3.1",
  plugins: [
    { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
};

const role = (name: string, rules: readonly unknown[]): KubeObject => ({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRole",
  metadata: { name },
  rules,
});

/** What flannel's manifest makes before its DaemonSet: a namespace, an account, and its rights. */
export const FLANNEL_OBJECTS: readonly KubeObject[] = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "kube-flannel" } },
  {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "flannel", namespace: "kube-flannel" },
  },
  role("flannel", [
    { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
    { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
    { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
  ]),
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "flannel" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "flannel" },
    subjects: [{ kind: "ServiceAccount", name: "flannel", namespace: "kube-flannel" }],
  },
];

/** The rest of the manifest: configuration and DaemonSet. */
export function flannelDaemonSet(
  image: string,
  conf: Readonly<Record<string, unknown>>,
): readonly KubeObject[] {
  const own = { name: "kube-flannel-cfg", namespace: "kube-flannel" };
  const labels = { tier: "node", app: "flannel" };
  const field = (name: string, fieldPath: string): unknown => ({
    name,
    valueFrom: { fieldRef: { fieldPath } },
  });
  const host = (name: string, path: string, type?: string): unknown => ({
    name,
    hostPath: { path, ...(type !== undefined && { type }) },
  });
  const config = { name: "flannel-cfg", mountPath: "/etc/kube-flannel/" };
  const install = (name: string, from: string, to: string, volume: string): unknown => ({
    name,
    image,
    command: ["cp", "-f", from, to],
    volumeMounts: [{ name: volume, mountPath: to.replace(/\/[^/]*$/, "") }, config],
  });
  return [
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { ...own, labels },
      data: { "cni-conf.json": JSON.stringify(LIST), "net-conf.json": JSON.stringify(conf) },
    },
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "kube-flannel-ds", namespace: "kube-flannel", labels },
      spec: {
        selector: { matchLabels: { app: "flannel" } },
        template: {
          metadata: { labels },
          spec: {
            hostNetwork: true,
            priorityClassName: "system-node-critical",
            tolerations: [{ operator: "Exists", effect: "NoSchedule" }],
            serviceAccountName: "flannel",
            initContainers: [
              install("install-cni-plugin", "/flannel", "/opt/cni/bin/flannel", "cni-plugin"),
              install(
                "install-cni",
                "/etc/kube-flannel/cni-conf.json",
                "/etc/cni/net.d/10-flannel.conflist",
                "cni",
              ),
            ],
            containers: [{
              name: "kube-flannel",
              image,
              command: ["/opt/bin/flanneld"],
              args: ["--ip-masq", "--kube-subnet-mgr", "--healthz-port=8081"],
              securityContext: {
                privileged: false,
                capabilities: { add: ["NET_ADMIN", "NET_RAW"] },
              },
              env: [
                field("POD_NAME", "metadata.name"),
                field("POD_NAMESPACE", "metadata.namespace"),
              ],
              volumeMounts: [
                { name: "run", mountPath: "/run/flannel" },
                config,
                { name: "xtables-lock", mountPath: "/run/xtables.lock" },
              ],
            }],
            volumes: [
              host("run", "/run/flannel"),
              host("cni-plugin", "/opt/cni/bin"),
              host("cni", "/etc/cni/net.d"),
              host("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
              { name: "flannel-cfg", configMap: { name: "kube-flannel-cfg" } },
            ],
          },
        },
      },
    },
  ];
}
