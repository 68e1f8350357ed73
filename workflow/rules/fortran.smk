"""Build the Fortran programs where a compiler exists.

READS   fortran/
WRITES  results/fortran/clearice_parity, clearice_train, clearice_load
"""

FORTRAN_SOURCES = sorted(
    str(Path("..") / path.relative_to(REPOSITORY))
    for path in (REPOSITORY / "fortran").rglob("*")
    if path.suffix == ".f90" or path.name == "Makefile"
)


rule build_fortran:
    """Build the programs, or leave programs that say why not: a run does not need a compiler."""
    output:
        programs=multiext("results/fortran/", "clearice_parity", "clearice_train", "clearice_load"),
    log:
        "results/fortran/build_fortran.log",
    benchmark:
        "results/fortran/build_fortran.benchmark.tsv"
    conda:
        "../../envs/fortran.yaml"
    resources:
        **asks("build_fortran"),
    params:
        code=code_of("build_fortran", *FORTRAN_SOURCES),
        compiler=shutil.which("gfortran") is not None,  # one that was installed since builds them
    script:
        "../scripts/build_fortran.py"
