"""A slow reader of tokstore, in the order of the specification, for people who write another one.

It is written from the pages in `spec/` alone and does everything they demand of a reader, one value at a time, in plain
Python. It shares no code with the `tokstore` package; when the two disagree, one of them or the specification is wrong.

Start with `store.open_path`. Every failure is a `failure.ReadError` whose `kind` is one of five words.
"""
