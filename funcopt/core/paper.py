"""Where an algorithm comes from, and how to cite it."""

import re
from dataclasses import dataclass

AISTATS = "International Conference on Artificial Intelligence and Statistics"
ICLR = "International Conference on Learning Representations"
ICML = "International Conference on Machine Learning"
NEURIPS = "Advances in Neural Information Processing Systems"

EMPTY_WORDS = {"a", "an", "the", "on", "and", "lecture"}


@dataclass(frozen=True)
class Paper:
    """The citation of a publication, with its BibTeX entry.

    Args:
        author: all of them, `Kingma, Diederik P. and Ba, Jimmy`; `and others` may end a long list.
        title: without braces.
        year: of the publication that is cited.
        url: where it is read, the same as in the docstring of what is from it.
        booktitle, journal, howpublished: at most one of them: the conference, the journal, or what
            else there is. None of them means arXiv, which the url tells.

    Raises:
        ValueError: none of the three is given, and the url is not arXiv's; or several are.
    """

    author: str
    title: str
    year: int
    url: str
    booktitle: str = ""
    journal: str = ""
    howpublished: str = ""

    def __post_init__(self):
        places = [self.booktitle, self.journal, self.howpublished]
        if sum(map(bool, places)) > 1 or not (any(places) or self._arxiv):
            raise ValueError(
                f"Paper {self.title!r}: give one of booktitle, journal and howpublished, or the "
                f"url of an arXiv abstract; got {places} and {self.url!r}."
            )

    @property
    def _arxiv(self) -> str:
        number = self.url.removeprefix("https://arxiv.org/abs/")
        return "" if number == self.url else f"arXiv:{number}"

    @property
    def names(self) -> list[str]:
        """The surnames of the authors."""
        return [each.split(",")[0] for each in self.author.split(" and ")]

    @property
    def short(self) -> str:
        """Authors and year as a text would say them.

        >>> Paper("Kingma, D. P. and Ba, J.", "Adam", 2015, "https://arxiv.org/abs/1412.6980").short
        'Kingma & Ba, 2015'
        """
        few = len(self.names) < 3 and "others" not in self.names
        who = " & ".join(self.names) if few else f"{self.names[0]} et al."
        return f"{who}, {self.year}"

    @property
    def key(self) -> str:
        """What it is cited as: first author, year, and the first word of the title that tells."""
        first = re.sub(r"\W", "", self.names[0])
        words = re.findall(r"[A-Za-z]+", self.title)
        return f"{first}{self.year}{next(w for w in words if w.lower() not in EMPTY_WORDS)}".lower()

    def bibtex(self) -> str:
        """The BibTeX entry.

        >>> title = "ADADELTA: An Adaptive Learning Rate Method"
        >>> url = "https://arxiv.org/abs/1212.5701"
        >>> print(Paper("Zeiler, Matthew D.", title, 2012, url).bibtex())
        @misc{zeiler2012adadelta,
          author = {Zeiler, Matthew D.},
          title = {{ADADELTA: An Adaptive Learning Rate Method}},
          howpublished = {arXiv:1212.5701},
          year = {2012},
          url = {https://arxiv.org/abs/1212.5701},
        }
        """
        entry, field, where = "misc", "howpublished", self.howpublished or self._arxiv
        if self.booktitle:
            entry, field, where = "inproceedings", "booktitle", self.booktitle
        elif self.journal:
            entry, field, where = "article", "journal", self.journal
        return (
            f"@{entry}{{{self.key},\n"
            f"  author = {{{self.author}}},\n"
            f"  title = {{{{{self.title}}}}},\n"
            f"  {field} = {{{where}}},\n"
            f"  year = {{{self.year}}},\n"
            f"  url = {{{self.url}}},\n"
            "}"
        )
