/** What a capture takes and how long, as plain data. */

export interface CaptureOptions {
  /** A predicate as text: PDUs for which it holds; null: all frames. */
  readonly filter: string | null;
  /** Of these, only those that were dropped. */
  readonly dropsOnly: boolean;
  /** Most bytes of a frame that are kept; 0: all of them. */
  readonly snapBytes: number;
  /** Longest file; null: as long as it gets. */
  readonly maxBytes: number | null;
  /** Files that are written in turn, each until it is that long; 1: the first one ends it. */
  readonly files: number;
  /** Null: until it is stopped. */
  readonly durationMs: number | null;
}

/** All frames, whole, in one file. */
export const WHOLE_CAPTURE: CaptureOptions = {
  filter: null,
  dropsOnly: false,
  snapBytes: 0,
  maxBytes: null,
  files: 1,
  durationMs: null,
};
