"""Codecs: the values of one block <-> its bytes (codecs.md). This package is the number -> codec table.

A codec is stateless: `Decoder` gets what the column's object holds once, then decodes blocks into arrays it is given.
Encoders decide forms; decoders check them.
"""
