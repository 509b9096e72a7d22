/**
 * bandwidth: limits what a pod receives and sends. A chained plugin. Both limits are at the node's
 * end of the pod's pair, where the pod cannot lift them.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { Kernel, type Link } from "../../ffi/kernel.ts";
import { type Bucket, Traffic } from "../../ffi/traffic.ts";
import { validAttachments } from "../attachments.ts";
import { bandwidthConfig, bucketOf, holds } from "../bandwidth/config.ts";
import { findIfb, makeIfb, staleIfbs } from "../bandwidth/ifb.ts";
import { CniError, readConfig } from "../errors.ts";
import type { Plugin, Request } from "../plugin.ts";
import { quietly } from "../quietly.ts";
import type { Result } from "../result.ts";
import { VERSIONS } from "../versions.ts";

/** The plugin `bandwidth`. */
export const bandwidth: Plugin = {
  name: "bandwidth",
  about: "CNI bandwidth plugin: limits what a pod receives and sends",
  versions: VERSIONS.slice(VERSIONS.indexOf("0.3.0")),

  add(request: Request): Result {
    const { ingress, egress } = bandwidthConfig(request);
    const result = request.requirePrevResult();
    if (ingress === undefined && egress === undefined) return result;
    const hostEnd = findHostEnd(request, result);
    using traffic = new Traffic();
    using undo = new DisposableStack();
    if (ingress !== undefined) limitIngress(request, traffic, hostEnd, bucketOf(ingress), undo);
    const ifb = egress && limitEgress(request, traffic, hostEnd, bucketOf(egress), undo);
    undo.move();
    if (ifb === undefined) return result;
    const mac = ifb.mac === undefined ? {} : { mac: ifb.mac };
    return { ...result, interfaces: [...result.interfaces, { name: ifb.name, ...mac }] };
  },

  check(request: Request): void {
    const { ingress, egress } = bandwidthConfig(request);
    const result = request.requirePrevResult();
    if (ingress === undefined && egress === undefined) return;
    const hostEnd = findHostEnd(request, result);
    using traffic = new Traffic();
    if (ingress !== undefined) checkLimit(request, traffic, hostEnd, bucketOf(ingress));
    if (egress === undefined) return;
    const ifb = findIfb(traffic, request.network, request);
    if (ifb === undefined) throw failed(request, "the IFB device of the pod not found");
    checkLimit(request, traffic, ifb, bucketOf(egress));
    if (traffic.redirectionsOf(hostEnd).includes(ifb.index)) return;
    throw failed(request, `what comes in by ${hostEnd.name} does not go to ${ifb.name}`);
  },

  /** The pair, and what is on it, ends with the pod; the IFB device does not. */
  del(request: Request): void {
    using traffic = new Traffic();
    const ifb = findIfb(traffic, request.network, request);
    if (ifb !== undefined) traffic.deleteLink(ifb.name);
  },

  gc(request: Request): void {
    const valid = readConfig("failed to parse config", () => validAttachments(request.config));
    if (valid === undefined) return;
    using traffic = new Traffic();
    const stale = staleIfbs(traffic.links(), request.network, valid);
    for (const name of stale) traffic.deleteLink(name);
  },

  status(request: Request): void {
    try {
      bandwidthConfig(request);
    } catch (error) {
      throw new CniError(ErrorCode.notAvailable, messageOf(error), undefined, error);
    }
  },
};

/** The node's end of the pod's pair: one of the interfaces that the result names. */
function findHostEnd(request: Request, result: Result): Link {
  using kernel = openKernel(request);
  const inside = kernel.link("pod", request.ifname);
  if (inside === undefined) throw failed(request, `interface ${request.ifname} not found`);
  for (const { name, sandbox } of result.interfaces) {
    const link = sandbox ? undefined : kernel.link("host", name);
    if (link?.kind !== "veth") continue;
    if (link.index === inside.lower && inside.index === link.lower) return link;
  }
  throw failed(request, `no veth peer of ${request.ifname} among the interfaces of prevResult`);
}

function openKernel(request: Request): Kernel {
  try {
    return Kernel.open({ pod: request.netns });
  } catch (cause) {
    if (!(cause instanceof OpError) || cause.object !== request.netns) throw cause;
    const words = `failed to open netns ${JSON.stringify(request.netns)}: ${cause.kernel}`;
    throw failed(request, words, cause);
  }
}

/** What the pod receives is what the node's end sends. */
function limitIngress(
  request: Request,
  traffic: Traffic,
  hostEnd: Link,
  bucket: Bucket,
  undo: DisposableStack,
): void {
  traffic.limit(hostEnd, bucket);
  undo.defer(() => quietly(request, () => traffic.unlimit(hostEnd)));
}

/** What the pod sends, the node's end receives; the redirection comes last, to a limited device. */
function limitEgress(
  request: Request,
  traffic: Traffic,
  hostEnd: Link,
  bucket: Bucket,
  undo: DisposableStack,
): Link {
  const ifb = makeIfb(traffic, request.network, request, hostEnd.mtu);
  undo.defer(() => quietly(request, () => traffic.deleteLink(ifb.name)));
  traffic.limit(ifb, bucket);
  traffic.addIngress(hostEnd);
  undo.defer(() => quietly(request, () => traffic.deleteIngress(hostEnd)));
  traffic.redirect(hostEnd, ifb);
  return ifb;
}

function checkLimit(request: Request, traffic: Traffic, link: Link, want: Bucket): void {
  const have = traffic.limitOf(link);
  if (have === undefined) throw failed(request, `${link.name} has no limit`);
  if (holds(have, want)) return;
  const [is, should] = [have, want].map(({ rate, limit, buffer }) =>
    `rate ${rate} limit ${limit} buffer ${buffer}`
  );
  throw failed(request, `the limit of ${link.name} is ${is}, should be ${should}`);
}

function failed(request: Request, kernel: string, cause?: OpError): OpError {
  return new OpError(`${request.command} bandwidth of`, request.containerId, {
    code: ErrorCode.plugin,
    errno: cause?.errno,
    kernel,
    cause,
  });
}
