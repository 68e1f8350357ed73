"""All wrong implementations and honest variants, in the order of docs/parity.md."""

import arithmetic_mutants
import course_mutants
import file_mutants
import honest_variants
from registry import HONEST, MUTANTS

__all__ = [
    "HONEST",
    "MUTANTS",
    "arithmetic_mutants",
    "course_mutants",
    "file_mutants",
    "honest_variants",
]
