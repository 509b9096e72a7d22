/**
 * Cases of the Kubernetes end-to-end suite, first half. The language of the rows: see `language.ts`.
 *
 * @module
 */

import type { Case } from "../language.ts";

/** The rows. */
export const UPSTREAM_INGRESS: readonly Case[] = [
  {
    id: "U01",
    title: "default deny ingress in x",
    steps: [{
      deeds: ["x/deny-ingress on all types Ingress; in: []"],
      expect: ["TCP/80: deny * → x/*"],
    }],
  },
  {
    id: "U02",
    title: "default deny both directions in x",
    steps: [{
      deeds: ["x/deny-all on all types Ingress+Egress; in: []; out: []"],
      expect: ["TCP/80: deny * → x/* ; x/* → *"],
    }],
  },
  {
    id: "U03",
    title: "ingress by same-namespace podSelector",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: P(pod=b) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow x/b → x/a"],
    }],
  },
  {
    id: "U04",
    title: "deny-all plus explicit allow-from-everywhere on one pod",
    steps: [{
      deeds: [
        "x/deny-all on all types Ingress; in: []",
        "x/allow-a on pod=a types Ingress; in: N(all)+P(all) @ any port",
      ],
      expect: ["TCP/80: deny * → x/b,x/c"],
    }],
  },
  {
    id: "U05",
    title: "empty namespaceSelector means every namespace incl. own",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(all) @ any port"],
      expect: ["TCP/80: all open"],
    }],
  },
  {
    id: "U06",
    title: "namespaceSelector alone: own namespace not implied",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow y/* → x/a"],
    }],
  },
  {
    id: "U07",
    title: "podSelector with matchExpressions In",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: P(pod in (b)) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow x/b → x/a"],
    }],
  },
  {
    id: "U08",
    title: "namespaceSelector with matchExpressions In",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name in (y)) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow y/* → x/a"],
    }],
  },
  {
    id: "U09",
    title: "two peers in one rule are OR-ed",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name notin (x)) OR P(pod=b) @ any port"],
      expect: ["TCP/80: deny x/c → x/a"],
    }],
  },
  {
    id: "U10",
    title: "one peer with both selectors is AND-ed",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name notin (x))+P(pod=b) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow y/b,z/b → x/a"],
    }],
  },
  {
    id: "U11",
    title: "multi-value expressions on both selectors",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name notin (x))+P(pod in (b,c)) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow y/b,y/c,z/b,z/c → x/a"],
    }],
  },
  {
    id: "U12",
    title: "several podSelector peers",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: P(pod=b) OR P(pod=c) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow x/b,x/c → x/a"],
    }],
  },
  {
    id: "U13",
    title: "exactly one remote pod by ns+pod selectors",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y)+P(pod=a) @ any port"],
      expect: ["TCP/80: deny * → x/a but allow y/a → x/a"],
    }],
  },
  {
    id: "U14",
    title: "peer and port must both match",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y) @ TCP/81"],
      expect: ["TCP/81: deny * → x/a but allow y/* → x/a", "TCP/80: deny * → x/a"],
    }],
  },
  {
    id: "U15",
    title: "stacked policies add up",
    steps: [{
      deeds: ["x/p81 on pod=a types Ingress; in: N(k8s-name=y) @ TCP/81"],
      expect: ["TCP/81: deny * → x/a but allow y/* → x/a", "TCP/80: deny * → x/a"],
    }, {
      deeds: ["x/p80 on pod=a types Ingress; in: N(k8s-name=y) @ TCP/80"],
      expect: [
        "TCP/80: deny * → x/a but allow y/* → x/a",
        "TCP/81: deny * → x/a but allow y/* → x/a",
      ],
    }],
  },
  {
    id: "U16",
    title: "allow-all ingress rule",
    steps: [{
      deeds: ["x/p on all types Ingress; in: any peer @ any port"],
      expect: ["TCP/80: all open", "TCP/81: all open"],
    }],
  },
  {
    id: "U17",
    title: "one named port on ingress, protocol unset (= TCP)",
    steps: [{
      deeds: ["x/p on all types Ingress; in: any peer @ TCP(default)/serve-81-tcp"],
      expect: ["TCP/81: all open", "TCP/80: deny * → x/*", "UDP/81: deny * → x/*"],
    }],
  },
  {
    id: "U18",
    title: "named port plus namespaceSelector",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(k8s-name=y) @ TCP/serve-80-tcp"],
      expect: ["TCP/80: deny * → x/a but allow y/* → x/a", "TCP/81: deny * → x/a"],
    }],
  },
  {
    id: "U19",
    title: "named port on egress is resolved on the destination pod",
    steps: [{
      deeds: ["x/p on all types Egress; out: any peer @ TCP(default)/serve-80-tcp"],
      expect: ["TCP/80: all open", "TCP/81: deny x/* → *"],
    }],
  },
  {
    id: "U20",
    title: "policy update allow-all to deny-all takes effect",
    steps: [{
      deeds: ["x/p on all types Ingress; in: any peer @ any port"],
      expect: ["TCP/81: all open"],
    }, { deeds: ["x/p on all types Ingress; in: []"], expect: ["TCP/81: deny * → x/*"] }],
  },
  {
    id: "U21",
    title: "namespace label added later admits its pods",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: N(ns2=updated) @ any port"],
      expect: ["TCP/80: deny * → x/a"],
    }, {
      deeds: ["namespace y labels ns2=updated"],
      expect: ["TCP/80: deny * → x/a but allow y/* → x/a"],
    }],
  },
  {
    id: "U22",
    title: "pod label added later admits that pod",
    steps: [{
      deeds: ["x/p on pod=a types Ingress; in: P(pod=b , pod2=updated) @ any port"],
      expect: ["TCP/80: deny * → x/a"],
    }, {
      deeds: ["pod x/b labels pod2=updated"],
      expect: ["TCP/80: deny * → x/a but allow x/b → x/a"],
    }],
  },
  {
    id: "U23",
    title: "empty podSelector peer means own namespace only",
    steps: [{
      deeds: ["x/p on all types Ingress; in: P(all) @ any port"],
      expect: ["TCP/80: deny y/*,z/* → x/*"],
    }],
  },
  {
    id: "U24",
    title: "target becomes isolated when its labels change",
    steps: [{
      deeds: ["x/p on target=isolated types Ingress; in: []"],
      expect: ["TCP/80: all open"],
    }, { deeds: ["pod x/a labels target=isolated"], expect: ["TCP/80: deny * → x/a"] }],
  },
];
