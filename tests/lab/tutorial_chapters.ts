/**
 * What the tutorial says: one chapter for each thing that a reader of flannel's tutorials sees.
 *
 * @module
 */

import { OUTSIDE } from "./lab.ts";
import type { Book, Chapter } from "./tutorial.ts";

/** In the order in which they must run: later ones use the pods of earlier ones. */
export const CHAPTERS: readonly Chapter[] = [
  {
    number: 1,
    title: "Why does no pod start?",
    run: async (book) => {
      book.say(
        "The plugins are in place, the daemon is not: each pod waits with an error that names " +
          "`subnet.env`. What is missing, and what it breaks:",
      );
      await book.show("worker", "twill inspect subnet");
    },
  },
  {
    number: 2,
    title: "Which plugins must be downloaded?",
    run: async (book) => {
      book.say(
        "With flannel the `bridge` plugin comes from elsewhere, and its absence is what stops most " +
          "first attempts. Here all plugins are one program:",
      );
      await book.show("worker", "twill inspect check | grep -e STATUS -e ^cni-");
    },
  },
  {
    number: 3,
    title: "Which addresses has this node?",
    run: async (book) => {
      await book.lab.startDaemons();
      book.say(
        "The daemons run now. What `/run/flannel/subnet.env` says, explained and compared with the " +
          "kernel: the MTU is the underlay's minus 50.",
      );
      await book.show("worker", "twill inspect subnet");
    },
  },
  {
    number: 4,
    title: "What is there before the first pod?",
    run: async (book) => {
      book.say("`flannel.1`, and no `cni0`: the first pod brings the bridge.");
      await book.show("worker", "twill inspect status");
    },
  },
  {
    number: 5,
    title: "Which pod is which?",
    run: async (book) => {
      await book.addPod("worker", "web");
      await book.addPod("worker2", "api");
      book.say(
        "A pod on `worker`, one on `worker2`. Name, address, MAC address and the device on the " +
          "node's side, which tools otherwise show each in a place of its own:",
      );
      await book.show("worker", "twill inspect pods");
      book.say("And the whole picture:");
      await book.show("worker", "LC_ALL=C.UTF-8 twill inspect diagram");
    },
  },
  {
    number: 6,
    title: "What does a pod do with a packet?",
    run: async (book) => {
      book.say(
        "`ip route` in the pod shows three routes. Which of them decides, and what happens then, " +
          "hop by hop, without sending anything:",
      );
      await book.show("worker", `twill inspect trace default/web ${book.pod("api").ip}`);
    },
  },
  {
    number: 7,
    title: "What do the node's routes mean?",
    run: async (book) => {
      book.say("`ip route` with the part that each route plays, and who made it:");
      await book.show("worker", "twill inspect routes");
      book.say("A peer is a route, a neighbour and a forwarding entry that must fit:");
      await book.show("worker", "twill inspect peers -o wide");
    },
  },
  {
    number: 8,
    title: "How does a packet reach a pod on the same node?",
    run: async (book) => {
      const { ip } = await book.addPod("worker", "shell");
      book.say("By the bridge alone. `flannel.1` and `eth0` see nothing of it:");
      await book.capture(
        "worker",
        "twill inspect capture --proto icmp --count 2",
        `ip netns exec web ping -c1 -W5 ${ip}`,
      );
    },
  },
  {
    number: 9,
    title: "How does a packet reach a pod on another node?",
    run: async (book) => {
      book.say(
        "Through `cni0`, then `flannel.1`, then inside a VXLAN packet between the nodes' own " +
          "addresses on `eth0`; one line for each packet, with all interfaces that it passed:",
      );
      await ping(book, "");
    },
  },
  {
    number: 10,
    title: "With which address does a pod reach the world?",
    run: async (book) => {
      book.say("With its node's: the trace names the rule that replaces it.");
      await book.show("worker", `twill inspect trace default/web ${OUTSIDE} 80`);
    },
  },
  {
    number: 11,
    title: "How do I see the inner packet in Wireshark?",
    run: async (book) => {
      book.say(
        "Wireshark takes port 4789 for VXLAN, and flannel uses 8472, so it shows plain UDP. The " +
          "capture file has each inner packet on an interface of its own, and opens decoded:",
      );
      await ping(book, " -w /run/web.pcapng");
      await book.show(
        "worker",
        "tshark -r /run/web.pcapng -T fields -e frame.interface_name -e _ws.col.Protocol " +
          "-e _ws.col.Info 2>/dev/null",
      );
    },
  },
  {
    number: 12,
    title: "Is anything left of a pod that is gone?",
    run: async (book) => {
      await book.delPod("shell");
      book.say(
        "`shell` was deleted. Device, address and rules are gone; leftovers would be named.",
      );
      await book.show("worker", "twill inspect pods");
    },
  },
  {
    number: 13,
    title: "Which node has which subnet?",
    run: async (book) => {
      book.say(
        "`etcdctl get --prefix /coreos.com/network/subnets` lists the records as flannel writes " +
          "them. The same with what the kernel holds for each, from the daemon:",
      );
      await book.show("worker", "twill inspect leases");
    },
  },
  {
    number: 14,
    title: "Which rules does a pod's packet meet?",
    run: async (book) => {
      book.say(
        "flannel ignores NetworkPolicy, which its tutorials call its one disadvantage. twill's " +
          "daemon enforces it where it knows the Kubernetes API, which this lab does not have:",
      );
      await book.show("worker", "twill inspect explain policy");
      book.say("All rules that touch pods, in the order of their evaluation and in words:");
      await book.show("worker", "twill inspect rules");
    },
  },
];

/** A ping from `web` to the other node's pod, under a capture. */
async function ping(book: Book, flags: string): Promise<void> {
  await book.capture(
    "worker",
    `twill inspect capture --pod web --proto icmp --count 2${flags}`,
    `ip netns exec web ping -c1 -W5 ${book.pod("api").ip}`,
  );
}
