/** The Debian package: what is in it, and what dpkg is told of it. */
import assert from "node:assert/strict";
import { controlText, debianArchitecture, neededLibc } from "../../src/pack/deb/control.ts";
import { makePackage } from "../../src/pack/deb/package.ts";
import { must, which } from "../support/shell.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

Deno.test("the C library that a program needs is the newest whose name it has", () => {
  assert.equal(neededLibc(bytesOf("x\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE")), "2.34");
  assert.equal(neededLibc(bytesOf("G GLIBC_2 GLIBC_2.17")), "2.17");
});

Deno.test("a program that names no C library is refused", () => {
  assert.throws(() => neededLibc(bytesOf("#!/bin/sh\n")), /^Error: Cannot tell which C library/);
});

Deno.test("Debian's names of processors", () => {
  assert.equal(debianArchitecture("x86_64"), "amd64");
  assert.equal(debianArchitecture("aarch64"), "arm64");
});

Deno.test("the control file has the version, the processor, and sizes in KiB, rounded up", () => {
  const facts = { version: "1.2", architecture: "arm64", libc: "2.28", installedBytes: 2049 };
  const text = controlText(facts);
  assert.match(text, /^Version: 1\.2$/m);
  assert.match(text, /^Architecture: arm64$/m);
  assert.match(text, /^Installed-Size: 3$/m);
  assert.match(text, /^Depends: .*libc6 \(>= 2\.28\)/m);
  assert.match(text, /^Description: .{10,60}\n( .+\n)+$/m);
});

const CONTENT = `-rw-r--r-- etc/treegate/treegate.conf
-rwxr-xr-x usr/bin/treegate
-rw-r--r-- usr/lib/systemd/system/treegate.service
-rw-r--r-- usr/share/bash-completion/completions/treegate
-rw-r--r-- usr/share/doc/treegate/NEWS.gz
-rw-r--r-- usr/share/doc/treegate/copyright
-rw-r--r-- usr/share/doc/treegate/examples/alerts.yml
-rw-r--r-- usr/share/doc/treegate/examples/grafana.json
-rw-r--r-- usr/share/doc/treegate/examples/policies/built-in.policy
-rw-r--r-- usr/share/doc/treegate/examples/policies/dns.policy
-rw-r--r-- usr/share/doc/treegate/examples/policies/two-sided.policy
-rw-r--r-- usr/share/doc/treegate/examples/policies/web.policy
-rw-r--r-- usr/share/fish/vendor_completions.d/treegate.fish
-rw-r--r-- usr/share/man/man8/treegate.8.gz
-rw-r--r-- usr/share/zsh/vendor-completions/_treegate
`;

const isAllowed = ["run", "read", "write", "env"].every((name) =>
  Deno.permissions.querySync({ name: name as "run" }).state === "granted"
);
const dpkg = isAllowed ? await which("dpkg-deb") : "";

Deno.test({
  name: "the package has the program as treegate, and its files belong to root",
  ignore: dpkg === "" && !(isAllowed && Deno.env.get("CI") === "true"),
  fn: async () => {
    assert.notEqual(dpkg, "", "the package dpkg is not installed");
    const folder = await Deno.makeTempDir({ prefix: "treegate-deb-test-" });
    try {
      const program = `${folder}/program`;
      await Deno.writeTextFile(program, "#!/bin/sh\n# GLIBC_2.31\n");
      const made = { program, version: "1.0", folder, compression: ["-Znone"] };
      const deb = await makePackage(made);
      assert.match(deb, /\/treegate_1\.0_(amd64|arm64)\.deb$/);
      const listed = (await must([dpkg, "--contents", deb])).split("\n")
        .flatMap((line) => /^(-\S+) root\/root .* \.\/(.+)$/.exec(line)?.slice(1) ?? [])
        .map((word, i) => `${word}${i % 2 === 0 ? " " : "\n"}`);
      assert.equal(listed.join(""), CONTENT);
      await must([dpkg, "--extract", deb, `${folder}/tree`]);
      const text = (path: string) => Deno.readTextFile(`${folder}/tree/${path}`);
      assert.equal(await text("usr/bin/treegate"), await Deno.readTextFile(program));
      assert.match(await text(COMPLETIONS.bash), /^complete -F _treegate treegate$/m);
      assert.match(await text(COMPLETIONS.zsh), /^#compdef treegate\n/);
      assert.match(await text(COMPLETIONS.fish), /^complete -c treegate /m);
      const page = await must(["gzip", "-dc", `${folder}/tree/usr/share/man/man8/treegate.8.gz`]);
      assert.match(page, /^\.TH TREEGATE 8 "" "treegate 1\.0"\n/);
      await must([dpkg, "--control", deb, `${folder}/control`]);
      assert.equal(
        await Deno.readTextFile(`${folder}/control/conffiles`),
        "/etc/treegate/treegate.conf\n",
      );
      await must(["md5sum", "--check", "--strict", `${folder}/control/md5sums`], {
        cwd: `${folder}/tree`,
      });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

const COMPLETIONS = {
  bash: "usr/share/bash-completion/completions/treegate",
  zsh: "usr/share/zsh/vendor-completions/_treegate",
  fish: "usr/share/fish/vendor_completions.d/treegate.fish",
};
