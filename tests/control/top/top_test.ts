/** What `ctl top` draws, of samples, keys and sizes. */
import assert from "node:assert/strict";
import { cellsOf, clip, clipMiddle, fit } from "../../../src/control/top/cells.ts";
import { figuresOf } from "../../../src/control/top/figures.ts";
import { keysOf } from "../../../src/control/top/keys.ts";
import { layout } from "../../../src/control/top/layout.ts";
import { bar, percent, short } from "../../../src/control/top/numbers.ts";
import { type Contact, picture, type Screen } from "../../../src/control/top/picture.ts";
import { FIRST_VIEW, press, type View } from "../../../src/control/top/view.ts";
import { backend, sampleAt, statusAt } from "./samples.ts";

const LIVE: Contact = { is: "live" };

function drawn(
  view: View = FIRST_VIEW,
  size: Partial<Screen> = {},
  contact = LIVE,
  figures = figuresOf(sampleAt(12), sampleAt(10)),
): string[] {
  const screen = { columns: 100, rows: 24, hasColor: false, ...size };
  return [...picture(figures, view, contact, screen).lines];
}

/** The view after these keys, drawn after each, as on the screen. */
function pressed(keys: readonly string[], size: Partial<Screen> = {}): View {
  const screen = { columns: 100, rows: 24, hasColor: false, ...size };
  const figures = figuresOf(sampleAt(12), sampleAt(10));
  return keys.reduce(
    (view, key) => picture(figures, press(view, key), LIVE, screen).view,
    FIRST_VIEW,
  );
}

Deno.test("top: tree, backends and drops with their rates and shares", () => {
  assert.deepEqual(drawn(), [
    "treegate 1.2.3  up 0:12  tap100 up  policy web.policy                                         ● live",
    "in 1.0k/s 1.0Mbit/s  out 500/s 500kbit/s  dropped 42/s  by the kernel 25%",
    "connections 1204 of 262144 (<1%)  opened 40/s  evicted 0",
    "> PDUS/S  SHARE                   TOTAL  TREE (as written)",
    "     800    80%  ████████          9600  not ip.src in $web",
    "     300    30%  ███               3600    icmp -> echo",
    "     500    50%  █████             6000    tcp",
    '       0     0%                       0      tcp.dport = 80 -> drop "naive http"',
    "     500    50%  █████             6000      otherwise -> translate-a-to-b (12 refused), forward",
    "     200    20%  ██                2400  otherwise -> translate-b-to-a, forward",
    "   NEW/S  SHARE              STATUS            OPEN  WEIGHT      OPENED  BACKENDS (name)",
    "      30    75%  ███████▌    ● up                 7       1         360  web/192.168.0.1",
    "      10    25%  ██▌         ◐ draining          90       1         120  web/192.168.0.2",
    "       0     0%              ✕ down               0       1           0  web/192.168.0.3: tcp 80: n…",
    "       0     0%              □ maintenance        0       0           0  web/192.168.0.9 backup",
    "  DROP/S  SHARE                   TOTAL  DROPS (rate)",
    "      40    95%  █████████▌         480  policy: the policy decided Drop",
    "       2     4%  ▌                   24  no-route: no route to the destination",
    ...["", "", "", "", ""],
    "q quit  p pause  s sort  / filter  tab section  ? help",
  ]);
});

Deno.test("top: which own addresses are not in use, if any", () => {
  const [link] = statusAt(12).links;
  const own6 = [
    { address: "2001:db8::64", state: "withheld" },
    { address: "2001:db8::65", state: "in-use" },
  ] as const;
  const status = statusAt(12, { links: [{ ...link!, own6 }] });
  assert.deepEqual(
    drawn(FIRST_VIEW, {}, LIVE, figuresOf(sampleAt(12, { status }), null)).slice(1, 2),
    ["not in use 2001:db8::64 withheld after a conflict"],
  );
});

Deno.test("top: a narrow screen has what counts", () => {
  assert.deepEqual(drawn(FIRST_VIEW, { columns: 46, rows: 14 }), [
    "treegate 1.2.3  up 0:12  tap100 up  p…  ● live",
    "in 1.0k/s 1.0Mbit/s  out 500/s 500kbit/s  dro…",
    "connections 1204 of 262144 (<1%)  opened 40/s…",
    "> PDUS/S  SHARE       TOTAL  TREE (as written…",
    "     800    80%        9600  not ip.src in $w…",
    "     300    30%        3600    icmp -> echo",
    "     500    50%        6000    tcp",
    "       0     0%           0      tcp.dport = …",
    "     500    50%        6000      otherwise ->…",
    "   NEW/S  STATUS         BACKENDS (name, 1-1 …",
    "      30  ● up           web/192.168.0.1",
    "  DROP/S  SHARE       TOTAL  DROPS (rate, 1-1…",
    "      40    95%         480  policy: the poli…",
    "q quit  p pause  s sort  / filter  tab sectio…",
  ]);
});

