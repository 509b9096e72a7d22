import assert from "node:assert/strict";
import { OpError } from "../../engine/errors.ts";
import { libnl, nlText } from "../../ffi/libnl.ts";
import { NetlinkSocket } from "../../ffi/netlink/socket.ts";
import { kernelTest, Netns, run } from "./sandbox.ts";

/** A program of our own, so that this process keeps the library that it has. */
function deno(program: string, ...wrap: readonly string[]): { out: string; err: string } {
  const [command, ...args] = [...wrap, Deno.execPath(), "eval", "--quiet", program];
  const { stdout, stderr } = new Deno.Command(command as string, {
    args,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const decoder = new TextDecoder();
  return { out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

kernelTest("libnl: has words for its results", () => {
  assert.equal(nlText(-5), "Out of memory");
  assert.equal(nlText(-4), "Try again");
});

kernelTest("NetlinkSocket: a protocol that the kernel does not have is an OpError", () => {
  assert.throws(
    () => new NetlinkSocket(31),
    (e) => e instanceof OpError && e.message.startsWith("Cannot connect netlink socket 31: "),
  );
});

kernelTest("openEmbedded: the copy in the binary works, opened without a file on disk", () => {
  const program = `
    import { openEmbedded } from "./ffi/libnl.ts";
    const before = [...Deno.readDirSync("/proc/self/fd")].length;
    const nl = openEmbedded();
    const socket = nl.nl_socket_alloc();
    if (nl.nl_connect(socket, 0) !== 0) throw new Error("not connected");
    nl.nl_socket_free(socket);
    const maps = Deno.readTextFileSync("/proc/self/maps");
    console.log(/memfd:libnl-3.so.200/.test(maps), /x86_64-linux-gnu\\/libnl-3/.test(maps));
    console.log([...Deno.readDirSync("/proc/self/fd")].length - before);
  `;
  assert.deepEqual(deno(program), { out: "true false\n0\n", err: "" });
});

kernelTest("libnl: without the system's copy the embedded one is taken", () => {
  const program = `
    import { Kernel } from "./ffi/kernel.ts";
    using kernel = Kernel.open();
    console.log(kernel.links("host").map((link) => link.name).join());
    console.log(/memfd:libnl-3.so.200/.test(Deno.readTextFileSync("/proc/self/maps")));
  `;
  const system = run("readlink", "-f", "/usr/lib/x86_64-linux-gnu/libnl-3.so.200").trim();
  // The system's copy is hidden behind an empty file, in a mount namespace of its own.
  const hide = ["unshare", "--mount", "sh", "-c", `mount --bind /dev/null ${system} && exec "$@"`];
  assert.deepEqual(deno(program, ...hide, "sh"), { out: "lo\ntrue\n", err: "" });
});

kernelTest("libnl: without any copy the error lists what was tried and what to install", () => {
  const program = `
    import { libnl } from "./ffi/libnl.ts";
    try { libnl(); } catch (e) { console.log(e.message + "\\n" + e.advice); }
  `;
  const system = run("readlink", "-f", "/usr/lib/x86_64-linux-gnu/libnl-3.so.200").trim();
  const embedded = new URL("../../dist/embed/libnl-3.so.200", import.meta.url).pathname;
  const hide = [system, embedded].map((file) => `mount --bind /dev/null ${file}`).join(" && ");
  const { out } = deno(program, "unshare", "--mount", "sh", "-c", `${hide} && exec "$@"`, "sh");
  assert.match(out, /^Cannot load libnl-3\.so\.200: .*file too short.*; embedded copy: .*\n/);
  assert.match(out, /\nInstall the package libnl-3-200 /);
});

kernelTest("libnl is opened once", () => {
  assert.equal(libnl(), libnl());
});

kernelTest("a cold plugin finds the binary's own libnl", () => {
  using pod = new Netns();
  const system = run("readlink", "-f", "/usr/lib/x86_64-linux-gnu/libnl-3.so.200").trim();
  const twill = new URL("../../dist/twill", import.meta.url).pathname;
  const script = `mount --bind /dev/null ${system}
    export CNI_COMMAND=ADD CNI_CONTAINERID=c CNI_NETNS=${pod.path} CNI_IFNAME=lo CNI_PATH=/nonexistent
    echo '{"cniVersion":"1.0.0","name":"n","type":"loopback"}' | TWILL_DIRECT=1 ${twill} cni loopback`;
  const answer = JSON.parse(run("unshare", "--mount", "sh", "-ec", script));
  assert.deepEqual(answer.interfaces.map(({ name }: { name: string }) => name), ["lo"]);
});
