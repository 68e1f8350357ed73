"""What to keep in version control: the dataset and the trainings in figures, as markdown, too."""

from clearice.report.baseline import baseline
from clearice.report.data_specs import data_specs
from clearice.report.documents import markdown
from clearice.report.section import Section


def section(results, config):
    """Return the Section of the documents; each lies beside the page as markdown."""
    documents = [data_specs(results, config), baseline(results)]
    return Section({"all": documents}, {d.file: markdown(d) for d in documents})
