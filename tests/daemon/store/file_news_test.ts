import assert from "node:assert/strict";
import { Log } from "../../../daemon/log.ts";
import { FileStore } from "../../../daemon/store/file.ts";
import { FileNews } from "../../../daemon/store/file_news.ts";
import type { Snapshot } from "../../../daemon/store/store.ts";

const HEAD = "config: { Network: 10.244.0.0/16, Backend: { Type: vxlan } }\nnodes:\n";
const NODE = (i: number): string =>
  `  - { name: n${i}, publicIP: 192.168.0.${i}, subnet: 10.244.${i}.0/24 }\n`;

/** A lease file and a store that looks at it by itself when it is too late. */
class Scene implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "twill-news-" });
  readonly lines: string[] = [];
  readonly log = new Log({ write: (line) => this.lines.push(line) });
  readonly stop = new AbortController();
  readonly #stack = new AsyncDisposableStack();

  path(name: string): string {
    return `${this.folder}/${name}`;
  }

  write(name: string, nodes: number): void {
    const text = HEAD + Array.from({ length: nodes }, (_, i) => NODE(i + 1)).join("");
    Deno.writeTextFileSync(this.path(name), text);
  }

  async watch(name: string, every = 60_000): Promise<AsyncIterator<Snapshot>> {
    const options = { path: this.path(name), log: this.log, every };
    const store = this.#stack.use(await FileStore.open(options));
    const snapshots = store.snapshots(this.stop.signal)[Symbol.asyncIterator]();
    await snapshots.next();
    return snapshots;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort(new Error("end of the test"));
    await this.#stack.disposeAsync();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** Number of leases in the next snapshot, which must come long before the next look. */
async function next(snapshots: AsyncIterator<Snapshot>): Promise<number> {
  const began = performance.now();
  const { value } = await snapshots.next();
  assert.ok(performance.now() - began < 20_000, "a change is seen before the next look");
  return value.leases.length;
}

/** A store looks once more when it begins to watch; after that it sleeps. */
function asleep(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 30));
}

/** How files are changed. Each gets the scene, whose file has one node, and must make it two. */
const WAYS: Readonly<Record<string, (scene: Scene) => void>> = {
  "written in place": (scene) => scene.write("leases", 2),
  "replaced by a rename": (scene) => {
    scene.write("leases.tmp", 2);
    Deno.renameSync(scene.path("leases.tmp"), scene.path("leases"));
  },
  "moved away and written anew": (scene) => {
    Deno.renameSync(scene.path("leases"), scene.path("leases~"));
    scene.write("leases", 2);
  },
  "removed and written anew": (scene) => {
    Deno.removeSync(scene.path("leases"));
    scene.write("leases", 2);
  },
};
for (const [way, change] of Object.entries(WAYS)) {
  Deno.test(`FileStore: a file that is ${way} is read within a second`, async () => {
    await using scene = new Scene();
    scene.write("leases", 1);
    const snapshots = await scene.watch("leases");
    const second = next(snapshots);
    await asleep();
    change(scene);
    assert.equal(await second, 2);
    const third = next(snapshots);
    scene.write("leases", 3);
    assert.equal(await third, 3, "and it is still watched");
    assert.doesNotMatch(scene.lines.join(""), /error/, "no half-written file was read");
  });
}

Deno.test("FileStore: a mounted ConfigMap that turns its link is read within a second", async () => {
  await using scene = new Scene();
  for (const [i, version] of ["v1", "v2"].entries()) {
    Deno.mkdirSync(scene.path(version));
    scene.write(`${version}/leases`, i + 1);
  }
  Deno.symlinkSync("v1", scene.path("..data"));
  Deno.symlinkSync("..data/leases", scene.path("leases"));
  const snapshots = await scene.watch("leases");
  const second = next(snapshots);
  await asleep();
  Deno.symlinkSync("v2", scene.path("..new"));
  Deno.renameSync(scene.path("..new"), scene.path("..data"));
  assert.equal(await second, 2);
});

Deno.test("FileStore: a directory that is replaced is found again by looking", async () => {
  await using scene = new Scene();
  Deno.mkdirSync(scene.path("etc"));
  scene.write("etc/leases", 1);
  const snapshots = await scene.watch("etc/leases", 50);
  Deno.renameSync(scene.path("etc"), scene.path("old"));
  Deno.mkdirSync(scene.path("etc"));
  scene.write("etc/leases", 2);
  let leases = 0;
  while (leases !== 2) leases = await next(snapshots);
});

Deno.test("FileNews: what cannot be watched is looked at from time to time", async () => {
  const log = new Log({ level: "debug", write: (line) => lines.push(line) });
  const lines: string[] = [];
  await using news = new FileNews("/nonexistent/leases", 20, log);
  const { signal } = new AbortController();
  const began = performance.now();
  assert.equal(await news.next(news.count, signal), news.count);
  assert.ok(performance.now() - began >= 19);
  assert.match(lines.join(""), /Cannot watch the file/);
});

Deno.test("FileNews: a file that is only read makes no news", async () => {
  await using scene = new Scene();
  scene.write("leases", 1);
  await using news = new FileNews(scene.path("leases"), 200, scene.log);
  for (let i = 0; i < 3; i++) Deno.readTextFileSync(scene.path("leases"));
  assert.equal(await news.next(0, scene.stop.signal), 0);
});

Deno.test("FileNews: everybody who waits is told, and a burst is one change", async () => {
  await using scene = new Scene();
  scene.write("leases", 1);
  await using news = new FileNews(scene.path("leases"), 5_000, scene.log);
  const waits = [0, 1].map(() => news.next(0, scene.stop.signal));
  for (let i = 0; i < 10; i++) {
    scene.write("leases", i);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const [one, two] = await Promise.all(waits);
  assert.equal(one, two);
  await asleep();
  assert.ok(news.count < 5, `${news.count} news of ten writes`);
});
