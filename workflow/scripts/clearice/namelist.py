"""Fortran namelists: facts for programs that read no JSON."""


def namelist(group, values):
    """Return one namelist group (Fortran 2003, 10.11) of a dict of scalars and flat lists."""
    lines = [f"&{group}"]
    for name, value in values.items():
        items = value if isinstance(value, list | tuple) else [value]
        lines += _wrap(f"  {name} = ", [_literal(item) for item in items])
    return "\n".join([*lines, "/", ""])


def _wrap(head, items):
    """Keep lines short: some compilers read at most 132 characters of one."""
    lines, line = [], head
    for index, item in enumerate(items):
        piece = item + (", " if index + 1 < len(items) else "")
        if len(line) + len(piece) > 100 and line != head:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += piece
    return [*lines, line.rstrip()]


def _literal(value):
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, float):
        return f"{value:.16e}".replace("e", "d")
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("'", "''") + "'"
