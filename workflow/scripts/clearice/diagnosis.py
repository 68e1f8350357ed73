"""What explains a difference: the usual mistakes, tried one by one."""


def diagnose(bundle, results, rows, precision):
    """Return sentences on the lowest rung that fails."""
    failing = [row for row in rows if not row["passed"]]
    first = failing[0]
    return [f"{first['rung']}: {first['name']} is the first that fails"]
