/**
 * The DaemonSet: one daemon on each node, and before it a container that puts the plugins there.
 * Pure.
 *
 * @module
 */

import { CNI_STATE, CONFLIST, dirOf, PROGRAM, RUN_DIRS, STATE_DIR } from "./layout.ts";
import type { KubeObject } from "./manifest_objects.ts";
import type { Settings } from "./manifest_settings.ts";

/** What the other objects say. */
export interface DaemonSetParts {
  readonly labels: Readonly<Record<string, string>>;
  /** The ServiceAccount. */
  readonly account: string;
  readonly configMap: string;
  /** Differs when the ConfigMap does; absent: nobody knows. */
  readonly mark?: string;
  /** More flags of the daemon. */
  readonly more: readonly string[];
}

/** Where the image has the program (deploy/Containerfile); not every image's PATH leads there. */
const IMAGE_PROGRAM = `/usr/local/bin/${PROGRAM}`;

/** Where the ConfigMap is seen. */
const CONFIG_DIR = "/etc/kube-flannel";

/** Directories of the node that both containers see under the node's own names. */
function nodeDirectories({ cniBinDir, cniConfDir }: Settings): readonly string[] {
  return [...RUN_DIRS.toReversed(), dirOf(CNI_STATE.networks), STATE_DIR, cniBinDir, cniConfDir];
}

/** See the module. */
export function daemonSet(settings: Settings, parts: DaemonSetParts): KubeObject {
  const { namespace, imagePullSecret } = settings;
  const { labels, account, configMap, mark } = parts;
  const { "k8s-app": _, ...podLabels } = labels;
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "kube-flannel-ds", namespace, labels },
    spec: {
      // It cannot be changed: what flannel's manifest says must stay.
      selector: { matchLabels: { app: labels["app"] } },
      template: {
        metadata: {
          labels: podLabels,
          ...(mark === undefined ? {} : { annotations: { "twill/config": mark } }),
        },
        spec: {
          affinity: { nodeAffinity: LINUX_ONLY },
          hostNetwork: true,
          priorityClassName: "system-node-critical",
          // A node without a network is not ready, and that is what we are here to change.
          tolerations: [{ operator: "Exists" }],
          serviceAccountName: account,
          ...(imagePullSecret === "" ? {} : { imagePullSecrets: [{ name: imagePullSecret }] }),
          initContainers: [installer(settings)],
          containers: [agent(settings, parts.more)],
          volumes: [
            ...nodeDirectories(settings).map((path) => hostPath(path, "DirectoryOrCreate")),
            hostPath("/run/netns", "DirectoryOrCreate"),
            hostPath("/run/xtables.lock", "FileOrCreate"),
            hostPath("/lib/modules", "DirectoryOrCreate"),
            { name: "flannel-cfg", configMap: { name: configMap } },
          ],
        },
      },
    },
  };
}

const LINUX_ONLY = {
  requiredDuringSchedulingIgnoredDuringExecution: {
    nodeSelectorTerms: [{
      matchExpressions: [{ key: "kubernetes.io/os", operator: "In", values: ["linux"] }],
    }],
  },
} as const;

/** Puts program and plugins on the node; the network's file is left to the daemon. */
function installer(settings: Settings): object {
  const { cniBinDir, cniConfDir } = settings;
  return {
    // The first of flannel's two, in whose place it comes.
    name: "install-cni-plugin",
    ...image(settings),
    command: [IMAGE_PROGRAM],
    args: [
      "install",
      "--no-conflist",
      `--cni-bin-dir=${cniBinDir}`,
      `--cni-conf-dir=${cniConfDir}`,
    ],
    // It looks which tables of nftables there are, so that uninstall leaves them alone.
    securityContext: { capabilities: { add: ["NET_ADMIN"] } },
    volumeMounts: nodeDirectories(settings).map((path) => mount(path)),
  };
}

function agent(settings: Settings, more: readonly string[]): object {
  const { privileged, cpu, memory, ipMasq, healthzPort, cniConfDir } = settings;
  const probe = (path: string, initialDelaySeconds: number, periodSeconds: number): object => ({
    httpGet: { path, port: "healthz" },
    initialDelaySeconds,
    periodSeconds,
    timeoutSeconds: 5,
  });
  const field = (name: string, fieldPath: string): object => ({
    name,
    valueFrom: { fieldRef: { fieldPath } },
  });
  return {
    name: "kube-flannel",
    ...image(settings),
    command: [IMAGE_PROGRAM],
    args: [
      "daemon",
      "--kube-subnet-mgr",
      ...(ipMasq === "true" ? ["--ip-masq"] : []),
      `--healthz-port=${healthzPort}`,
      `--conflist-file=${cniConfDir}/${CONFLIST}`,
      `--conflist-source=${CONFIG_DIR}/cni-conf.json`,
      ...more,
    ],
    env: [
      field("POD_NAME", "metadata.name"),
      field("POD_NAMESPACE", "metadata.namespace"),
      field("NODE_NAME", "spec.nodeName"),
    ],
    ports: [{ name: "healthz", containerPort: Number(healthzPort), protocol: "TCP" }],
    livenessProbe: probe("/healthz", 10, 30),
    readinessProbe: probe("/readyz", 5, 10),
    resources: { requests: { cpu, memory } },
    securityContext: privileged === "true"
      ? { privileged: true }
      : { privileged: false, capabilities: { add: ["NET_ADMIN", "NET_RAW"] } },
    volumeMounts: [
      ...nodeDirectories(settings).map((path) => mount(path)),
      // Namespaces that the runtime makes later must be seen here too.
      { ...mount("/run/netns"), mountPropagation: "HostToContainer" },
      mount("/run/xtables.lock"),
      { ...mount("/lib/modules"), readOnly: true },
      { name: "flannel-cfg", mountPath: `${CONFIG_DIR}/` },
    ],
  };
}

function image({ image, imagePullPolicy }: Settings): object {
  return { image, imagePullPolicy };
}

/** A volume is called by its path: `/run/twill` is `run-twill`. */
function volumeName(path: string): string {
  return path.slice(1).toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}

function hostPath(path: string, type: string): object {
  return { name: volumeName(path), hostPath: { path, type } };
}

/** Paths mean the same in the container and on the node: what install writes down is read there. */
function mount(path: string): { readonly name: string; readonly mountPath: string } {
  return { name: volumeName(path), mountPath: path };
}
