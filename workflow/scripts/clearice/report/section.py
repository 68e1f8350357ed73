"""What a section of the page is made of."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Section:
    """A section: `facts` for its template, and the files beside the page.

    facts: what workflow/report/NAME.html sees under the section's name. files: name -> text or
    bytes of each figure and table that the section leaves beside the page.
    """

    facts: dict
    files: dict[str, str | bytes] = dataclasses.field(default_factory=dict)