Deno.test("top: a short screen has rows of the tree, and less of the head", () => {
  assert.deepEqual(drawn(FIRST_VIEW, { columns: 20, rows: 5 }), [
    "treegate 1.…  ● live",
    "> PDUS/S  TREE (as …",
    "     800  not ip.sr…",
    "     300    icmp ->…",
    "q quit  p pause  s …",
  ]);
  assert.deepEqual(drawn(FIRST_VIEW, { columns: 40, rows: 7 }).slice(0, 3), [
    "treegate 1.2.3  up 0:12  tap100…  ● live",
    "in 1.0k/s 1.0Mbit/s  out 500/s 500kbit/…",
    "> PDUS/S  TREE (as written, 1-1 of 6)",
  ]);
});

Deno.test("top: no size is too small, and no line wider than the screen", () => {
  const views = [FIRST_VIEW, pressed(["?"]), pressed(["/", "x"]), pressed(["tab", "end"])];
  const lost: Contact = { is: "lost", ms: 5000, why: "nobody listens there" };
  for (let columns = 0; columns < 130; columns++) {
    for (const rows of [0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 15, 24, 60]) {
      for (const view of views) {
        for (const contact of [LIVE, lost]) {
          const lines = drawn(view, { columns, rows }, contact);
          assert.ok(lines.length <= rows && (rows < 4 || lines.length === rows), `${rows} rows`);
          for (const line of lines) assert.ok(cellsOf(line) <= columns, `${columns}: ${line}`);
        }
      }
    }
  }
});

Deno.test("top: no control character comes through, whoever has named what", () => {
  const evil = "\x1b]0;owned\x07\x1b[2J\u202e\n\x9b31m";
  const sample = sampleAt(12, {
    status: statusAt(12, { version: evil, policy: evil }),
    tree: { lines: [{ pdus: 1, depth: 0, text: evil }], hiddenLines: 0 },
    backends: [{ ...sampleAt(1).backends[0]!, name: evil, status: evil, failure: evil }],
    drops: [{ reason: evil, count: 1, meaning: evil }],
  });
  const lost: Contact = { is: "lost", ms: 1, why: evil };
  for (const contact of [LIVE, lost]) {
    const view = { ...FIRST_VIEW, filter: "" };
    const lines = drawn(view, { columns: 400 }, contact, figuresOf(sample, null));
    assert.doesNotMatch(lines.join(""), /[\p{Cc}\p{Cf}]/u);
    assert.match(lines.join("\n"), /\\u001b\]0;owned\\u0007/);
  }
});

