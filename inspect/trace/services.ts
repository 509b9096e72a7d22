/**
 * Services by their names in Kubernetes, as kube-proxy's rules tell them. Pure.
 *
 * @module
 */

import { type Ip, parseIp } from "../../engine/ip.ts";
import type { TraceRule, TraceTable } from "../../engine/trace/rules.ts";

/** One port of a service. */
export interface ServicePort {
  /** `namespace/name`. */
  readonly service: string;
  /** Name of the port; empty when it has none. */
  readonly name: string;
  readonly ip: Ip;
  readonly port: number;
  /** `tcp`, `udp`, `sctp`. */
  readonly protocol: string;
}

/** All that the rules name. */
export function servicePorts(tables: readonly TraceTable[]): ServicePort[] {
  return tables.flatMap((table) => [
    ...[...table.chains.values()].flatMap(({ rules }) =>
      rules.flatMap((rule) => [...ofMap(rule), ...ofLine(rule.text)])
    ),
    ...[...table.labels ?? []].flatMap(([key, label]) => ofLabel(key, label)),
  ]);
}

/** `10.96.5.7 . tcp . 80`, with the comment `default/none:http`: it has no endpoints. */
function ofLabel(key: string, label: string): ServicePort[] {
  const [ip = "", protocol = "", port = ""] = key.split(" . ");
  const match = /^([^/:]+\/[^/:]+)(?::(.*))?$/.exec(label);
  if (match === null || port === "") return [];
  const service = { service: match[1]!, name: match[2] ?? "", port: Number(port), protocol };
  return [{ ...service, ip: parseIp(ip) }];
}

/** `10.96.5.5 . tcp . 80 : goto service-HASH-default/web/tcp/http`. */
function ofMap({ actions }: TraceRule): ServicePort[] {
  return actions.flatMap((action) => {
    if (action.kind !== "map") return [];
    return [...action.map].flatMap(([key, verdict]): ServicePort[] => {
      const [ip = "", protocol = "", port = ""] = key.split(" . ");
      if (verdict.kind !== "goto") return [];
      const match = /^service-[^-]+-([^/]+\/[^/]+)\/[^/]+\/(.*)$/.exec(verdict.chain);
      if (match === null) return [];
      return [{
        service: match[1]!,
        name: match[2]!,
        ip: parseIp(ip),
        port: Number(port),
        protocol,
      }];
    });
  });
}

const LINE =
  /^-A KUBE-SERVICES -d ([^/ ]+)\/\d+ -p (\w+) .*--comment "([^" :]+\/[^" :]+)(?::([^" ]*))? (?:cluster IP|has no endpoints)".* --dport (\d+)/;

/** A line of iptables, with kube-proxy's comment. */
function ofLine(text: string): ServicePort[] {
  const match = LINE.exec(text);
  if (match === null) return [];
  const [, ip = "", protocol = "", service = "", name = "", port = ""] = match;
  return [{ service, name, ip: parseIp(ip), port: Number(port), protocol }];
}
