import assert from "node:assert/strict";
import { OpError } from "../../engine/errors.ts";
import { Fd, isNetns, NetnsGuard, OWN_NETNS, within } from "../../ffi/netns.ts";
import { kernelTest, Netns, run, shown } from "./sandbox.ts";

/** Which namespace the calling thread is in. */
function here(): string {
  return Deno.readLinkSync(OWN_NETNS);
}

/** The links of the calling thread's namespace, as another program sees them. */
function links(): string[] {
  return shown("ip", "link").map((link) => link["ifname"]);
}

kernelTest("within: works in the namespace, and returns", () => {
  using pod = new Netns();
  run("ip", "link", "add", "br0", "type", "bridge");
  const home = here();
  const inside = within(pod.path, () => ({ here: here(), links: links() }));
  assert.deepEqual(inside.links, ["lo"]);
  assert.notEqual(inside.here, home);
  assert.deepEqual([here(), links()], [home, ["lo", "br0"]]);
});

kernelTest("within: returns when the work throws", () => {
  using pod = new Netns();
  const home = here();
  assert.throws(() =>
    within(pod.path, () => {
      throw new Error("no");
    }), /^Error: no$/);
  assert.equal(here(), home);
});

kernelTest("NetnsGuard: guards nest, and each returns to where it came from", () => {
  using first = new Netns();
  using second = new Netns();
  const home = here();
  const seen: string[] = [];
  within(first.path, () => {
    const inFirst = here();
    within(second.path, () => seen.push(here()));
    assert.equal(here(), inFirst);
    within(first.path, () => assert.equal(here(), inFirst));
    seen.push(inFirst);
  });
  assert.equal(here(), home);
  assert.equal(new Set([home, ...seen]).size, 3);
});

kernelTest("NetnsGuard: enters a namespace whose name is gone, while it is held open", () => {
  const pod = new Netns();
  using held = new Fd(pod.path);
  pod[Symbol.dispose]();
  using _guard = new NetnsGuard(held);
  assert.deepEqual(links(), ["lo"]);
});

const NO_NAMESPACES: readonly (readonly [path: string, message: RegExp, errno: number])[] = [
  ["/nonexistent/ns", /^Cannot open \/nonexistent\/ns: No such file or directory$/, 2],
  ["/etc/hostname", /^Cannot enter network namespace \/etc\/hostname: it is no network n/, 22],
  ["/proc/self/ns/mnt", /^Cannot enter network namespace \/proc\/self\/ns\/mnt: it is no n/, 22],
  ["/tmp", /^Cannot enter network namespace \/tmp: it is no network namespace$/, 22],
];
for (const [path, message, errno] of NO_NAMESPACES) {
  kernelTest(`within: refuses ${path}, and stays at home`, () => {
    const home = here();
    assert.throws(
      () => within(path, () => assert.fail("not reached")),
      (e) => e instanceof OpError && message.test(e.message) && e.errno === errno,
    );
    assert.equal(isNetns(path), false);
    assert.equal(here(), home);
  });
}

kernelTest("isNetns: is true for names and for processes", () => {
  using pod = new Netns();
  assert.equal(isNetns(pod.path), true);
  assert.equal(isNetns(`/proc/${Deno.pid}/ns/net`), true);
  assert.equal(isNetns(OWN_NETNS), true);
});

Deno.test({
  name: "NetnsGuard: ends the process when it cannot get home",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    using pod = new Netns();
    // The way home is closed behind its back: the descriptor that was opened last.
    const program = `
      import { within } from "./ffi/netns.ts";
      import { libc } from "./ffi/libc.ts";
      within("${pod.path}", () => {
        for (const { name } of Deno.readDirSync("/proc/self/fd")) {
          const path = "/proc/self/fd/" + name;
          let to = "";
          try { to = Deno.readLinkSync(path); } catch { /* its own descriptor */ }
          if (to.startsWith("net:")) libc().close(Number(name));
        }
      });
      console.log("still here");
    `;
    const { signal, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--quiet", program],
    }).output();
    assert.deepEqual([signal, new TextDecoder().decode(stdout)], ["SIGKILL", ""]);
    assert.match(
      new TextDecoder().decode(stderr),
      /^twill: cannot return to the host's network namespace \(9\)\n/,
    );
  },
});
