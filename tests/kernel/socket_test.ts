import assert from "node:assert/strict";
import { OpError } from "../../engine/errors.ts";
import { libc } from "../../ffi/libc.ts";
import { readLink, writeLink } from "../../ffi/netlink/link.ts";
import { Flag } from "../../ffi/netlink/message.ts";
import { NetlinkSocket, Overrun, type Request, SocketOption } from "../../ffi/netlink/socket.ts";
import { Rtm } from "../../ffi/netlink/rtnetlink.ts";
import { kernelTest, Netns, run } from "./sandbox.ts";

/** `RTNLGRP_LINK`, linux/rtnetlink.h. */
const LINKS = 1;
/** `SO_RCVBUF`, asm-generic/socket.h. */
const SO_RCVBUF = 8;

function linkRequest(type: number, flags: number, name: string, kind = "bridge"): Request {
  const info = type === Rtm.NEWLINK ? { info: { kind } } : {};
  return { type, flags, body: (out) => writeLink(out, { attributes: { name, ...info } }) };
}

const ALL = {
  type: Rtm.GETLINK,
  body: (out) => writeLink(out, { attributes: {} }),
} as const satisfies Omit<Request, "flags">;

kernelTest("request: each request has its own answer, in their order", () => {
  using socket = new NetlinkSocket();
  const create = Flag.CREATE | Flag.EXCL;
  const answers = socket.request([
    linkRequest(Rtm.NEWLINK, create, "br0"),
    linkRequest(Rtm.NEWLINK, create, "br0"),
    linkRequest(Rtm.NEWLINK, create, "x0", "nosuch"),
    linkRequest(Rtm.DELLINK, 0, "br0"),
    linkRequest(Rtm.DELLINK, 0, "br0"),
  ]);
  assert.deepEqual(answers, [
    { errno: 0 },
    { errno: 17 },
    { errno: 95, words: "Unknown device type" },
    { errno: 0 },
    { errno: 19 },
  ]);
  assert.deepEqual(socket.request([]), []);
});

kernelTest(
  "request: a question is answered by what the requests before it made, or refused",
  () => {
    using socket = new NetlinkSocket();
    const [made, asked, refused] = socket.request([
      linkRequest(Rtm.NEWLINK, Flag.CREATE, "br0"),
      { ...linkRequest(Rtm.GETLINK, 0, "br0"), question: true },
      { ...linkRequest(Rtm.GETLINK, 0, "nosuch"), question: true },
    ]);
    assert.deepEqual([made, asked?.errno, refused], [{ errno: 0 }, 0, { errno: 19 }]);
    assert.equal(asked?.body && readLink(asked.body).attributes.name, "br0");
  },
);

kernelTest("dump: all there is", () => {
  run("ip", "link", "add", "br0", "type", "bridge");
  using socket = new NetlinkSocket();
  const { bodies } = socket.dump(ALL);
  assert.deepEqual(bodies.map((body) => readLink(body).attributes.name), ["lo", "br0"]);
});

kernelTest("dump: a list of many links comes whole, whatever datagrams it comes in", () => {
  using socket = new NetlinkSocket();
  const wanted = Array.from({ length: 60 }, (_, i) => `br${i}`);
  const made = wanted.map((name) => linkRequest(Rtm.NEWLINK, Flag.CREATE, name));
  assert.ok(socket.request(made).every(({ errno }) => errno === 0));
  const { bodies } = socket.dump(ALL);
  assert.deepEqual(bodies.map((body) => readLink(body).attributes.name), ["lo", ...wanted]);
});

kernelTest("dump: a list that changes meanwhile is whole, or an Overrun", () => {
  using socket = new NetlinkSocket();
  for (let i = 0; i < 40; i++) socket.request([linkRequest(Rtm.NEWLINK, Flag.CREATE, `br${i}`)]);
  const churn = "while :; do ip link add x0 type bridge; ip link del x0; done";
  const child = Number(run("sh", "-c", `(${churn}) >/dev/null 2>&1 & echo $!`));
  try {
    for (let round = 0; round < 50; round++) {
      try {
        const names = socket.dump(ALL).bodies.map((body) => readLink(body).attributes.name);
        assert.equal(names.filter((name) => name?.startsWith("br")).length, 40);
      } catch (e) {
        if (!(e instanceof Overrun)) throw e;
      }
    }
  } finally {
    Deno.kill(child, "SIGKILL");
  }
});

kernelTest("a socket stays in the namespace it was made in", () => {
  using pod = new Netns();
  using socket = pod.inside(() => new NetlinkSocket());
  socket.request([linkRequest(Rtm.NEWLINK, Flag.CREATE, "br0")]);
  assert.match(run("ip", "-n", pod.name, "link"), /br0/);
  assert.doesNotMatch(run("ip", "link"), /br0/);
});

kernelTest("receive: events come after join, those of others", () => {
  using socket = new NetlinkSocket();
  socket.join(LINKS);
  run("ip", "link", "add", "br0", "type", "bridge");
  const [message] = socket.receive();
  assert.ok(message !== undefined);
  assert.equal(message.type, Rtm.NEWLINK);
  assert.equal(readLink(message.body).attributes.name, "br0");
});

kernelTest("join: an unknown group is an OpError", () => {
  using socket = new NetlinkSocket();
  assert.throws(() => socket.join(4000), (e) => e instanceof OpError);
});

kernelTest("receive: a queue that overran says so, and works again once it is empty", () => {
  using socket = new NetlinkSocket();
  socket.join(LINKS);
  setOption(socket, SO_RCVBUF, new Int32Array([1]));
  setOption(socket, SocketOption.SO_RCVTIMEO, new BigInt64Array([0n, 50_000n]));
  run("ip", "link", "add", "br0", "type", "bridge");
  for (const state of ["up", "down", "up", "down"]) run("ip", "link", "set", "br0", state);
  const drain = (): void => {
    while (socket.poll() !== undefined);
  };
  // What arrived before the overrun may be read first.
  assert.throws(drain, (e) => e instanceof Overrun);
  drain();
  run("ip", "link", "del", "br0");
  const types = socket.receive().map(({ type }) => type);
  assert.ok(types.includes(Rtm.NEWLINK) || types.includes(Rtm.DELLINK));
});

kernelTest("request: answers that were lost are an Overrun, never a missing answer", () => {
  using socket = new NetlinkSocket();
  setOption(socket, SO_RCVBUF, new Int32Array([1]));
  const same = Array.from({ length: 60 }, () => linkRequest(Rtm.DELLINK, 0, "nosuch"));
  assert.throws(() => socket.request(same), (e) => e instanceof Overrun);
});

function setOption(socket: NetlinkSocket, name: number, value: ArrayBufferView<ArrayBuffer>): void {
  const bytes = new Uint8Array(value.buffer);
  const { SOL_SOCKET } = SocketOption;
  assert.equal(libc().setsockopt(socket.fd, SOL_SOCKET, name, bytes, bytes.length), 0);
}
