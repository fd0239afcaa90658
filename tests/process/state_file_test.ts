/** The file of --state on a real disk: who may have written it, and what is left of it. */
import assert from "node:assert/strict";
import { type Members, StateFile } from "../../src/process/state_file.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { permitted } from "../ffi/namespace.ts";
import { World } from "../support/world.ts";

const ignore = !permitted;
const isRoot = permitted && Deno.uid() === 0;

/** No members have been added or taken out. */
const NO_CHANGES = { resume: () => Promise.resolve(), savedChanges: () => [] };

/** A folder with a place for a state, and the proxy's log lines. */
class Place {
  readonly folder = Deno.makeTempDirSync({ prefix: "treegate-state-" });
  readonly path = `${this.folder}/state`;
  readonly log: string[] = [];

  open(path = this.path, maxAgeMs = 60_000): StateFile {
    const line = (level: string) => (text: string) => void this.log.push(`${level}: ${text}`);
    const log = { info: line("info"), warning: line("warning"), error: line("error") };
    return new StateFile({ file: path, maxAgeMs }, buildShim(), log);
  }

  /** Saves the state of a world; the log lines. */
  save(world = World.settled(), members: Members = NO_CHANGES): string[] {
    using file = this.open();
    file.save(world.appliance, members);
    return this.log.splice(0);
  }

  /** Has a new world go on from it; the log lines. */
  async resume(maxAgeMs?: number, members: Members = NO_CHANGES): Promise<string[]> {
    using file = this.open(this.path, maxAgeMs);
    await file.resume(new World().appliance, members);
    return this.log.splice(0).filter((line) => !line.includes(" is at "));
  }