Deno.test("top: colours only where they are wanted, and each is switched off again", () => {
  const colored = drawn(FIRST_VIEW, { hasColor: true });
  const plain = drawn();
  // deno-lint-ignore no-control-regex -- of terminals
  const without = colored.map((line) => line.replaceAll(/\x1b\[\d+m/g, "").trimEnd());
  assert.deepEqual(without, plain);
  for (const line of colored) {
    // deno-lint-ignore no-control-regex -- of terminals
    const codes = [...line.matchAll(/\x1b\[(\d+)m/g)].map(([, code]) => code);
    codes.forEach((code, i) => assert.equal(code === "0", i % 2 === 1, JSON.stringify(line)));
    assert.equal(codes.length % 2, 0);
  }
});

Deno.test("top: rates are of one run of the proxy, and of the same lines", () => {
  const [first] = figuresOf(sampleAt(12), null).tree;
  assert.deepEqual([first!.rate, first!.share], [null, 0]);
  // Another run: its uptime has begun again.
  assert.equal(figuresOf(sampleAt(3), sampleAt(10)).in.pdus, null);
  // A reload has begun counters again, and has added an arm in front.
  const reloaded = sampleAt(12, {
    tree: {
      lines: [
        { pdus: 50, depth: 0, text: "udp -> drop" },
        { pdus: 100, depth: 0, text: "not ip.src in $web" },
        { pdus: 8400, depth: 0, text: "otherwise -> translate-b-to-a, forward" },
      ],
      hiddenLines: 0,
    },
  });
  const rates = figuresOf(reloaded, sampleAt(10)).tree.map(({ rate }) => rate);
  assert.deepEqual(rates, [25, 0, 3200]);
  // Two arms with one text are two lines.
  const twins = (a: number, b: number) => ({
    tree: {
      lines: [a, b].map((pdus) => ({ pdus, depth: 0, text: "| drop" })),
      hiddenLines: 0,
    },
  });
  const { tree } = figuresOf(sampleAt(12, twins(10, 30)), sampleAt(10, twins(4, 10)));
  assert.deepEqual(tree.map(({ rate }) => rate), [3, 10]);
});

Deno.test("top: contact is said in words", () => {
  const ends = (contact: Contact, view = FIRST_VIEW) => {
    const lines = drawn(view, {}, contact);
    return [lines[0]!.slice(-16).trim(), lines.at(-1)!];
  };
  assert.match(ends({ is: "stale", ms: 4200 })[0]!, /○ stale 0:04$/);
  const lost: Contact = { is: "lost", ms: 65_000, why: "nobody listens there" };
  assert.deepEqual(ends(lost), ["✕ lost 1:05", "trying again: nobody listens there"]);
  assert.match(ends(LIVE, pressed(["p"]))[0]!, /‖ paused$/);
  assert.match(ends(LIVE, pressed(["p"]))[1]!, /^q quit {2}p go on /);
});

Deno.test("top: s orders the section in use; siblings of the tree stay together", () => {
  const texts = (view: View, from: string) => {
    const lines = drawn(view);
    const start = lines.findIndex((line) => line.includes(from));
    const below = lines.slice(start + 1);
    return below.slice(0, below.findIndex((line) => /\/S|^$/.test(line)));
  };
  const tree = texts(pressed(["s"]), "TREE (rate)").map((line) => line.slice(41));
  assert.deepEqual(tree, [
    "not ip.src in $web",
    "  tcp",
    "    otherwise -> translate-a-to-b (12 refused), forward",
    '    tcp.dport = 80 -> drop "naive http"',
    "  icmp -> echo",
    "otherwise -> translate-b-to-a, forward",
  ]);
  const backends = (keys: string[], title: string) =>
    texts(pressed(["tab", ...keys]), title).map((line) => /web\/[\d.]+/.exec(line)![0].slice(-1));
  assert.deepEqual(backends([], "BACKENDS (name)"), ["1", "2", "3", "9"]);
  assert.deepEqual(backends(["s", "s"], "BACKENDS (open)"), ["2", "1", "3", "9"]);
  assert.deepEqual(backends(["s", "s", "s"], "BACKENDS (status)"), ["3", "2", "9", "1"]);
  assert.match(
    drawn(pressed(["back-tab", "s", "s"])).join("\n"),
    /> DROP.*DROPS \(name\)\n.*no-route/,
  );
});

Deno.test("top: a filter keeps lines with the text, and of the tree those above them", () => {
  const view = pressed(["/", "N", "a", "i", "v", "x", "backspace", "e", "enter"]);
  const lines = drawn(view);
  assert.deepEqual(lines.slice(4, 7).map((line) => line.slice(41)), [
    "not ip.src in $web",
    "  tcp",
    '    tcp.dport = 80 -> drop "naive http"',
  ]);
  assert.equal(lines[8], "  none fits the filter");
  assert.equal(lines.at(-1), "q quit  p pause  s sort  / filter: Naive  tab section  ? help");
  assert.equal(press(view, "escape").filter, "");
  // While it is typed, keys are its letters.
  assert.equal(drawn(pressed(["/", "q", "p"])).at(-1), "filter: qp_  enter keep  esc none");
  assert.equal(pressed(["/", ..."x".repeat(500)]).filter.length, 100);
});

Deno.test("top: scrolling ends at the last row, and comes back with one key", () => {
  const size = { rows: 9 };
  const end = pressed([...Array(50).fill("down"), "end"], size);
  const lines = drawn(end, size);
  assert.match(lines[3]!, /TREE \(as written, 5-6 of 6\)$/);
  const up = picture(figuresOf(sampleAt(12), null), press(end, "up"), LIVE, {
    columns: 100,
    rows: 9,
    hasColor: false,
  });
  assert.match(up.lines[3]!, /4-5 of 6/);
  assert.match(drawn(pressed(["end", "home"], size), size)[3]!, /1-2 of 6/);
});

Deno.test("top: help is a page that any key closes, and q ends all", () => {
  const usual = { columns: 80, rows: 24 };
  const help = drawn(pressed(["?"], usual), usual).join("\n");
  assert.match(help, /p, space +pause[^]*close this page/);
  assert.doesNotMatch(help, /…/);
  assert.equal(pressed(["?", "x"]).hasHelp, false);
  assert.equal(pressed(["?", "q"]).isOver, true);
  assert.equal(pressed(["/", "interrupt"]).isOver, true);
});

Deno.test("layout: the screen is filled, and the section in use gets most of what is short", () => {
  const wanted = { tree: 200, backends: 40, drops: 3 };
  assert.deepEqual(layout(300, wanted, "tree"), wanted);
  assert.deepEqual(layout(43, wanted, "tree"), { tree: 27, backends: 13, drops: 3 });
  assert.deepEqual(layout(43, wanted, "backends"), { tree: 20, backends: 20, drops: 3 });
  assert.deepEqual(layout(3, wanted, "drops"), { tree: 0, backends: 0, drops: 3 });
  for (let lines = 1; lines < 100; lines++) {
    for (const focus of ["tree", "backends", "drops"] as const) {
      const { tree, backends, drops } = layout(lines, wanted, focus);
      assert.equal(tree + backends + drops, lines, `${lines} ${focus}`);
    }
  }
});

Deno.test("keysOf reads what terminals send", () => {
  assert.deepEqual(keysOf("q\x1b[A\x1bOB\x1b[5~\t\x1b[Zé日\r\x7f\x03\x1b"), [
    ...["q", "up", "down", "page-up", "tab", "back-tab", "é", "日", "enter", "backspace"],
    ...["interrupt", "escape"],
  ]);
  // Of a mouse, a function key, a paste: nothing is taken for a letter.
  assert.deepEqual(keysOf("\x1b[<0;1;2M\x1b[15~\x1b[200~q\x1b[201~\x00"), ["q"]);
});

Deno.test("cells: wide characters take two, marks none, and a text is cut where it must be", () => {
  assert.deepEqual(["abc", "日本", "e\u0301", "●", "🚀", ""].map(cellsOf), [3, 4, 1, 1, 2, 0]);
  assert.deepEqual([clip("日本語", 6), clip("日本語", 5), clip("日本語", 4)], [
    "日本語",
    "日本…",
    "日…",
  ]);
  assert.deepEqual([clip("abc", 0), clip("abc", 1), clip("a\x1bb", 9)], ["", "…", "a\\u001bb"]);
  assert.deepEqual([fit("日本", 5), fit("ab", 4, true)], ["日本 ", "  ab"]);
  const middle = (cells: number) => clipMiddle("abc日本", cells);
  assert.deepEqual(
    [middle(7), middle(6), middle(5), middle(4), middle(1), middle(0), clipMiddle("a\x1bb", 9)],
    ["abc日本", "abc…本", "ab…本", "abc…", "…", "", "a\\u001bb"],
  );
  for (let cells = 0; cells < 12; cells++) {
    assert.ok(cellsOf(clipMiddle("ab日cde\u0301本fg", cells)) <= cells, `${cells} cells`);
  }
});

Deno.test("top: backends whose names begin alike are told apart on a usual screen", () => {
  const names = ["de01", "de02", "de03"].map((end) => `2001:db8:c0a8:0:1234:5678:9abc:${end}`);
  const sample = sampleAt(12, { backends: names.map((name) => backend(name)) });
  for (const columns of [80, 90, 100]) {
    const lines = drawn(FIRST_VIEW, { columns }, LIVE, figuresOf(sample, null));
    const shown = lines.filter((line) => line.includes("● up"));
    assert.deepEqual(shown.map((line) => line.slice(-9)), ["9abc:de01", "9abc:de02", "9abc:de03"]);
  }
});

Deno.test("numbers are short, and something is never shown as nothing", () => {
  assert.deepEqual(
    [0, 0.01, 0.44, 9.94, 9.96, 12.3, 999.4, 999.6, 1234, 12_345, 999_600, 1.2e9].map(short),
    ["0", "<0.1", "0.4", "9.9", "10", "12", "999", "1.0k", "1.2k", "12k", "1.0M", "1.2G"],
  );
  assert.deepEqual([0, 0.001, 0.29, 0.999, 1].map(percent), ["0%", "<1%", "29%", "99%", "100%"]);
  assert.deepEqual([0, 0.001, 0.5, 1].map((share) => bar(share, 4)), [
    "    ",
    "▌   ",
    "██  ",
    "████",
  ]);
});
