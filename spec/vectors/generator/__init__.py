"""A small writer of tokstore files for the test vectors, made from the pages in `spec/` alone.

It shares no code with the package or with the readers. It writes whatever it is told, also what the pages forbid: most
functions take `edits`, which change the bytes of one part before or after its checksum is taken.
"""
