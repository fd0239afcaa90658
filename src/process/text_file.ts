/** Files of text: UTF-8 of a bounded size. */

/** What a file says. */
export interface FileText {
  /**
   * The engine has not put a long one together yet: whoever looks into it waits some milliseconds.
   */
  readonly text: string;
  /** The same in pieces of whole lines, of some 64 Ki characters if lines are shorter. */
  readonly pieces: readonly string[];
  /** What tells the file from others, whatever the path. */
  readonly id: string;
}

/**
 * What the file says; `-` is standard input. Rejects if it can't be read, is no UTF-8, or has more
 * bytes than said.
 */
export async function readTextFile(
  path: string,
  maxBytes: number,
): Promise<FileText> {
  const file = path === "-" ? Deno.stdin : await Deno.open(path);
  try {
    const pieces = await readPieces(file, maxBytes);
    let text = "";
    for (const piece of pieces) text += piece;
    if (file === Deno.stdin) return { text, pieces, id: path };
    const { isFile, dev, ino } = await (file as Deno.FsFile).stat();
    return { text, pieces, id: isFile ? `${dev} ${ino}` : path };
  } finally {
    if (file !== Deno.stdin) file.close();
  }
}

/**
 * As `readTextFile`, for a file that has been read before. A pipe gives its text once only, and
 * whoever reads it again may wait for ever.
 */
export async function readTextFileAgain(
  path: string,
  maxBytes: number,
): Promise<FileText> {
  if (path === "-") throw new Error("standard input can be read at the start only");
  const { isFile, isDirectory } = await Deno.stat(path);
  if (isFile || isDirectory) return await readTextFile(path, maxBytes);
  throw new Error("it is no regular file, and such can be read at the start only");
}

/**
 * Its text, decoded as it comes. A pipe, too: its end is where it says so. A byte order mark stays,
 * so that columns are counted in one place.
 */
async function readPieces(file: Pick<Deno.FsFile, "read">, maxBytes: number): Promise<string[]> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const pieces: string[] = [];
  let begun: string[] = []; // of a line that goes on in the next chunk
  let lenBytes = 0;
  try {
    for (const chunk = new Uint8Array(65_536);;) {
      const read = await file.read(chunk);
      const part = read === null
        ? decoder.decode()
        : decoder.decode(chunk.subarray(0, read), { stream: true });
      const end = part.lastIndexOf("\n") + 1;
      if (end > 0) pieces.push(begun.join("") + part.slice(0, end));
      if (end > 0) begun = [];
      begun.push(part.slice(end));
      if (read === null) {
        pieces.push(begun.join(""));
        return pieces;
      }
      lenBytes += read;
      if (lenBytes > maxBytes) break;
    }
  } catch (error) {
    if (error instanceof TypeError) throw new SyntaxError("expected text in UTF-8");
    throw error;
  }
  throw new RangeError(`expected at most ${maxBytes / 2 ** 20} MiB`);
}
