"""The version, in the one place that setup.cfg reads."""

__version__ = '0.1.0'
