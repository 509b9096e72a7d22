/**
 * Cases of the Kubernetes end-to-end suite, second half. The language of the rows: see `language.ts`.
 *
 * @module
 */

import type { Case } from "../language.ts";

/** The rows. */
export const UPSTREAM_REST: readonly Case[] = [
  {
    id: "U25",
    title: "egress deny on one pod",
    steps: [{ deeds: ["x/p on pod=a types Egress; out: []"], expect: ["TCP/80: deny x/a → *"] }],
  },
  {
    id: "U26",
    title: "egress deny on a namespace",
    steps: [{ deeds: ["x/p on all types Egress; out: []"], expect: ["TCP/80: deny x/* → *"] }],
  },
  {
    id: "U27",
    title: "ingress and egress in one policy",
    steps: [{
      deeds: [
        "x/p on pod=a types Ingress+Egress; in: P(pod=b) @ any port; out: any peer @ TCP(default)/80",
      ],
      expect: [
        "TCP/80: deny * → x/a but allow x/b → x/a",
        "TCP/81: deny * → x/a ; x/a → * but allow x/b → x/a",
      ],
    }],
  },
  {
    id: "U28",
    title: "client-side egress deny beats server-side ingress allow",
    steps: [{
      deeds: [
        "x/e on pod=a types Egress; out: N(k8s-name=y)+P(pod=a) @ any port",
        "y/ya on pod=a types Ingress; in: N(k8s-name=x)+P(pod=a) @ any port",
        "y/yb on pod=b types Ingress; in: N(k8s-name=x)+P(pod=a) @ any port",
      ],
      expect: ["TCP/80: deny x/a → * ; * → y/a ; * → y/b but allow x/a → y/a"],
    }],
  },
  {
    id: "U29",
    title: "egress to one pod of another namespace",
    steps: [{
      deeds: ["x/e on pod=a types Egress; out: N(k8s-name=y)+P(pod=a) @ any port"],
      expect: ["TCP/80: deny x/a → * but allow x/a → y/a"],
    }],
  },
  {
    id: "U30",
    title: "port entry with protocol only",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ TCP/any"],
      expect: ["TCP/80: all open", "TCP/81: all open", "UDP/80: deny * → x/a"],
    }],
  },
  {
    id: "U31",
    title: "allow-all ingress policy overrides a narrower one",
    steps: [{
      deeds: ["x/p80 on all types Ingress; in: any peer @ TCP(default)/80"],
      expect: ["TCP/81: deny * → x/*", "TCP/80: all open"],
    }, {
      deeds: ["x/all on all types Ingress; in: any peer @ any port"],
      expect: ["TCP/81: all open"],
    }],
  },
  {
    id: "U32",
    title: "allow-all egress policy overrides a narrower one",
    steps: [{
      deeds: ["x/p80 on all types Egress; out: any peer @ TCP(default)/80"],
      expect: ["TCP/81: deny x/* → *", "TCP/80: all open"],
    }, {
      deeds: ["x/all on all types Egress; out: any peer @ any port"],
      expect: ["TCP/81: all open"],
    }],
  },
  {
    id: "U33",
    title: "deleting the policy restores traffic",
    steps: [{
      deeds: ["x/p on all types Ingress+Egress; in: []; out: []"],
      expect: ["TCP/80: deny * → x/* ; x/* → *"],
    }, { deeds: ["delete x/p"], expect: ["TCP/80: all open"] }],
  },
  {
    id: "U34",
    title: "egress to a /32 ipBlock that is a pod address",
    steps: [{
      deeds: ["x/e on pod=a types Egress; out: IP(10.244.2.20/32) @ any port"],
      expect: ["TCP/80: deny x/a → * but allow x/a → y/b"],
    }],
  },
  {
    id: "U35",
    title: "except removes one pod address from a wide block",
    steps: [{
      deeds: ["x/e on pod=a types Egress; out: IP(0.0.0.0/4 except 10.244.2.10/32) @ any port"],
      expect: ["TCP/80: deny x/a → x/b"],
    }],
  },
  {
    id: "U36",
    title: "address in except is allowed again by another policy",
    steps: [{
      deeds: ["x/e on pod=a types Egress; out: IP(0.0.0.0/4 except 10.244.2.10/32) @ any port"],
      expect: ["TCP/80: deny x/a → x/b"],
    }, {
      deeds: ["x/e on pod=a types Egress; out: IP(10.244.2.10/32) @ any port"],
      expect: ["TCP/80: deny x/a → * but allow x/a → x/b"],
    }, {
      deeds: ["x/wide on pod=a types Egress; out: IP(0.0.0.0/4 except 10.244.2.10/32) @ any port"],
      expect: ["TCP/80: all open"],
    }],
  },
  {
    id: "U37",
    title: "ingress and egress isolation are independent",
    steps: [{
      deeds: ["x/out on pod=a types Egress; out: any peer @ any port"],
      expect: ["TCP/80: all open"],
    }, { deeds: ["x/in on pod=a types Ingress; in: []"], expect: ["TCP/80: deny * → x/a"] }],
  },
  {
    id: "U38",
    title: "SCTP rule must not open TCP",
    steps: [{
      deeds: [
        "x/deny on all types Ingress; in: []",
        "x/sctp on pod=a types Ingress; in: any peer @ SCTP/81",
      ],
      expect: ["TCP/81: deny * → x/*", "SCTP/81: deny * → x/* but allow * → x/a"],
    }],
  },
  {
    id: "U39",
    title: "SCTP-only policy still isolates for TCP",
    steps: [{
      deeds: ["x/sctp on pod=a types Ingress; in: any peer @ SCTP/80"],
      expect: ["TCP/81: deny * → x/a", "TCP/80: deny * → x/a"],
    }],
  },
  {
    id: "U40",
    title: "UDP rule must not open TCP",
    steps: [{
      deeds: ["x/udp on pod=a types Ingress; in: any peer @ UDP/81"],
      expect: ["TCP/81: deny * → x/a", "UDP/81: all open"],
    }],
  },
  {
    id: "U41",
    title: "built-in namespace-name label, matchLabels",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow y/* → x/a"],
    }],
  },
  {
    id: "U42",
    title: "built-in namespace-name label, NotIn, egress",
    steps: [{
      deeds: ["x/p on pod=a types Egress; out: N(k8s-name notin (y)) @ any port"],
      expect: ["TCP/80: deny x/a → y/*"],
    }],
  },
  {
    id: "U43",
    title: "U01 over UDP",
    steps: [{ deeds: ["x/p on all types Ingress; in: []"], expect: ["UDP/80: deny * → x/*"] }],
  },
  {
    id: "U44",
    title: "U14 over UDP",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y) @ UDP/81"],
      expect: ["UDP/81: deny * → x/a but allow y/* → x/a"],
    }],
  },
  {
    id: "U45",
    title: "U13 over UDP",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y)+P(pod=a) @ any port"],
      expect: ["UDP/80: deny * → x/a but allow y/a → x/a"],
    }],
  },
  {
    id: "U46",
    title: "U01 over SCTP",
    steps: [{ deeds: ["x/p on all types Ingress; in: []"], expect: ["SCTP/80: deny * → x/*"] }],
  },
  {
    id: "U47",
    title: "U14 over SCTP",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y) @ SCTP/81"],
      expect: ["SCTP/81: deny * → x/a but allow y/* → x/a"],
    }],
  },
  {
    id: "U48",
    title: "U13 over SCTP",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y)+P(pod=a) @ any port"],
      expect: ["SCTP/80: deny * → x/a but allow y/a → x/a"],
    }],
  },
];
