"""Cut one micrograph, or one pair of halves, into a shard of normalised patches."""

import functools

from clearice.bridge import run_job
from clearice.shards.sharding import shard_micrograph

if "snakemake" in globals():
    # No params: none of them changes a shard that is there.
    config = snakemake.config
    options = {key: config["micrographs"][key] for key in ("on_error", "settle_minutes")}
    options["scratch"] = config["patches"]["scratch"]
    run_job(functools.partial(shard_micrograph, **options), snakemake)
