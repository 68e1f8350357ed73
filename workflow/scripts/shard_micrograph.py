"""Cut one micrograph, or one pair of halves, into a shard of normalised patches."""

import functools

from clearice.bridge import run_job
from clearice.shards.sharding import shard_micrograph

if "snakemake" in globals():
    # No params: neither to stop or skip, nor the way of the patches changes a shard that is there.
    on_error = snakemake.config["micrographs"]["on_error"]
    scratch = snakemake.config["patches"]["scratch"]
    run_job(functools.partial(shard_micrograph, on_error=on_error, scratch=scratch), snakemake)
