"""Comparing methods: one base config, several methods and seeds, one table."""

from .run import run_study
from .study import Entry, Study, read_study

__all__ = ['Entry', 'Study', 'read_study', 'run_study']
