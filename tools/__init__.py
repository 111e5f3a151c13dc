"""Conversion tools for tokstore: foreign formats, pack, export, copy and join, tokenizers, the demo.

They are clients of the public API like any other program, one module per job, and the package reaches them only by
entry point (group ``tokstore.tools``) when they are called. The wheel carries them as ``tokstore_tools``.
"""
