"""Foreign formats, one module each, found by entry point (group ``tokstore.formats``).

`contract` says what a format is; `registry` finds one by name, or by what a path holds.
"""
