/** Which folders a run reaches, and which files lead out of them. */
import assert from "node:assert/strict";
import { WHOLE_CAPTURE } from "../../src/capture/options.ts";
import { checkWithin, type Places, placesOf } from "../../src/process/places.ts";
import type { Settings } from "../../src/process/reload.ts";
import { FREE, testConfig } from "../support/config.ts";

const granted = (name: "read" | "write") =>
  Deno.permissions.querySync({ name }).state === "granted";
const ignore = !granted("read") || !granted("write");

interface Given {
  readonly policy?: string;
  readonly config?: string;
  readonly includeDirs?: readonly string[];
  readonly state?: string;
  readonly control?: string;
  readonly capture?: string;
  readonly captureDir?: string;
}

function places(given: Given): Promise<Places> {
  const { policy, config, includeDirs = [], state, control, capture, captureDir } = given;
  const settings: Settings = {
    config: testConfig({ policy: policy ?? null }),
    tap: {
      ...{ offload: true, spinUs: 100, fastPath: "off", admin: null },
      sandbox: { ...FREE, mode: "on", includeDirs },
    },
    control: control ?? null,
    state: state === undefined ? null : { file: state, maxAgeMs: 1000 },
    captures: { file: capture ?? null, options: WHOLE_CAPTURE, dir: captureDir ?? null },
    logLevel: "info",
    logConnections: 0,
    log: { format: "text" },
  };
  return placesOf(settings, config ?? null);
}

/** Folders and files of a test, by paths that begin at it. */
async function within(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  try {
    for (const name of ["a", "a/below", "b", "c"]) await Deno.mkdir(`${folder}/${name}`);
    for (const name of ["a/main", "a/below/part", "b/part", "c/flags"]) {
      await Deno.writeTextFile(`${folder}/${name}`, "default drop\n");
    }
    await Deno.symlink("../b/part", `${folder}/a/out`);
    await Deno.symlink("below/part", `${folder}/a/in`);
    await Deno.symlink("a", `${folder}/linked`);
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "places are the folders of the flags' files, without links, each by what is done there",
  ignore,
  fn: () =>
    within(async (folder) => {
      assert.deepEqual(await places({}), { read: [], write: [], clear: [] });
      assert.deepEqual(
        await places({
          ...{ policy: `${folder}/linked/main`, config: `${folder}/c/flags` },
          ...{ includeDirs: [`${folder}/b/`], state: `${folder}/b/kept`, control: `${folder}/c/s` },
          ...{ capture: `${folder}/linked/x.pcapng`, captureDir: `${folder}/c` },
        }),
        {
          read: [
            { flag: "--policy", folder: `${folder}/a` },
            { flag: "--config", folder: `${folder}/c` },
            { flag: "--include-dir", folder: `${folder}/b` },
          ],
          write: [
            { flag: "--state", folder: `${folder}/b` },
            { flag: "--capture", folder: `${folder}/a` },
            { flag: "--capture-dir", folder: `${folder}/c` },
          ],
          clear: [{ flag: "--control", folder: `${folder}/c` }],
        },
      );
      // Who reads the file says what is wrong with it.
      assert.deepEqual((await places({ policy: `${folder}/none/main` })).read, []);
      assert.deepEqual((await places({ policy: "/dev/null" })).read, []);
      for (
        const [name, fault] of [
          ["none", "there is no such file or folder"],
          ["a/main", "it is none"],
        ] as const
      ) {
        await assert.rejects(places({ includeDirs: [`${folder}/${name}`] }), {
          message: `--include-dir: Cannot use "${folder}/${name}" as folder: ${fault}`,
        });
      }
    }),
});

Deno.test({
  name: "a folder with /etc in it, or /etc itself, is no place, whatever leads there",
  ignore,
  fn: () =>
    within(async (folder) => {
      await Deno.symlink("/etc", `${folder}/etc`);
      const wrong: readonly (readonly [Given, RegExp])[] = [
        [{ policy: "/etc/passwd" }, /^Error: --policy: Cannot use the folder "\/etc": .*shadow/],
        [{ config: `${folder}/etc/passwd` }, /^Error: --config: Cannot use the folder "\/etc"/],
        [{ includeDirs: ["/"] }, /^Error: --include-dir: Cannot use the folder "\/"/],
        [{ includeDirs: [`${folder}/etc`] }, /^Error: --include-dir: Cannot use .* "\/etc"/],
        [{ state: "/etc/kept" }, /^Error: --state: Cannot use the folder "\/etc"/],
        [{ control: "/s" }, /^Error: --control: Cannot use the folder "\/"/],
        [{ state: "/dev/kept" }, /^Error: --state: Cannot use the folder "\/dev": .* disks, too/],
      ];
      for (const [given, message] of wrong) await assert.rejects(places(given), message);
    }),
});

Deno.test({
  name: "a file is within reach where it is in the end, not by its name",
  ignore,
  fn: () =>
    within(async (folder) => {
      const only = await places({ policy: `${folder}/a/main`, config: `${folder}/a/main` });
      for (const name of ["a/main", "a/below/part", "a/in", "linked/main", "a/none"]) {
        await checkWithin(only, `${folder}/${name}`);
      }
      for (const path of ["-", "/dev/null", folder]) await checkWithin(only, path);
      const outside = (name: string, real: string) =>
        assert.rejects(checkWithin(only, `${folder}/${name}`), {
          message: `it is "${folder}/${real}", outside of what may be read ("${folder}/a"); ` +
            "expected a file there, or --include-dir=FOLDER at the start",
        });
      await outside("a/out", "b/part");
      await outside("b/part", "b/part");
      await outside("a/../b/part", "b/part");
      const more = await places({ policy: `${folder}/a/main`, includeDirs: [`${folder}/b`] });
      await checkWithin(more, `${folder}/a/out`);
    }),
});
