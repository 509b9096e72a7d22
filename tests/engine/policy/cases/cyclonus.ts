/**
 * Cases distilled from what Cyclonus generates. The language of the rows: see `language.ts`.
 *
 * @module
 */

import type { Case } from "../language.ts";

/** The rows. */
export const CYCLONUS: readonly Case[] = [
  {
    id: "C01",
    title: "base policy B (both directions, see the row)",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny * → x/a ; x/a → * but allow x/b,x/c,y/b,y/c → x/a ; x/a → y/a,y/b,z/a,z/b",
        "TCP/81: deny * → x/a ; x/a → *",
        "UDP/80: deny * → x/a ; x/a → *",
      ],
    }],
  },
  {
    id: "C02",
    title: "B moved to namespace y",
    steps: [{
      deeds: [
        "y/base on pod=a types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny * → y/a ; y/a → * but allow x/b,x/c,y/b,y/c → y/a ; y/a → y/b,z/a,z/b",
      ],
    }],
  },
  {
    id: "C03",
    title: "B with empty target selector",
    steps: [{
      deeds: [
        "x/base on all types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: ["TCP/80: deny * → x/* ; x/* → * but allow y/b,y/c → x/* ; x/* → y/a,y/b,z/a,z/b"],
    }],
  },
  {
    id: "C04",
    title: "B with target pod in (a,b)",
    steps: [{
      deeds: [
        "x/base on pod in (a,b) types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny * → x/a,x/b ; x/a,x/b → * but allow x/c,y/b,y/c → x/a,x/b ; x/a,x/b → y/a,y/b,z/a,z/b",
      ],
    }],
  },
  {
    id: "C05",
    title: "B, ingress rule list empty (egress unchanged)",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: []; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: ["TCP/80: deny * → x/a ; x/a → * but allow x/a → y/a,y/b,z/a,z/b"],
    }],
  },
  {
    id: "C06",
    title: "B, egress rule list empty",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: []",
      ],
      expect: ["TCP/80: deny * → x/a ; x/a → * but allow x/b,x/c,y/b,y/c → x/a"],
    }],
  },
  {
    id: "C07",
    title: "B, ingress rule is the empty rule (allow everything)",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: any peer @ any port; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: ["TCP/80: deny x/a → * but allow x/a → y/a,y/b,z/a,z/b", "UDP/81: deny x/a → *"],
    }],
  },
  {
    id: "C08",
    title: "B, ingress peers list empty, port TCP/80 kept",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: any peer @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny x/a → * but allow x/a → y/a,y/b,z/a,z/b",
        "TCP/81: deny * → x/a ; x/a → *",
      ],
    }],
  },
  {
    id: "C09",
    title: "B, ingress peer = empty podSelector",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: P(all) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: ["TCP/80: deny * → x/a ; x/a → * but allow x/b,x/c → x/a ; x/a → y/a,y/b,z/a,z/b"],
    }],
  },
  {
    id: "C10",
    title: "B, ingress peer = empty namespaceSelector + pod=c",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: N(all)+P(pod=c) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny * → x/a ; x/a → * but allow x/c,y/c,z/c → x/a ; x/a → y/a,y/b,z/a,z/b",
      ],
    }],
  },
  {
    id: "C11",
    title: "B, egress peer = ns=x only",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: N(ns=x) @ TCP/80",
      ],
      expect: ["TCP/80: deny * → x/a ; x/a → * but allow x/b,x/c,y/b,y/c → x/a ; x/a → x/b,x/c"],
    }],
  },
  {
    id: "C12",
    title: "B, ingress ipBlock 10.244.1.0/24 (node-1 pods)",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: IP(10.244.1.0/24) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny * → x/a ; x/a → * but allow x/c,y/a,z/a,z/c → x/a ; x/a → y/a,y/b,z/a,z/b",
      ],
    }],
  },
  {
    id: "C13",
    title: "B, ingress ipBlock 10.244.1.0/24 except 10.244.1.16/28",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: IP(10.244.1.0/24 except 10.244.1.16/28) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: ["TCP/80: deny * → x/a ; x/a → * but allow x/c → x/a ; x/a → y/a,y/b,z/a,z/b"],
    }],
  },
  {
    id: "C14",
    title: "two peers: ipBlock or podSelector",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: IP(10.244.1.16/28) OR P(pod=b) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow y/a,z/a,z/c,x/b → x/a"],
    }],
  },
  {
    id: "C15",
    title: "protocol unset + numeric port means TCP only",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ TCP(default)/80"],
      expect: [
        "TCP/80: all open",
        "TCP/81: deny * → x/a",
        "UDP/80: deny * → x/a",
        "SCTP/80: deny * → x/a",
      ],
    }],
  },
  {
    id: "C16",
    title: "protocol and port both unset: every TCP port, nothing else",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ TCP(default)/any"],
      expect: ["TCP/80: all open", "TCP/81: all open", "UDP/80: deny * → x/a"],
    }],
  },
  {
    id: "C17",
    title: "UDP any port",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ UDP/any"],
      expect: ["UDP/80: all open", "UDP/81: all open", "TCP/80: deny * → x/a"],
    }],
  },
  {
    id: "C18",
    title: "named UDP port",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ UDP/serve-81-udp"],
      expect: ["UDP/81: all open", "UDP/80: deny * → x/a", "TCP/81: deny * → x/a"],
    }],
  },
  {
    id: "C19",
    title: "port range 53-80 inclusive",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ TCP/53-80"],
      expect: ["TCP/80: all open", "TCP/81: deny * → x/a"],
    }],
  },
  {
    id: "C20",
    title: "port range 53-84, UDP, egress",
    steps: [{
      deeds: ["x/p on pod=a types Egress; out: any peer @ UDP/53-84"],
      expect: ["UDP/80: all open", "UDP/81: all open", "TCP/80: deny x/a → *"],
    }],
  },
  {
    id: "C21",
    title: "pathological: named port whose protocol differs from the rule",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ TCP/serve-81-udp"],
      expect: ["TCP/80: deny * → x/a", "TCP/81: deny * → x/a", "UDP/81: deny * → x/a"],
    }],
  },
  {
    id: "C22",
    title: "pathological: named port no pod declares (still isolates)",
    steps: [{
      deeds: ["x/p on pod=a types Egress; out: any peer @ TCP/nosuch"],
      expect: ["TCP/80: deny x/a → *", "TCP/81: deny x/a → *"],
    }],
  },
  {
    id: "C23",
    title: "two port entries: any-TCP absorbs TCP/80",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ TCP(default)/any, TCP(default)/80"],
      expect: ["TCP/81: all open", "UDP/80: deny * → x/a"],
    }],
  },
  {
    id: "C24",
    title: "two port entries of different protocols",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: any peer @ TCP(default)/80, UDP/serve-81-udp"],
      expect: [
        "TCP/80: all open",
        "UDP/81: all open",
        "TCP/81: deny * → x/a",
        "UDP/80: deny * → x/a",
      ],
    }],
  },
  {
    id: "C25",
    title: "conflict: source denies all egress, destination allows all ingress",
    steps: [{
      deeds: [
        "x/e on pod=b types Egress; out: []",
        "y/i on pod=c types Ingress; in: any peer @ any port",
      ],
      expect: ["TCP/80: deny x/b → *"],
    }],
  },
  {
    id: "C26",
    title: "conflict: source allows all egress, destination denies all ingress",
    steps: [{
      deeds: [
        "x/e on pod=b types Egress; out: any peer @ any port",
        "y/i on pod=c types Ingress; in: []",
      ],
      expect: ["TCP/80: deny * → y/c"],
    }],
  },
  {
    id: "C27",
    title: "deny-all + allow-all on the same source",
    steps: [{
      deeds: [
        "x/d on pod=b types Egress; out: []",
        "x/al on pod=b types Egress; out: any peer @ any port",
      ],
      expect: ["TCP/80: all open"],
    }],
  },
  {
    id: "C28",
    title: "deny by IP (0.0.0.0/31) + allow by pod",
    steps: [{
      deeds: [
        "x/d on pod=b types Egress; out: IP(0.0.0.0/31) @ any port",
        "x/al on pod=b types Egress; out: N(all) @ any port",
      ],
      expect: ["TCP/80: all open"],
    }],
  },
  {
    id: "C29",
    title: "deny by never-matching ns label + allow by IP 0.0.0.0/0",
    steps: [{
      deeds: [
        "x/d on pod=b types Ingress; in: N(never=set) @ any port",
        "x/al on pod=b types Ingress; in: IP(0.0.0.0/0) @ any port",
      ],
      expect: ["TCP/80: all open"],
    }],
  },
  {
    id: "C30",
    title: "selector that matches nothing isolates completely",
    steps: [{
      deeds: ["x/d on pod=b types Egress; out: N(never=set) @ any port"],
      expect: ["TCP/80: deny x/b → *"],
    }],
  },
  {
    id: "C31",
    title: "create then delete",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny * → x/a ; x/a → * but allow x/b,x/c,y/b,y/c → x/a ; x/a → y/a,y/b,z/a,z/b",
      ],
    }, { deeds: ["delete x/base"], expect: ["TCP/80: all open"] }],
  },
  {
    id: "C32",
    title: "policy update from TCP/80 to named UDP port on ingress",
    steps: [{
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny * → x/a ; x/a → * but allow x/b,x/c,y/b,y/c → x/a ; x/a → y/a,y/b,z/a,z/b",
      ],
    }, {
      deeds: [
        "x/base on pod=a types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ UDP/serve-81-udp; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [
        "TCP/80: deny * → x/a ; x/a → * but allow x/a → y/a,y/b,z/a,z/b",
        "UDP/81: deny * → x/a ; x/a → * but allow x/b,x/c,y/b,y/c → x/a",
      ],
    }],
  },
  {
    id: "C33",
    title: "pod created after the policy is covered",
    steps: [{
      deeds: [
        "x/base on all types Ingress+Egress; in: N(ns in (x,y))+P(pod in (b,c)) @ TCP/80; out: N(ns in (y,z))+P(pod in (a,b)) @ TCP/80",
      ],
      expect: [],
    }, {
      deeds: ["create pod x/d (10.244.1.12) labels pod=d"],
      expect: ["TCP/80: deny * → x/* ; x/* → * but allow y/b,y/c → x/* ; x/* → y/a,y/b,z/a,z/b"],
    }, {
      deeds: ["delete pod x/d"],
      expect: ["TCP/80: deny * → x/* ; x/* → * but allow y/b,y/c → x/* ; x/* → y/a,y/b,z/a,z/b"],
    }],
  },
  {
    id: "C34",
    title: "namespace label added, then removed",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(team=qrs) @ any port"],
      expect: ["TCP/80: deny * → x/a"],
    }, {
      deeds: ["namespace y labels team=qrs"],
      expect: ["TCP/80: deny * → x/a but allow y/* → x/a"],
    }, { deeds: ["namespace y labels -team"], expect: ["TCP/80: deny * → x/a"] }],
  },
  {
    id: "C35",
    title: "pod label added, then removed",
    steps: [
      {
        deeds: ["x/p on pod=a types Ingress; in: N(ns in (y,z))+P(role=abc) @ any port"],
        expect: ["TCP/80: deny * → x/a"],
      },
      { deeds: ["pod y/b labels role=abc"], expect: ["TCP/80: deny * → x/a but allow y/b → x/a"] },
      { deeds: ["pod y/b labels -role"], expect: ["TCP/80: deny * → x/a"] },
    ],
  },
];
