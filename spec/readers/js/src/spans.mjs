// The spans of a shard, computed from the blocks of its primary column (format.md 7.3, 8.4).

const SPAN_VALUES = 2 ** 18;

/** Give blocks, samples that begin, values and lead of every span of a file that is one shard. */
export function spansOf(part) {
  const { rows } = part.entry;
  if (part.runs === 0) return rows === 0 ? [] : [[0, rows, 0, 0]];
  const unit = part.starts === null ? part.column.meaning.width : 1; // "values" of a fixed shape are rows
  const spans = [];
  const firstRun = [];
  for (let run = 0; run < part.runs; run++) {
    const values = (part.runStarts[run + 1] - part.runStarts[run]) / unit;
    if (run === 0 || spans.at(-1)[2] >= SPAN_VALUES) {
      spans.push([0, 0, 0, 0]);
      firstRun.push(run);
    }
    spans.at(-1)[0]++;
    spans.at(-1)[2] += values;
  }
  const firstStart = spans.map(() => Infinity);
  for (let row = 0, span = 0; row < rows; row++) {
    const run = part.runOfRow(row);
    while (span + 1 < spans.length && firstRun[span + 1] <= run) span++;
    spans[span][1]++;
    firstStart[span] = Math.min(firstStart[span], part.start(row));
  }
  let begin = 0;
  for (const [i, span] of spans.entries()) {
    span[3] = Math.min(span[2], firstStart[i] / unit - begin);
    begin += span[2];
  }
  return spans;
}
