"""Cut one micrograph, or one pair of halves, into a shard of normalised patches."""

import functools

from clearice.bridge import run_job
from clearice.shards.sharding import shard_micrograph

if "snakemake" in globals():
    # Not a param: to stop or skip changes no shard that is there.
    on_error = snakemake.config["micrographs"]["on_error"]
    run_job(functools.partial(shard_micrograph, on_error=on_error), snakemake)
