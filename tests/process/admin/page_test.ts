/** The dashboard's file, and what a browser may do with it. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { joined } from "../../../src/pack/build_page.ts";
import { pageOf } from "../../../src/process/admin/page.ts";

const FRAME = "<head>\n  <!-- style -->\n</head>\n<body>\n  <!-- script -->\n</body>\n";

Deno.test("the page is one file, and names its style and program by their hashes", () => {
  const html = joined(FRAME, "a {\n  color: red;\n}\n", 'f("$&");');
  assert.equal(
    html,
    '<head>\n<style>a{color: red;}</style>\n</head>\n<body>\n<script type="module">f("$&");</script>\n</body>\n',
  );
  const hashes = ["a{color: red;}", 'f("$&");'].map((text) =>
    `'sha256-${createHash("sha256").update(text).digest("base64")}'`
  );
  const page = pageOf(html)!;
  assert.equal(page.html, html);
  const directives = page.policy.split("; ");
  assert.equal(directives[0], "default-src 'none'");
  assert.ok(directives.includes(`style-src ${hashes[0]}`));
  assert.ok(directives.includes(`script-src ${hashes[1]}`));
  assert.ok(directives.includes("connect-src 'self'"));
  assert.doesNotMatch(page.policy, /unsafe|http/);
});

Deno.test("a page that was not built is none; one without its parts is an error", () => {
  assert.equal(pageOf(null), null);
  assert.throws(() => pageOf("<p>"), { message: /^Cannot serve the page: it lacks/ });
  assert.throws(() => joined(FRAME, "", 'f("</SCRIPT>")'), {
    message: /^Cannot put the page together/,
  });
  assert.throws(() => joined(FRAME, "</style>", ""), { message: /^Cannot put the page together/ });
});
