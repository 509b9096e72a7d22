/**
 * Objects of the Kubernetes API, as far as the lab writes and reads them.
 *
 * @module
 */

/** A JSON object whose members are not known here. */
export type Json = Readonly<Record<string, unknown>>;

/** An object to apply. */
export interface KubeObject extends Json {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  } & Json;
}

/** The image of pods: busybox and `probe` (probe/main.go); see build. */
export const IMAGE = "lab.local/pod:1";

/** What a pod is made with. */
export interface PodWish {
  readonly name: string;
  /** Default `default`. */
  readonly namespace?: string;
  /** The node that it must run on; without one the scheduler decides. */
  readonly node?: string;
  /** Beside `name`, which every pod has. */
  readonly labels?: Readonly<Record<string, string>>;
  /** A port of the node that leads to port 80 of the pod. */
  readonly hostPort?: number;
  /** Default: a server on port 80, TCP and UDP, that says its name and its client's address. */
  readonly command?: readonly string[];
  /** Port → name, for named ports; port 80 is always declared. */
  readonly ports?: Readonly<Record<number, string>>;
  readonly hostNetwork?: boolean;
}

/** A pod. With the default command it is ready when its server answers. */
export function pod(wish: PodWish): KubeObject {
  const { name, namespace = "default", node, labels, hostPort, command, ports, hostNetwork } = wish;
  const port = { containerPort: 80, ...(hostPort !== undefined && { hostPort }) };
  const named = Object.entries(ports ?? {}).map(([number, portName]) => ({
    containerPort: Number(number),
    name: portName,
  }));
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { name, ...labels } },
    spec: {
      ...(node !== undefined && { nodeName: node }),
      ...(hostNetwork && { hostNetwork }),
      terminationGracePeriodSeconds: 0,
      dnsPolicy: "Default",
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      containers: [{
        name: "main",
        image: IMAGE,
        command: command ?? ["/bin/probe", "serve", "80"],
        ports: [port, ...named],
        ...(command === undefined && {
          readinessProbe: { httpGet: { path: "/", port: 80 }, periodSeconds: 1 },
        }),
      }],
    },
  };
}

/** What a service is made with. */
export interface ServiceWish {
  readonly name: string;
  readonly namespace?: string;
  /** Labels of its pods. */
  readonly selector: Readonly<Record<string, string>>;
  /** Makes it a service of type NodePort. */
  readonly nodePort?: number;
}

/** A service: port 80 of its pods, in both families where the cluster has both. */
export function service(wish: ServiceWish): KubeObject {
  const { name, namespace = "default", selector, nodePort } = wish;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace },
    spec: {
      selector,
      ipFamilyPolicy: "PreferDualStack",
      ...(nodePort !== undefined && { type: "NodePort" }),
      ports: [{ port: 80, ...(nodePort !== undefined && { nodePort }) }],
    },
  };
}
