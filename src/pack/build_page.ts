/**
 * Builds the dashboard (`deno task page`): `src/page` → `ffi/build/page.html`, one file with its
 * style and its program in it. Does nothing when that is newer than its sources.
 */
import { bundle, ROOT } from "./bundle.ts";
import { refuseOthers } from "./words.ts";

const SOURCES = `${ROOT}src/page`;
const TARGET = `${ROOT}ffi/build/page.html`;

/** The page is read by each browser that comes: it stays small. */
const MOST_BYTES = 120_000;

/** Builds the page where needed and returns its path. Throws an Error of one line. */
export function buildPage(): string {
  const newest = Math.max(modifiedMs(`${ROOT}deno.json`), newestMs(SOURCES));
  if (modifiedMs(TARGET) > newest) return TARGET;
  Deno.mkdirSync(`${ROOT}ffi/build`, { recursive: true });
  const own = crypto.randomUUID(); // threads of one process may build at once
  const unfinished = `${TARGET}.${own}.tmp`;
  const program = `${ROOT}ffi/build/page.${own}.tmp`;
  try {
    bundle("src/page/view/main.ts", program, "browser");
    const page = joined(
      Deno.readTextFileSync(`${SOURCES}/page.html`),
      Deno.readTextFileSync(`${SOURCES}/page.css`),
      Deno.readTextFileSync(program),
    );
    const bytes = new TextEncoder().encode(page);
    if (bytes.length > MOST_BYTES) {
      throw new Error(`The page has ${bytes.length} bytes: expected at most ${MOST_BYTES}`);
    }
    Deno.writeFileSync(unfinished, bytes);
    Deno.renameSync(unfinished, TARGET);
  } finally {
    removeIfThere(program);
    removeIfThere(unfinished);
  }
  return TARGET;
}

/** Puts style and program into the page. Throws an Error if one of them would end too early. */
export function joined(page: string, style: string, program: string): string {
  if (/<\/style/i.test(style) || /<\/script|<!--/i.test(program)) {
    throw new Error("Cannot put the page together: its style or program has the end of its tag");
  }
  const small = style.replace(/\s+/g, " ").replace(/ ?([{};,]) ?/g, "$1");
  return page
    .replace("<!-- style -->", () => `<style>${small}</style>`)
    .replace("<!-- script -->", () => `<script type="module">${program}</script>`)
    .replace(/^ +/gm, "");
}

function newestMs(folder: string): number {
  let newest = modifiedMs(folder);
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = `${folder}/${name}`;
    newest = Math.max(newest, isDirectory ? newestMs(path) : modifiedMs(path));
  }
  return newest;
}

/** Time of last change in ms; 0 when there is no such file. */
function modifiedMs(path: string): number {
  try {
    return Deno.statSync(path).mtime?.getTime() ?? 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

if (import.meta.main) {
  try {
    refuseOthers("page", Deno.args);
    buildPage();
  } catch (error) {
    // deno-lint-ignore no-console
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
