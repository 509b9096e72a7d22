/**
 * From the API's pods and namespaces to the little that policies look at.
 *
 * @module
 */

import { type Ip, parseIp } from "../ip.ts";
import type { NamedPort, Namespace, Pod, Protocol } from "./model.ts";
import type { Labels } from "./selector.ts";

/** What we read of the metadata that all objects have. */
export interface MetadataObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>> | null;
    readonly creationTimestamp?: string | null;
    readonly deletionTimestamp?: string | null;
  };
}

/** What we read of a pod. */
export interface PodObject extends MetadataObject {
  readonly spec?: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly containers?: readonly {
      readonly ports?:
        | readonly {
          readonly name?: string;
          readonly protocol?: string;
          readonly containerPort: number;
        }[]
        | null;
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[] | null;
  };
}

/** A pod of the API; addresses that cannot be read are left out. */
export function readPod({ metadata, spec, status }: PodObject): Pod {
  const listed = status?.podIPs?.map(({ ip }) => ip) ?? [];
  const texts = new Set([status?.podIP, ...listed]);
  const phase = status?.phase;
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid ?? "",
    labels: readLabels(metadata.labels),
    node: spec?.nodeName ?? "",
    hostNetwork: spec?.hostNetwork === true,
    done: phase === "Succeeded" || phase === "Failed",
    running: phase === "Running",
    terminating: typeof metadata.deletionTimestamp === "string",
    created: metadata.creationTimestamp ?? "",
    ips: [...texts].flatMap((text) => readIp(text ?? "")),
    ports:
      spec?.containers?.flatMap(({ ports }) =>
        ports?.flatMap(({ name, protocol, containerPort }): NamedPort[] =>
          name === undefined || name === ""
            ? []
            : [{ name, protocol: (protocol ?? "TCP") as Protocol, port: containerPort }]
        ) ?? []
      ) ?? [],
  };
}

/** A namespace of the API; its metadata are enough. */
export function readNamespace({ metadata }: MetadataObject): Namespace {
  return { name: metadata.name, labels: readLabels(metadata.labels) };
}

function readLabels(labels: Readonly<Record<string, string>> | null | undefined): Labels {
  return new Map(Object.entries(labels ?? {}));
}

function readIp(text: string): Ip[] {
  try {
    return [parseIp(text)];
  } catch {
    return [];
  }
}