  names(): string[] {
    return [...Deno.readDirSync(this.folder)].map(({ name }) => name);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

Deno.test({ name: "StateFile, is taken once, and was this user's alone", ignore }, async () => {
  using place = new Place();
  assert.deepEqual(await place.resume(), [], "none is there");
  assert.deepEqual(place.save(), [`info: 0 connections saved to "${place.path}"`]);
  const { mode, size } = await Deno.stat(place.path);
  assert.equal(mode! & 0o7777, 0o600);
  assert.ok(size > 1000);
  assert.deepEqual(place.names(), ["state"]);
  const [line, ...more] = await place.resume();
  assert.match(
    line!,
    /^info: went on from ".*\/state": 0 connections, 4 neighbours, saved \d\.\d s ago$/,
  );
  assert.deepEqual([more, place.names()], [[], []]);
});

Deno.test(
  { name: "StateFile, members that no policy names go on, or a line says why not", ignore },
  async () => {
    using place = new Place();
    const changes = [
      { pool: "web", address: "192.168.0.3", port: 8080, weight: 2 },
      { pool: "web", address: "192.168.0.2", port: 0, weight: null },
    ];
    const members = { savedChanges: () => changes };
    const made: unknown[] = [];
    const resume = (given: unknown) => Promise.resolve(void made.push(given));
    place.save(World.settled(), { ...members, resume });
    const [line, ...more] = await place.resume(undefined, { ...members, resume });
    assert.match(line!, /^info: went on from /);
    assert.deepEqual([made, more], [[changes], []]);

    place.save(World.settled(), { ...members, resume });
    const refuse = () => Promise.reject(new RangeError("no such network"));
    const lines = await place.resume(undefined, { ...members, resume: refuse });
    assert.equal(lines[0], "warning: backends are as the policy says again: no such network");
    assert.match(lines[1]!, /^info: went on from /);
  },
);

Deno.test(
  { name: "StateFile, takes the place of whatever has its name, follows no link", ignore },
  () => {
    using place = new Place();
    const other = `${place.folder}/other`;
    for (const name of ["state", "state.new"]) {
      Deno.writeTextFileSync(other, "precious");
      Deno.symlinkSync(other, `${place.folder}/${name}`);
      place.save();
      assert.equal(Deno.readTextFileSync(other), "precious");
      assert.ok(Deno.lstatSync(place.path).isFile);
      assert.deepEqual(place.names().sort(), ["other", "state"]);
      Deno.removeSync(place.path);
    }
  },
);

Deno.test(
  { name: "StateFile, says why a state can't be saved, and leaves nothing behind", ignore },
  () => {
    using place = new Place();
    using file = place.open();
    Deno.mkdirSync(place.path);
    assert.equal(file.save(World.settled().appliance, NO_CHANGES), false);
    assert.deepEqual(place.log, [
      `error: Cannot save the state to "${place.path}": a folder is in its place`,
    ]);
    assert.deepEqual(place.names(), ["state"]);
    const words = { message: `Cannot keep a state in "${place.path}": it is a folder` };
    assert.throws(() => place.open(), words, "no run begins that could not save");
  },
);

const NOT_OURS = "expected a file of this user alone, that nobody else can write and with one name";
const planted: [name: string, plant: (place: Place) => void, reason: string, isLeft?: boolean][] = [
  ["a link to a state", ({ folder, path }) => {
    Deno.renameSync(path, `${folder}/real`);
    Deno.symlinkSync(`${folder}/real`, path);
  }, "it is a symbolic link"],
  ["a link to nothing", ({ path }) => {
    Deno.removeSync(path);
    Deno.symlinkSync("/nowhere", path);
  }, "it is a symbolic link"],
  ["a second name of a state", ({ folder, path }) => Deno.linkSync(path, `${folder}/b`), NOT_OURS],
  ["one that the group can write", ({ path }) => Deno.chmodSync(path, 0o660), NOT_OURS],
  ["one that all can write", ({ path }) => Deno.chmodSync(path, 0o602), NOT_OURS],
  ["a pipe", ({ path }) => {
    Deno.removeSync(path);
    new Deno.Command("mkfifo", { args: [path] }).outputSync();
  }, "it is no regular file"],
  ["a file of 1 GiB", ({ path }) => Deno.truncateSync(path, 2 ** 30), "it is too long"],
  [
    "an empty file",
    ({ path }) => Deno.truncateSync(path),
    "it is not a state of this program",
    true,
  ],
  [
    "half of a state",
    ({ path }) => Deno.truncateSync(path, 400),
    "it is cut short or damaged",
    true,
  ],
  [
    "a state with a changed byte",
    ({ path }) => {
      const bytes = Deno.readFileSync(path);
      bytes[bytes.length - 3]! ^= 1;
      Deno.writeFileSync(path, bytes);
    },
    "it is cut short or damaged",
    true,
  ],
];
for (const [name, plant, reason, isRemoved = false] of planted) {
  Deno.test({ name: `StateFile, refuses ${name} in one line`, ignore }, async () => {
    using place = new Place();
    place.save();
    plant(place);
    assert.deepEqual(await place.resume(), [
      `warning: Cannot go on from "${place.path}": ${reason}; starting without`,
    ]);
    assert.equal(place.names().includes("state"), !isRemoved);
  });
}

Deno.test({ name: "StateFile, refuses somebody else's in one line", ignore: !isRoot }, async () => {
  using place = new Place();
  place.save();
  await Deno.chown(place.path, 65_534, 65_534);
  assert.deepEqual(await place.resume(), [
    `warning: Cannot go on from "${place.path}": ${NOT_OURS}; starting without`,
  ]);
});

Deno.test({ name: "StateFile, refuses one that is too old", ignore }, async () => {
  using place = new Place();
  place.save();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.match(
    (await place.resume(1))[0]!,
    /: it is 0 s old, expected at most 0 \(--state-max-age\); /,
  );
});

Deno.test({ name: "StateFile, says at the start where none can be kept", ignore }, () => {
  using place = new Place();
  Deno.writeTextFileSync(`${place.folder}/file`, "");
  const cases = [
    [`${place.folder}/none/state`, "there is no such folder"],
    [`${place.folder}/file/state`, "what should be its folder is none"],
    ["/proc/state", /^this user may not write there \((EACCES|EROFS)\)$/],
  ] as const;
  for (const [path, reason] of cases) {
    if (typeof reason !== "string" && isRoot) continue; // may, as far as the kernel tells beforehand
    assert.throws(() => place.open(path), (error: Error) => {
      const [, said] = /^Cannot keep a state in "[^"]*": (.*)$/.exec(error.message)!;
      return typeof reason === "string" ? said === reason : reason.test(said!);
    });
  }
});
