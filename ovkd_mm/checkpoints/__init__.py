"""Reading checkpoints safely, writing them whole, naming their keys as the plain student does, resuming from them.

Its modules are imported one by one: some before torch is, see :mod:`ovkd_mm.compat`.
"""
