"""What a person sees of a run: `snakemake --logger clearice`.

Snakemake finds a logger plugin by the name of its package and takes `LogHandler` from it.
"""

from snakemake_logger_plugin_clearice.handler import LogHandler as LogHandler
